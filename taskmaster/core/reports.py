"""What a slave has to report to its master, until an answer shows that it has arrived."""

from __future__ import annotations

from collections import deque

from taskmaster import defaults
from taskmaster.core.results import Results
from taskmaster.core.runs import Run, Runs
from taskmaster.core.wire import FailedAttempt


class Reports:
    """Jobs accepted, settled, failed and given back, from the event until the master is known to have heard of it.

    A report waits until a request carries it, and is forgotten when that request is answered. A request that a newer
    one overtakes may never have been read, so the newer one carries its reports again.
    """

    def __init__(self) -> None:
        self.pending_since: float | None = None  # the oldest report that no request has carried yet
        self._to_list = Runs()  # leased, and not yet reported as settled or failed: unlisted, they would be given back
        self._done = Runs()
        self._results: deque[Results] = deque()  # of jobs that are in neither of the two lists of settled ones
        self._results_bytes = 0
        self._failed: deque[FailedAttempt] = deque()
        self._reported_done = Runs()  # carried by a request that is unanswered
        self._reported_results: list[Results] = []
        self._reported_failed: list[FailedAttempt] = []

    # -- what happened

    def leased(self, first: int, count: int) -> None:
        """These jobs were accepted."""
        self._to_list.add(first, count)

    def declined(self, now: float) -> None:
        """Jobs arrived that are not accepted: the next request gives them back by not listing them."""
        self._note(now)

    def settled(self, first: int, count: int, now: float) -> None:
        """The handler returned for these jobs."""
        self._done.add(first, count)
        self._note(now)

    def returned_results(self, results: Results, now: float) -> None:
        """The handler returned these, so these jobs are settled."""
        self._results_bytes += len(results.lines)
        if self._results and self._results[-1].is_short_before(results):
            results = self._results.pop().with_next(results)
        self._results.extend(results.cut(defaults.RESULTS_BYTES))
        self._note(now)

    def failed(self, failure: FailedAttempt, now: float) -> None:
        """One attempt at one job failed."""
        self._failed.append(failure)
        self._note(now)

    def returned(self, first: int, count: int, now: float) -> None:
        """These jobs go back unstarted: the next request does not list them."""
        self._to_list.remove(first, count)
        self._note(now)

    def _note(self, now: float) -> None:
        if self.pending_since is None:
            self.pending_since = now

    # -- what a request carries

    def collect(self) -> None:
        """Put what is pending into the next request, as far as it fits."""
        self._collect_done()
        self._collect_results()
        self._collect_failed()
        if not self._failed and not self._done and not self._results:
            self.pending_since = None

    def _collect_done(self) -> None:
        while self._done and self._reported_done.count_of_runs < defaults.REPORT_RUNS:
            run = self._done.pop_first()
            self._reported_done.add(*run)
            self._to_list.remove(*run)

    def _collect_results(self) -> None:
        size = sum([len(one.lines) for one in self._reported_results])
        while self._results and len(self._reported_results) < defaults.REPORT_RUNS:
            size += len(self._results[0].lines)
            if self._reported_results and size > defaults.RESULTS_BYTES:
                break
            one = self._results.popleft()
            self._results_bytes -= len(one.lines)
            self._reported_results.append(one)
            self._reported_done.add(one.first, one.count)
            self._to_list.remove(one.first, one.count)

    def _collect_failed(self) -> None:
        size = sum(map(_characters, self._reported_failed))
        while (self._failed and len(self._reported_failed) < defaults.REPORT_FAILURES
               and size < defaults.REPORT_CHARACTERS):
            failure = self._failed.popleft()
            self._reported_failed.append(failure)
            self._to_list.remove(failure.offset, 1)
            size += _characters(failure)

    @property
    def listed(self) -> tuple[Run, ...]:
        """The jobs to list as held; one that is left out for lack of room merely runs on another slave as well."""
        return tuple(self._to_list)[:defaults.REPORT_RUNS]

    @property
    def done(self) -> tuple[Run, ...]:
        """The settled runs that the next request carries."""
        return tuple(self._reported_done)

    @property
    def results(self) -> tuple[Results, ...]:
        """What the handlers returned for jobs among those."""
        return tuple(self._reported_results)

    @property
    def failures(self) -> tuple[FailedAttempt, ...]:
        """The failed attempts that the next request carries."""
        return tuple(self._reported_failed)

    # -- its state

    @property
    def pending(self) -> bool:
        """Whether there is something to report that no request has carried yet."""
        return self.pending_since is not None

    @property
    def congested(self) -> bool:
        """Whether the waiting failures, or results, would fill a request."""
        return len(self._failed) >= defaults.REPORT_FAILURES or self._results_bytes > defaults.RESULTS_BYTES

    @property
    def delivered(self) -> bool:
        """Whether the master is known to have heard everything."""
        return not self.pending and not self._reported_done and not self._reported_failed

    def answered(self) -> None:
        """The master has heard what the newest request carried."""
        self._reported_done, self._reported_failed, self._reported_results = Runs(), [], []

    def clear(self) -> None:
        """Forget everything: it was for another master."""
        self._to_list, self._done, self._reported_done = Runs(), Runs(), Runs()
        self._failed.clear()
        self._results.clear()
        self._results_bytes = 0
        self._reported_failed, self._reported_results = [], []
        self.pending_since = None


def _characters(failure: FailedAttempt) -> int:
    return len(failure.message) + len(failure.traceback) + len(failure.error)
