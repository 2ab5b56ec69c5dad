"""A batch in the hands of a pool: a call of the handler for all its jobs and, where one raises, for halves of them.

One call runs at a time. What became of its jobs is recorded in one step, so that an exception which another thread
raises in this one may arrive anywhere: what has no record then is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from taskmaster.core.halving import Halving
from taskmaster.core.runs import Run, Runs
from taskmaster.core.wire import FailedAttempt
from taskmaster.forks import leave
from taskmaster.handlers import NO_SETTINGS, CurrentJob, HandlerSettings, Retry
from taskmaster.native import Lock
from taskmaster.slave import batch_outcome
from taskmaster.slave.batch_outcome import BatchOutcome
from taskmaster.slave.current_job import describe
from taskmaster.slave.failed_attempt import described_attempt
from taskmaster.slave.job_batch import JobBatch
from taskmaster.slave.pools.base import Progress, RunningJob
from taskmaster.slave.pools.concurrent import opened
from taskmaster.slave.pools.sequential import LateException, Undecodable
from taskmaster.targets.lazy import refuse_lazy


@dataclass(frozen=True)
class _Call:
    """The handler is called for the jobs with these numbers."""

    jobs: Run
    since: float

    @property
    def index(self) -> int:
        """The number of its first job, by which it is known."""
        return self.jobs[0]

    @property
    def alone(self) -> bool:
        """Whether it has one job."""
        return self.jobs[1] == 1


class BatchExecution:
    """One batch and how far it got.

    The pool's thread begins and ends calls, the control thread looks and takes back.
    """

    sealed = False  # what a call is given is open

    def __init__(self, work: JobBatch, settings: HandlerSettings = NO_SETTINGS) -> None:
        self.epoch = work.epoch
        self.attempt = work.attempt
        self._batch = work
        self._settings = settings
        self._payloads: list[Any] = []  # open, by number
        self._halving: Halving | None = None  # the calls that are left; None until the payloads are open
        self._call: _Call | None = None  # which runs
        self._timed_out = False  # whether it has
        self._outcomes: list[BatchOutcome] = []
        self._reported = 0  # of those
        self._seconds = 0.0  # that jobs spent in calls since a look last found some that had ended
        self._total = work.count
        self._taken = Runs()  # the numbers of jobs that were taken back
        self._begun = False
        self._collected = False
        self._forked = False
        self._lock = Lock()

    # -- for the pool's thread

    def run(self, handler: Callable[[list[Any]], Any], clock: Callable[[], float]) -> None:
        """All calls, one after the other. A second call of `run`, after an exception that another thread raised in this
        one, makes those that are missing."""
        if self._begun:
            self._recover()
        self._begun = True
        while (begun := self.begin(clock())) is not None:
            index, jobs = begun
            error, result = None, None
            try:
                result = handler(jobs)
                refuse_lazy(result)
            except BaseException as raised:  # SystemExit and KeyboardInterrupt in a handler are failures as well
                error = raised
            if self._forked:
                leave(error)
            self.end(index, clock(), error, result)
        self._payloads = []

    def begin(self, now: float) -> tuple[int, list[Any]] | None:
        """The next call, which runs from now on, as its index and its jobs; None while one runs, and after the last."""
        if self._halving is None:
            self._open()
        with self._lock:
            jobs = None if self._halving is None or self._call is not None else self._halving.next()
            if jobs is None:
                return None
            self._timed_out = False
            self._call = _Call(jobs, now)
        first, count = jobs
        return first, self._payloads[first:first + count]

    def end(self, index: int, now: float, error: BaseException | None = None, result: Any = None) -> None:
        """A call has ended, with this exception or, if that is None, this result."""
        call = self._call
        if call is None or call.index != index:
            return
        outcome = None if self._timed_out else self._outcome(call, error, result)
        with self._lock:
            if outcome is not None:
                self._outcomes.append(outcome)
            elif not call.alone and self._halving is not None:
                self._halving.halve(call.jobs)
            self._seconds += (now - call.since) * call.jobs[1]
            self._call = None

    def time_out(self, failure: FailedAttempt, now: float) -> bool:
        """The call whose first job this is has exceeded its timeout. However it ends, its jobs are called again in
        halves; a job alone has failed in this way. False if the call has ended, or timed out before."""
        with self._lock:
            call = self._call
            if call is None or self._timed_out or self._first_offset(call) != failure.offset:
                return False
            self._timed_out = True
            if call.alone:
                self._outcomes.append(BatchOutcome([call.jobs], failed=[failure]))
            return True

    def end_lost(self, running: Iterable[int], now: float) -> None:
        """End the call unless it is one of those that are `running`: an exception of another thread hit between two
        steps."""
        call = self._call
        if call is None:
            self._recover()
        elif call.index not in running:
            self.end(call.index, now, LateException("raised into this thread from another one"))

    def end_in_child(self) -> None:
        """A handler has forked, and this is the child: it must not run the remaining jobs as well."""
        self._forked = True
        self._halving = Halving(())

    @property
    def over(self) -> bool:
        """Whether no call runs and none is left."""
        return self._call is None and not self.can_begin

    @property
    def can_begin(self) -> bool:
        """Whether no call runs and one is left."""
        return self._call is None and (self._halving is None or bool(self._halving))

    def current_job(self, index: int = 0, payload: Any = None) -> list[CurrentJob]:
        """All jobs of the call that runs; for its handler."""
        call = self._call
        parts = [] if call is None else self._batch.parts(call.jobs)
        return [describe(part.first + at, self.attempt, one, part.sealed, part.cursors)
                for part in parts for at, one in enumerate(part.payloads)]

    # -- for the control thread

    def index_of(self, offset: int) -> int:
        """The index of the call whose first job this is, if it runs; else -1."""
        call = self._call
        return call.index if call is not None and self._first_offset(call) == offset else -1

    @property
    def count(self) -> int:
        """Its jobs, without those that were taken back."""
        return self._total - len(self._taken)

    @property
    def unstarted(self) -> int:
        """None: all were passed to a handler at once. Those that wait for a call with fewer jobs are not for others."""
        return 0

    def has_timed_out(self, offset: int) -> bool:
        """Whether `time_out` was called for the call whose first job this is, and it still runs."""
        with self._lock:
            return self._timed_out and self.index_of(offset) >= 0

    def collect(self) -> bool:
        """Whether this is the first call: a thread that was interrupted may say twice that it has ended."""
        first, self._collected = not self._collected, True
        return first

    def take_back(self) -> JobBatch | None:
        """Remove and return the jobs that are in no call, as one that had them raised."""
        with self._lock:
            if self._halving is None:  # nor has any begun
                self._halving = Halving([(0, self._total)])
            runs = self._halving.take()
            for run in runs:
                self._taken.add(*run)
        parts = [part for run in runs for part in self._batch.parts(run)]
        return JobBatch(tuple(parts)) if parts else None

    def look(self, now: float) -> Progress:
        """What became of its jobs since the last look."""
        with self._lock:
            new, self._reported = self._outcomes[self._reported:], len(self._outcomes)
            settled = [run for one in new for run in one.settled]
            failed = [failure for one in new for failure in one.failed]
            seconds = self._seconds if settled or failed else 0.0
            self._seconds -= seconds
            call = self._call
        return Progress(settled, failed, seconds, [] if call is None else [self._running(call)],
                        [lines for one in new for lines in one.results])

    def _running(self, call: _Call) -> RunningJob:
        first, *others = self._batch.offsets(call.jobs)
        return RunningJob(first, call.since, tuple(others))

    # -- steps

    def _outcome(self, call: _Call, error: BaseException | None, result: Any) -> BatchOutcome | None:
        """None if its jobs are to be called again, in halves."""
        if error is None:
            try:
                return batch_outcome.of_result(self._batch, call.jobs, result, self._described)
            except BaseException as raised:
                error = raised
        if call.alone or isinstance(error, Retry):  # which says something of the moment, not of a job
            return batch_outcome.of_error(self._batch, call.jobs, error, self._described)
        return None

    def _described(self, offset: int, error: BaseException, kind: str = "raised") -> FailedAttempt:
        return described_attempt(offset, self.attempt, error, kind, self._settings)

    def _first_offset(self, call: _Call) -> int:
        return self._batch.parts((call.index, 1))[0].first

    def _open(self) -> None:
        """Open the payloads; a job whose payload cannot be opened has failed, and is in no call."""
        payloads: list[Any] = []
        outcome = BatchOutcome()
        for part in self._batch.slices:
            if not part.sealed:
                payloads += part.payloads
                continue
            for offset, payload in enumerate(part.payloads, part.first):
                try:
                    payloads.append(opened(payload, sealed=True))
                except Undecodable as found:
                    outcome.jobs.append((len(payloads), 1))
                    outcome.failed.append(self._described(offset, found.error, "undecodable"))
                    payloads.append(None)
        with self._lock:
            if self._halving is None:  # else all were taken back meanwhile
                self._payloads, self._outcomes = payloads, [outcome]
                self._halving = Halving(self._unrecorded())

    def _recover(self) -> None:
        """All that has no outcome, and was not taken back, is called again."""
        with self._lock:
            if self._halving is not None and not self._forked:
                self._call = None
                self._halving = Halving(self._unrecorded())

    def _unrecorded(self) -> Runs:
        left = Runs([(0, self._total)])
        for run in [*self._taken, *(run for one in self._outcomes for run in one.jobs)]:
            left.remove(*run)
        return left
