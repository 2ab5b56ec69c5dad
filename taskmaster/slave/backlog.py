"""The jobs between their arrival and their handler: cut into slices, or put together to batches, and given back where
they are too many."""

from __future__ import annotations

from math import inf
from typing import Any

from taskmaster.core import codec
from taskmaster.core.agent import Agent, Load
from taskmaster.core.runs import Runs
from taskmaster.core.wire import Lease
from taskmaster.slave.failed_attempt import failed_attempt
from taskmaster.slave.filling import Filling
from taskmaster.slave.outcomes import Outcomes
from taskmaster.slave.pools.base import Execution, Pool
from taskmaster.slave.slice import Slice
from taskmaster.slave.leased_cursors import LeasedCursors


class Backlog:
    """Puts jobs into the pool and takes them back; the agent's policy decides how many.

    With `batch`, its handler takes up to so many jobs in one call.
    """

    def __init__(self, agent: Agent, pool: Pool, outcomes: Outcomes, batch: int | None = None) -> None:
        self.jobs = 0  # here and in the pool, waiting or running
        self._agent = agent
        self._pool = pool
        self._outcomes = outcomes
        self._jobs_a_call = batch or 1
        self._filling = None if batch is None else Filling(batch)

    @property
    def load(self) -> Load:
        """What the pool is doing now."""
        begun = sum([execution.count for execution in self._pool.running()])
        return Load(max(0, self.jobs - begun), self._pool.idle * self._jobs_a_call)

    @property
    def running(self) -> int:
        """How many jobs are with the handler now."""
        if self._filling is None:
            return self._pool.busy
        return sum([execution.count for execution in self._pool.running()])

    @property
    def due(self) -> float:
        """When to call `fill`."""
        return self._filling.due if self._filling is not None and self._has_free_slot else inf

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
        cursors = LeasedCursors(lease.first, lease.form, lease.cursors) if lease.cursors else None
        sealed = codec.is_sealed(lease.form)
        self._put(Slice(epoch, lease.first, lease.attempt, payloads, sealed, results, cursors), now)

    def fill(self, now: float) -> None:
        """Let the handler have a batch that is not full, if it has waited for long enough, or nothing more will come.
        """
        filling, last = self._filling, self._agent.state != "run"
        while filling is not None and (last or (filling.due <= now and self._has_free_slot)):
            batch = filling.take_oldest()
            if batch is None:
                return
            self._pool.put(batch)

    def ended(self) -> list[Execution]:
        """The slices that have ended since the last call."""
        ended = list(self._pool.ended())
        self.jobs -= sum([execution.count for execution in ended])
        return ended

    def spread(self, execution: Execution, now: float) -> None:
        """Move jobs that wait behind a slow one to the other slots."""
        rest = execution.take_back()
        if rest is not None:
            self.jobs -= rest.count
            for work in rest.slices:
                self._put(work, now)

    def rebalance(self, now: float, cancelled: Runs = Runs()) -> None:
        """Cut what waits again, by how long jobs take now. Cancelled and surplus jobs go back to the master."""
        begun = sum([execution.count for execution in self._pool.running()])
        waiting = self._withdraw()
        splits = self._agent.backlog_policy.split([(work.first, work.count) for work in waiting], begun, cancelled)
        for work, split in zip(waiting, splits):
            for run in split.kept:
                self._put(work.part(*run), now)
            for run in split.returned:
                self._agent.returned(work.epoch, *run, now)

    def return_all(self, now: float) -> None:
        """Give back every job that has not started."""
        behind = [rest for execution in self._pool.running() if (rest := execution.take_back()) is not None]
        self.jobs -= sum([work.count for work in behind])
        slices = [work for rest in behind for work in rest.slices]
        for work in slices + self._withdraw():
            self._agent.returned(work.epoch, work.first, work.count, now)

    def _withdraw(self) -> list[Slice]:
        waiting = [work for one in self._pool.take_back() for work in one.slices]
        waiting += [] if self._filling is None else self._filling.take_back()
        self.jobs -= sum([work.count for work in waiting])
        return waiting

    def _put(self, work: Slice, now: float) -> None:
        """Put them into the pool, in slices sized by how long a job takes; or in batches, as far as those are full."""
        self.jobs += work.count
        pieces = (work.cut(self._agent.backlog_policy.slice_size(work.count)) if self._filling is None
                  else self._filling.put(work, now))
        for piece in pieces:
            self._pool.put(piece)

    @property
    def _has_free_slot(self) -> bool:
        return self._pool.idle > self._pool.waiting


def _opened(lease: Lease) -> list[Any]:
    """The payloads of a lease. Raises ValueError if their number is wrong, or if they are not a batch at all."""
    payloads = codec.open_batch(lease.form, lease.blob)
    if len(payloads) != lease.count:
        raise ValueError(f"a lease of {lease.count} jobs came with {len(payloads)}")
    return payloads
