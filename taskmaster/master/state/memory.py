"""The state of a run that will not be resumed: nothing is kept on disk, so nothing outlives the process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.failure import FailureRecord
from taskmaster.core.pending_results import PendingResults
from taskmaster.core.results import Results
from taskmaster.core.selection import Selection
from taskmaster.core.settled import Above
from taskmaster.core.window import Window
from taskmaster.master.state.checkpoint import Checkpoint


class MemoryState:
    """A StateStore without a folder.

    There is nothing to save, so a checkpoint is never due and never late. Abandoned jobs are not kept either: they are
    counted and logged, and observers see each of them with its payload.
    """

    path: None = None
    failures_path: None = None
    trouble: None = None
    lost: None = None
    epoch = 1
    failed_before = 0
    results_bytes = 0
    results_before: Sequence[Results] = ()
    chances = 0

    def __init__(self) -> None:
        self.run = os.urandom(16).hex()
        self.handed_out_before = 0
        self.first_offset = 0
        self.settled_before = Above()

    def open(self, reset: bool) -> None:
        """Nothing was kept, so there is nothing to resume or to reset."""

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        self.handed_out_before = self.first_offset = first_offset

    def to_try_again(self) -> Iterator[FailureRecord]:
        return iter(())

    def start(self) -> None:
        """Nothing is saved."""

    def handed_out(self, offset: int) -> None:
        """Nobody will ask."""

    def abandon(self, jobs: Sequence[AbandonedJob]) -> None:
        """Not kept; see above."""

    def offer(self, window: Window, counters: Mapping[str, int], now: float, finished: bool = False,
              stopped: bool = False, results: PendingResults | None = None) -> None:
        """Nothing is saved."""

    def due(self, window: Window, now: float) -> bool:
        return False

    def next_due(self, window: Window) -> float | None:
        return None

    def behind(self, now: float) -> bool:
        return False

    @property
    def saved(self) -> bool:
        return True

    def close(self, seconds: float) -> bool:
        return True
