"""Records what slaves report about their jobs: in the window, and in the counts of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from taskmaster.core.counts import Counts
from taskmaster.core.master_effects import Abandon, Effect
from taskmaster.core.roster import Roster
from taskmaster.core.runs import Run, Runs
from taskmaster.core.session import Session
from taskmaster.core.window import AbandonedJob, Window
from taskmaster.core.wire import Poll


class Accounting:
    """Settles what is done, retries or abandons what failed, renews the leases of what is held."""

    def __init__(self, window: Window, slaves: Roster, counts: Counts) -> None:
        self._window = window
        self._slaves = slaves
        self._counts = counts

    def record(self, session: Session, poll: Poll, now: float) -> list[Effect]:
        """Record one request; jobs that the previous request reported as done do not count as duplicates."""
        self._settle(session, poll)
        effects = self._fail(session, poll, now) if poll.failed else []
        self._counts.returned += self._window.renew(session.slave_id, poll.seq, Runs(poll.held))
        return effects

    def abandon(self, jobs: Sequence[AbandonedJob]) -> list[Effect]:
        """These jobs failed for good: count them, and have them written to the failures file."""
        self._counts.failed += len(jobs)
        named = [replace(job, holder=self._slaves.name_of(job.holder)) for job in jobs]
        return [Abandon(tuple(named))] if named else []

    def _settle(self, session: Session, poll: Poll) -> None:
        repeated: list[tuple[Run, int]] = []
        known = Runs()  # without offsets above every job: a sender could list any number of those
        for first, count in poll.done:
            result = self._window.settle(session.slave_id, first, count)
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

    def _count_duplicates(self, repeated: Sequence[tuple[Run, int]], reported_before: Runs) -> None:
        for (first, count), jobs in repeated:
            self._counts.duplicates += jobs - sum(length for _, length in reported_before.inside(first, count))

    def _fail(self, session: Session, poll: Poll, now: float) -> list[Effect]:
        abandoned, retried = self._window.fail(session.slave_id, poll.failed, now)
        self._counts.retried += retried
        return self.abandon(abandoned)
