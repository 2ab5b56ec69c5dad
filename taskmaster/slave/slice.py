"""Neighbouring jobs that one thread runs through, watched and shortened by another while it runs.

The position is read off the list's own iterator: nothing is counted per job, so that a no-op costs its call.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from operator import length_hint
from typing import Any

from taskmaster.core.runs import Run, Runs
from taskmaster.core.wire import FailedAttempt
from taskmaster.defaults import MESSAGE_CHARACTERS, TRACEBACK_CHARACTERS


class Slice:
    """`payloads` are the jobs from `first` on, of one attempt, leased in one epoch.

    Taking the next job and emptying the iterator are each one step under the interpreter lock, so a job is
    either run here or taken back, never both.
    """

    __slots__ = ("_ended", "_failed", "_jobs", "_lock", "_reported", "_total", "attempt", "began", "epoch", "first",
                 "seconds", "seen", "seen_at")

    def __init__(self, epoch: int, first: int, attempt: int, payloads: list[Any]) -> None:
        self.epoch = epoch
        self.first = first
        self.attempt = attempt
        self.began: float | None = None
        self.seconds = 0.0  # that it took, once it has ended
        self.seen = 0  # the position when it was last looked at,
        self.seen_at = 0.0  # and when it was first seen there
        self._jobs = iter(payloads)
        self._total = len(payloads)
        self._reported = 0  # the settled ones below this were given out by `harvest`
        self._failed: dict[int, FailedAttempt] = {}
        self._ended = False
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Its jobs, without those that were taken back."""
        return self._total

    @property
    def started(self) -> int:
        """How many of them have been started."""
        return self._total - length_hint(self._jobs)

    @property
    def current(self) -> int:
        """The offset of the job that is running, or was last."""
        return self.first + max(0, self.started - 1)

    def unseen(self) -> tuple[int, float]:
        """Once it has ended: the jobs that ended since it was last looked at, and the seconds from then on."""
        assert self.began is not None
        return self._total - max(0, self.seen - 1), self.began + self.seconds - self.seen_at

    def run(self, handler: Callable[[Any], Any], clock: Callable[[], float]) -> None:
        """Call the handler for each job; what it raises, of any kind, is that job's failure and nobody else's."""
        self.seen_at = self.began = clock()
        while True:
            try:
                for payload in self._jobs:
                    handler(payload)
                break
            except BaseException as error:  # SystemExit and KeyboardInterrupt of a handler are its failures, too
                self._note(error)
        with self._lock:
            self._ended = True
            self.seconds = clock() - self.began

    def take_back(self) -> list[Any]:
        """The payloads of the jobs that were not started; they will not be. They follow on `first + count`."""
        with self._lock:
            rest = list(self._jobs)
            self._total -= len(rest)
            return rest

    def harvest(self) -> tuple[list[Run], list[FailedAttempt]]:
        """What was settled and what failed since the last harvest."""
        with self._lock:
            upto = self._total if self._ended else max(self._reported, self.started - 1)
            fresh = Runs([(self._reported, upto - self._reported)] if upto > self._reported else [])
            failed = [self._failed.pop(index) for index in sorted(self._failed) if index < upto]
            for failure in failed:
                fresh.remove(failure.offset - self.first, 1)
            self._reported = upto
            return [(self.first + index, count) for index, count in fresh], failed

    def _note(self, error: BaseException) -> None:
        with self._lock:
            index = self.started - 1
            self._failed[index] = failure_of(self.first + index, self.attempt, error)


def failure_of(offset: int, attempt: int, error: BaseException, kind: str = "raised") -> FailedAttempt:
    """An exception as the master is told of it; the frames above the handler are left out."""
    shown = "".join(traceback.format_exception(type(error), error, _below_handler(error)))
    return FailedAttempt(offset, attempt, kind, type(error).__name__, _text_of(error)[:MESSAGE_CHARACTERS],
                         shown[-TRACEBACK_CHARACTERS:])


def _below_handler(error: BaseException) -> Any:
    trace = error.__traceback__
    return trace.tb_next if trace is not None and trace.tb_next is not None else trace


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # the user's own __str__
        return f"<its text cannot be had: {type(broken).__name__}>"
