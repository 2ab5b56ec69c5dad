"""The jobs between their arrival and their handler: cut into slices, given back where they are too many."""

from __future__ import annotations

from typing import Any

from taskmaster.core import codec
from taskmaster.core.agent import Agent, Load
from taskmaster.core.runs import Runs
from taskmaster.core.wire import Lease
from taskmaster.slave.failed_attempt import failed_attempt
from taskmaster.slave.outcomes import Outcomes
from taskmaster.slave.pools.base import Execution, Pool
from taskmaster.slave.slice import Slice


class Backlog:
    """Puts jobs into the pool and takes them back; the agent's policy decides how many."""

    def __init__(self, agent: Agent, pool: Pool, outcomes: Outcomes) -> None:
        self.jobs = 0  # in the pool, waiting or running
        self._agent = agent
        self._pool = pool
        self._outcomes = outcomes

    @property
    def load(self) -> Load:
        """What the pool is doing now."""
        begun = sum([execution.count for execution in self._pool.running()])
        return Load(max(0, self.jobs - begun), self._pool.idle)

    def enqueue(self, lease: Lease, now: float, results: bool = False) -> None:
        """Hand a lease to the pool, whose threads decode the jobs that need the user's code for it.

        If they were decoded here, those that take seconds would be decoded one by one and delay lease renewals.
        """
        epoch = self._agent.epoch
        try:
            payloads = _opened(lease)
        except ValueError as error:
            offsets = range(lease.first, lease.first + lease.count)
            failures = [failed_attempt(offset, lease.attempt, error, "undecodable") for offset in offsets]
            return self._outcomes.fail(epoch, failures, now)
        self._put(Slice(epoch, lease.first, lease.attempt, payloads, codec.is_sealed(lease.form), results))

    def ended(self) -> list[Execution]:
        """The slices that have ended since the last call."""
        ended = list(self._pool.ended())
        self.jobs -= sum([execution.count for execution in ended])
        return ended

    def spread(self, execution: Execution) -> None:
        """Move jobs that wait behind a slow one to the other slots."""
        rest = execution.take_back()
        if rest is not None:
            self.jobs -= rest.count
            self._put(rest)

    def rebalance(self, now: float, cancelled: Runs = Runs()) -> None:
        """Cut what waits again, by how long jobs take now. Cancelled and surplus jobs go back to the master."""
        begun = sum([execution.count for execution in self._pool.running()])
        waiting = self._withdraw()
        splits = self._agent.backlog_policy.split([(work.first, work.count) for work in waiting], begun, cancelled)
        for work, split in zip(waiting, splits):
            for run in split.kept:
                self._put(work.part(*run))
            for run in split.returned:
                self._agent.returned(work.epoch, *run, now)

    def return_all(self, now: float) -> None:
        """Give back every job that has not started."""
        behind = [rest for execution in self._pool.running() if (rest := execution.take_back()) is not None]
        self.jobs -= sum([work.count for work in behind])
        for work in behind + self._withdraw():
            self._agent.returned(work.epoch, work.first, work.count, now)

    def _withdraw(self) -> list[Slice]:
        waiting = list(self._pool.take_back())
        self.jobs -= sum([work.count for work in waiting])
        return waiting

    def _put(self, work: Slice) -> None:
        """Put them into the pool, in slices sized by how long a job takes."""
        self.jobs += work.count
        for piece in work.cut(self._agent.backlog_policy.slice_size(work.count)):
            self._pool.put(piece)


def _opened(lease: Lease) -> list[Any]:
    """The payloads of a lease. Raises ValueError if their number is wrong, or if they are not a batch at all."""
    payloads = codec.open_batch(lease.form, lease.blob)
    if len(payloads) != lease.count:
        raise ValueError(f"a lease of {lease.count} jobs came with {len(payloads)}")
    return payloads
