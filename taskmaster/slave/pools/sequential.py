"""A slice that one thread runs through, job by job, while the control thread watches and shortens it.

The position is read off the list's own iterator: nothing is counted per job, so that a no-op costs its call alone.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import length_hint
from threading import Lock
from typing import Any

from taskmaster.core.runs import Run, Runs
from taskmaster.core.wire import FailedAttempt
from taskmaster.slave.failed_attempt import failed_attempt
from taskmaster.slave.pools.base import Progress, RunningJob
from taskmaster.slave.slice import Slice


class SequentialExecution:
    """One slice and how far it got.

    Taking the next job and emptying the iterator are each one step under the interpreter lock, so a job is either run
    here or taken back, never both.
    """

    __slots__ = ("_ended_at", "_failed", "_jobs", "_lock", "_reported", "_seen", "_since", "_total", "attempt",
                 "epoch", "first")

    def __init__(self, work: Slice, now: float) -> None:
        self.epoch = work.epoch
        self.first = work.first
        self.attempt = work.attempt
        self._jobs = iter(work.payloads)
        self._total = work.count
        self._failed: dict[int, FailedAttempt] = {}
        self._ended_at: float | None = None
        self._reported = 0  # jobs that had ended at the last look
        self._seen = 0  # jobs that had started at the last look,
        self._since = now  # and when a look first saw so many
        self._lock = Lock()

    @property
    def count(self) -> int:
        """Its jobs, without those that were taken back."""
        return self._total

    @property
    def unstarted(self) -> int:
        """How many of them have not started."""
        return length_hint(self._jobs)

    @property
    def started(self) -> int:
        """How many have."""
        return self._total - length_hint(self._jobs)

    def run(self, handler: Callable[[Any], Any], clock: Callable[[], float]) -> None:
        """Call the handler for each job; whatever it raises is the failure of that job alone."""
        while True:
            try:
                for payload in self._jobs:
                    handler(payload)
                break
            except BaseException as error:  # SystemExit and KeyboardInterrupt of a handler are its failures, too
                self._note(error)
        with self._lock:
            self._ended_at = clock()

    def take_back(self) -> Slice | None:
        """The jobs that have not started, which now will not."""
        with self._lock:
            rest = list(self._jobs)
            self._total -= len(rest)
            return Slice(self.epoch, self.first + self._total, self.attempt, rest) if rest else None

    def look(self, now: float) -> Progress:
        """What became of its jobs since the last look."""
        with self._lock:
            over, started, before, since = self._ended_at, self.started, self._reported, self._since
            settled, failed = self._outcomes(started - 1 if over is None else self._total)
            if started != self._seen:
                self._seen, self._since = started, now
            more = self._reported > before
            seconds = (now if over is None else over) - since if more else 0.0
            running = [RunningJob(self.first + started - 1, now if more else since)] if over is None and started else []
            return Progress(settled, failed, seconds, running)

    def _outcomes(self, ended: int) -> tuple[list[Run], list[FailedAttempt]]:
        """What became of the first `ended` jobs, without what an earlier look reported."""
        before = self._reported
        if ended <= before:
            return [], []
        self._reported = ended
        run = (self.first + before, ended - before)
        if not self._failed:  # nearly always
            return [run], []
        failed = [self._failed.pop(index) for index in sorted(self._failed) if index < ended]
        settled = Runs([run])
        for failure in failed:
            settled.remove(failure.offset, 1)
        return list(settled), failed

    def _note(self, error: BaseException) -> None:
        with self._lock:
            index = self.started - 1
            self._failed[index] = failed_attempt(self.first + index, self.attempt, error)
