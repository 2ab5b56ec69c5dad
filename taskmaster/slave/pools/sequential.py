"""A slice that one thread runs through, job by job, while the control thread watches and shortens it.

The position is read from the list's own iterator: nothing is counted per job, so a no-op costs no more than its call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import length_hint
from typing import Any

from taskmaster.core.codec import open_part
from taskmaster.core.result_codec import encode_result
from taskmaster.core.runs import Run, Runs
from taskmaster.core.wire import FailedAttempt
from taskmaster.forks import leave
from taskmaster.handlers import NO_SETTINGS, CurrentJob, HandlerSettings
from taskmaster.native import Lock
from taskmaster.slave.current_job import describe
from taskmaster.slave.failed_attempt import described_attempt
from taskmaster.slave.pools.base import Progress, RunningJob
from taskmaster.slave.slice import Slice
from taskmaster.targets.lazy import refuse_lazy


class LateException(Exception):
    """Another thread raised an exception in this one, and it arrived while no handler was running."""


class Undecodable(Exception):
    """Opening a sealed payload raised `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class SequentialExecution:
    """One slice and how far it got.

    Taking the next job and emptying the iterator are each one step under the interpreter lock, so a job is either run
    here or taken back, never both.
    """

    __slots__ = ("_begun", "_collected", "_cursors", "_ended_at", "_failed", "_forked", "_jobs", "_lock", "_payloads",
                 "_reported", "_results", "_sealed", "_seen", "_settings", "_short", "_since", "_total", "attempt",
                 "epoch", "first")

    def __init__(self, work: Slice, now: float, settings: HandlerSettings = NO_SETTINGS) -> None:
        self.epoch = work.epoch
        self.first = work.first
        self.attempt = work.attempt
        self._payloads = work.payloads
        self._jobs = iter(work.payloads)
        self._total = work.count
        self._sealed = work.sealed
        self._cursors = work.cursors
        self._settings = settings
        self._results: list[bytes] | None = [] if work.results else None  # a line for each job that has ended
        self._begun = False
        self._collected = False
        self._forked = False
        self._short = False  # the last exception was for lack of memory
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
        """Call the handler for each job; whatever it raises is the failure of that job alone.

        A second call, after an exception that another thread raised in this one, continues with the next job.
        """
        if self._begun:
            self._note(self._interruption())  # the job may or may not have ended
        self._begun = True
        call = partial(_open_and_call, handler) if self._sealed else handler
        if self._results is not None:
            call = partial(_call_and_keep, call, self._results)
        while True:
            try:
                for payload in self._jobs:
                    result = call(payload)
                    if result is not None:  # the cost for a no-op is too small to measure
                        refuse_lazy(result)
                        result = None
                break
            except BaseException as error:  # SystemExit and KeyboardInterrupt in a handler are failures as well
                if self._forked:
                    leave(error)
                self._short = isinstance(error, MemoryError)
                self._note(error)
        if self._forked:
            leave()
        self._payloads = []
        with self._lock:
            self._ended_at = clock()

    def _interruption(self) -> BaseException:
        """Why `run` is called again."""
        if self._short:
            return MemoryError("and no memory was left to describe where")
        return LateException("raised into this thread from another one")

    def current_job(self) -> CurrentJob:
        """The job that is running now; for its handler."""
        index = self.started - 1
        return describe(self.first + index, self.attempt, self._payloads[index], self._sealed, self._cursors)

    def end_in_child(self) -> None:
        """A handler has forked, and this is the child: it must not run the remaining jobs as well."""
        self._forked = True
        for _ in self._jobs:
            pass

    def collect(self) -> bool:
        """Whether this is the first call: a thread that was interrupted may say twice that it has ended."""
        first, self._collected = not self._collected, True
        return first

    def take_back(self) -> Slice | None:
        """Remove and return the jobs that have not started."""
        with self._lock:
            rest = list(self._jobs)
            self._total -= len(rest)
            if not rest:
                return None
            return Slice(self.epoch, self.first + self._total, self.attempt, rest, self._sealed,
                         self._results is not None, self._cursors)

    def look(self, now: float) -> Progress:
        """What became of its jobs since the last look."""
        with self._lock:
            since = self._since
            if self._ended_at is not None:
                settled, failed = self._outcomes(self._total)
                return Progress(settled, failed, self._ended_at - since, [], self._lines_of(settled))
            started = self.started
            if started != self._seen:
                self._seen, self._since = started, now
            settled, failed = self._outcomes(started - 1)
            if settled or failed:
                running = [RunningJob(self.first + started - 1, now)]
                return Progress(settled, failed, now - since, running, self._lines_of(settled))
            return Progress([], [], 0.0, [RunningJob(self.first + started - 1, since)] if started else [])

    def _outcomes(self, ended: int) -> tuple[list[Run], list[FailedAttempt]]:
        """What became of the first `ended` jobs, except what an earlier look reported."""
        before = self._reported
        if ended <= before:
            return [], []
        self._reported = ended
        run = (self.first + before, ended - before)
        if not self._failed:  # the usual case
            return [run], []
        failed = [self._failed.pop(index) for index in sorted(self._failed) if index < ended]
        settled = Runs([run])
        for failure in failed:
            settled.remove(failure.offset, 1)
        return list(settled), failed

    def _lines_of(self, settled: list[Run]) -> list[bytes]:
        if self._results is None:
            return []
        return [b"".join(self._results[first - self.first:first - self.first + count]) for first, count in settled]

    def _note(self, error: BaseException) -> None:
        """The job that started last has failed."""
        with self._lock:
            index = self.started - 1
            if self._results is not None and len(self._results) <= index:
                self._results.append(b"")  # its place, so that each job's line is at its index
        if index >= 0 and index not in self._failed:  # only once, whatever follows
            failure = self._described(self.first + index, error)
            with self._lock:
                self._failed[index] = failure

    def _described(self, offset: int, error: BaseException) -> FailedAttempt:
        error, kind = (error.error, "undecodable") if isinstance(error, Undecodable) else (error, "raised")
        return described_attempt(offset, self.attempt, error, kind, self._settings)


def _call_and_keep(call: Callable[[Any], Any], lines: list[bytes], payload: Any) -> None:
    result = call(payload)
    if result is not None:
        refuse_lazy(result)
    lines.append(encode_result(result))


def _open_and_call(handler: Callable[[Any], Any], part: bytes) -> Any:
    try:
        payload = open_part(part)
    except BaseException as error:
        raise Undecodable(error) from None
    return handler(payload)
