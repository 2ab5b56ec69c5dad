"""Records what slaves report about their jobs: in the window, and in the counts of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.counts import Counts
from taskmaster.core.master_effects import Abandon, Effect
from taskmaster.core.pending_results import PendingResults
from taskmaster.core.results import Results, failure_line, with_results
from taskmaster.core.roster import Roster
from taskmaster.core.runs import Run, Runs
from taskmaster.core.session import Session
from taskmaster.core.window import Settled, Window
from taskmaster.core.wire import Poll


class Accounting:
    """Settles what is done, retries or abandons what failed, renews the leases of what is held."""

    def __init__(self, window: Window, slaves: Roster, counts: Counts, results: PendingResults | None = None) -> None:
        self._window = window
        self._results = results
        self._slaves = slaves
        self._counts = counts

    def record(self, session: Session, poll: Poll, now: float) -> list[Effect]:
        """Record one request; jobs that the previous request reported as done do not count as duplicates."""
        if poll.done and now >= self._window.lease_times.due:
            self._observe(session, poll, now)
        self._settle(session, poll)
        effects = self._fail(session, poll, now) if poll.failed else []
        self._counts.returned += self._window.renew(session.slave_id, poll.seq, Runs(poll.held))
        return effects

    def _observe(self, session: Session, poll: Poll, now: float) -> None:
        since = self._window.leased_since(session.slave_id, poll.done[0][0])
        if since is not None:
            self._window.lease_times.observe(now - since, now)

    def abandon(self, jobs: Sequence[AbandonedJob]) -> list[Effect]:
        """These jobs failed for good: count them, and have them written to the failures file."""
        self._counts.failed += len(jobs)
        named = [replace(job, holder=self._slaves.name_of(job.holder)) for job in jobs]
        if self._results is not None and self._results.with_failures:
            self._results.add(map(_as_result, named))
        return [Abandon(tuple(named))] if named else []

    def _settle(self, session: Session, poll: Poll) -> None:
        repeated: list[tuple[Run, int]] = []
        known = Runs()  # without offsets above every job: a sender could list any number of those
        for first, count, results in self._reported(poll):
            result = self._settle_run(session, first, count, results)
            self._counts.handled += result.fresh
            if first < self._window.head:
                known.add(first, count)
            if result.repeated:
                repeated.append(((first, count), result.repeated))
            for holder, run in result.drops:
                self._slaves.drop(holder, run)
        if repeated:
            self._count_duplicates(repeated, session.reported_done)
        session.reported_done = known

    def _reported(self, poll: Poll) -> Iterable[tuple[int, int, Results | None]]:
        if self._results is None:
            return [(first, count, None) for first, count in poll.done]
        return [(one.first, one.count, one) for one in with_results(poll.done, poll.results)]

    def _settle_run(self, session: Session, first: int, count: int, results: Results | None) -> Settled:
        if self._results is None or results is None:
            return self._window.settle(session.slave_id, first, count)
        cursors = self._window.cursors_of(first, count)  # before the watermark passes them
        settled = self._window.settle(session.slave_id, first, count)
        self._results.add([results.part(*run, cursors) for run in settled.runs])
        return settled

    def _count_duplicates(self, repeated: Sequence[tuple[Run, int]], reported_before: Runs) -> None:
        for (first, count), jobs in repeated:
            self._counts.duplicates += jobs - sum(length for _, length in reported_before.inside(first, count))

    def _fail(self, session: Session, poll: Poll, now: float) -> list[Effect]:
        abandoned, retried = self._window.fail(session.slave_id, poll.failed, now)
        self._counts.retried += retried
        return self.abandon(abandoned)


def _as_result(job: AbandonedJob) -> Results:
    cursors = None if job.cursor == job.offset + 1 else [job.cursor]
    return Results(job.offset, 1, failure_line(job.kind, job.error, job.message, job.attempts), cursors, failed=True)
