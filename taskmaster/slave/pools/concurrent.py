"""A slice whose jobs run at once, in one thread that switches among them, and end in any order."""

from __future__ import annotations

from collections.abc import Iterable
from operator import length_hint
from typing import Any

from taskmaster.core.codec import open_part
from taskmaster.core.result_codec import encode_result
from taskmaster.core.runs import Runs
from taskmaster.core.wire import FailedAttempt
from taskmaster.handlers import NO_SETTINGS, CurrentJob, HandlerSettings
from taskmaster.native import Lock
from taskmaster.slave.current_job import describe
from taskmaster.slave.failed_attempt import described_attempt
from taskmaster.slave.pools.base import Progress, RunningJob
from taskmaster.slave.pools.sequential import LateException, Undecodable
from taskmaster.slave.slice import Slice


class ConcurrentExecution:
    """One slice and how far it got. Jobs are named by their index in it.

    The pool's thread begins and ends jobs, the control thread looks and takes back.
    """

    __slots__ = ("_failed", "_jobs", "_lines", "_lock", "_seconds", "_settings", "_settled", "_since", "_timed_out",
                 "_total", "attempt", "cursors", "epoch", "first", "results", "sealed")

    def __init__(self, work: Slice, settings: HandlerSettings = NO_SETTINGS) -> None:
        self.epoch = work.epoch
        self.first = work.first
        self.attempt = work.attempt
        self.sealed = work.sealed
        self.cursors = work.cursors
        self._settings = settings
        self._jobs = iter(work.payloads)
        self._total = work.count
        self._since: dict[int, float] = {}  # when the running ones began
        self._timed_out: set[int] = set()  # of the running ones, those whose failure has been recorded
        self.results = work.results
        self._lines: dict[int, bytes] = {}  # by offset: results of jobs that ended since the last look
        self._settled: list[int] = []  # offsets of those,
        self._failed: list[FailedAttempt] = []
        self._seconds = 0.0  # and how long they took
        self._lock = Lock()

    # -- for the pool's thread

    def begin(self, now: float) -> tuple[int, Any] | None:
        """The next job, which runs from now on, as its index and payload; None when all have begun."""
        with self._lock:
            for payload in self._jobs:
                index = self._begun() - 1
                self._since[index] = now
                return index, payload
        return None

    def end(self, index: int, now: float, error: BaseException | None = None, result: Any = None) -> None:
        """A job has ended, with this exception or, if that is None, this result; only the first call counts."""
        line = b""
        if self.results and error is None:
            try:
                line = encode_result(result)
            except BaseException as raised:  # JSON cannot hold it, or the user's code was asked and raised
                error = raised
        failure = None if error is None else self._described(index, error)
        with self._lock:
            since = self._since.pop(index, None)
            if since is None:
                return
            if index in self._timed_out:
                return self._timed_out.remove(index)
            self._seconds += now - since
            if failure is None:
                self._settled.append(self.first + index)
                if self.results:
                    self._lines[self.first + index] = line
            else:
                self._failed.append(failure)

    def time_out(self, failure: FailedAttempt, now: float) -> bool:
        """Record that a job failed in this way while it still runs; how it ends later does not count.

        False if it has ended, or timed out before.
        """
        index = failure.offset - self.first
        with self._lock:
            if index not in self._since or index in self._timed_out:
                return False
            self._timed_out.add(index)
            self._failed.append(failure)
            self._seconds += now - self._since[index]
            return True

    def end_lost(self, running: Iterable[int], now: float) -> None:
        """End all jobs that began, except those in `running`: an exception of another thread hit between two steps."""
        with self._lock:
            found = [index for index in range(self._begun()) if index in self._since]
        for index in set(found).difference(running):
            self.end(index, now, LateException("raised into this thread from another one"))

    def end_in_child(self) -> None:
        """A handler has forked, and this is the child: it must not run the remaining jobs as well."""
        for _ in self._jobs:
            pass

    can_begin = False
    """Whether a job is left that could not begin when the pool last asked for one."""

    @property
    def over(self) -> bool:
        """Whether nothing of it runs or waits."""
        with self._lock:
            return not self._since and not length_hint(self._jobs)

    def current_job(self, index: int, payload: Any) -> CurrentJob:
        """One of the jobs that run; for its handler."""
        return describe(self.first + index, self.attempt, payload, self.sealed, self.cursors)

    # -- for the control thread

    @property
    def count(self) -> int:
        """Its jobs, without those that were taken back."""
        return self._total

    @property
    def unstarted(self) -> int:
        """How many of them have not started."""
        return length_hint(self._jobs)

    def index_of(self, offset: int) -> int:
        """The index of this job."""
        return offset - self.first

    def has_timed_out(self, offset: int) -> bool:
        """Whether `time_out` has recorded the failure of this job, which still runs."""
        with self._lock:
            return offset - self.first in self._timed_out

    def take_back(self) -> Slice | None:
        """Remove and return the jobs that have not started."""
        with self._lock:
            rest = list(self._jobs)
            self._total -= len(rest)
            if not rest:
                return None
            return Slice(self.epoch, self.first + self._total, self.attempt, rest, self.sealed, self.results,
                         self.cursors)

    def look(self, now: float) -> Progress:
        """What became of its jobs since the last look."""
        with self._lock:
            settled, self._settled = self._settled, []
            failed, self._failed = self._failed, []
            lines, self._lines = self._lines, {}
            seconds, self._seconds = self._seconds, 0.0
            running = [RunningJob(self.first + index, since) for index, since in self._since.items()]
        runs = list(Runs((offset, 1) for offset in sorted(settled)))
        if not self.results:
            return Progress(runs, failed, seconds, running)
        return Progress(runs, failed, seconds, running, [
            b"".join([lines[offset] for offset in range(first, first + count)]) for first, count in runs])

    def _begun(self) -> int:
        return self._total - length_hint(self._jobs)

    def _described(self, index: int, error: BaseException) -> FailedAttempt:
        error, kind = (error.error, "undecodable") if isinstance(error, Undecodable) else (error, "raised")
        return described_attempt(self.first + index, self.attempt, error, kind, self._settings)


def opened(payload: Any, sealed: bool) -> Any:
    """A job's payload as the handler gets it. Raises Undecodable."""
    if not sealed:
        return payload
    try:
        return open_part(payload)
    except BaseException as error:
        raise Undecodable(error) from None
