"""Failed jobs of earlier runs that run again, as after a run that --max-failures stopped.

They keep their offsets, which are below the first job of this run, and so below its watermark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskmaster.core.codec import Batch
from taskmaster.core.runs import Run, Runs


@dataclass(frozen=True)
class FailedJob:
    """A job that failed in `rounds` earlier runs, as it was recorded; it is the only one in `batch`."""

    offset: int
    cursor: Any
    batch: Batch
    rounds: int = 1


class SecondChances:
    """Which of them are in flight, and which are settled by now."""

    def __init__(self) -> None:
        self.settled = 0
        self._jobs: dict[int, tuple[Any, int]] = {}  # cursors and rounds of those in flight, by offset
        self._news = Runs()

    def __len__(self) -> int:
        """How many are in flight."""
        return len(self._jobs)

    def __contains__(self, offset: int) -> bool:
        return offset in self._jobs

    @property
    def span(self) -> Run:
        """From the lowest of those in flight to the highest."""
        first, last = min(self._jobs), max(self._jobs)
        return first, last - first + 1

    def admit(self, job: FailedJob) -> None:
        self._jobs[job.offset] = job.cursor, job.rounds

    def cursor_of(self, offset: int) -> Any:
        return self._jobs[offset][0]

    def rounds_of(self, offset: int) -> int:
        """In how many runs it has failed, without this one; 0 for any other job."""
        return self._jobs[offset][1] if offset in self._jobs else 0

    def settle(self, offset: int) -> None:
        """It was handled, or has failed again."""
        del self._jobs[offset]
        self.settled += 1
        self._news.add(offset, 1)

    def withdraw(self, offset: int) -> None:
        """It will not run after all: its record stays."""
        del self._jobs[offset]

    def take_settled(self) -> Runs:
        """Those settled since the last call."""
        news, self._news = self._news, Runs()
        return news
