"""How many jobs run at once in a slave while that changes: reads what the policy needs, and does what it decides."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf

from taskmaster.core.agent import Agent
from taskmaster.core.concurrency import ConcurrencyPolicy, Reading
from taskmaster.errors import LimitReached
from taskmaster.slave.outcomes import Outcomes
from taskmaster.slave.pools.base import Pool

log = logging.getLogger(__name__)


def handlers_cpu() -> float:
    """CPU seconds that this process has used without the calling thread, which is the control thread."""
    return time.process_time() - time.thread_time()


class Slots:
    """Looks when the policy wants it; without one, the pool keeps the slots that it has.

    Where a call of the handler takes a `batch`, the policy counts calls, and the agent jobs.
    """

    def __init__(self, agent: Agent, pool: Pool, outcomes: Outcomes, policy: ConcurrencyPolicy | None,
                 cpu: Callable[[], float], batch: int = 1) -> None:
        self._agent = agent
        self._pool = pool
        self._outcomes = outcomes
        self._policy = policy
        self._cpu = cpu
        self._batch = batch
        self._slots = pool.slots

    @property
    def due(self) -> float:
        """When to look again, if jobs are there."""
        return inf if self._policy is None else self._policy.due

    def look(self, now: float) -> None:
        """Give the pool, and sooner or later the master, the number of jobs that should run at once."""
        if self._policy is None or now < self._policy.due:
            return
        self._policy.observe(self._reading(now))
        if self._policy.limit != self._pool.slots:
            self._resize(self._policy)
        if self._policy is not None and self._policy.slots != self._slots:
            self._tell(self._policy.slots)

    def _resize(self, policy: ConcurrencyPolicy) -> None:
        try:
            self._pool.resize(policy.limit)
        except LimitReached as error:
            log.warning("This slave stays at %d jobs at once. %s", self._pool.slots * self._batch, error)
            self._policy = None
            self._tell(self._pool.slots)

    def _tell(self, slots: int) -> None:
        self._slots = slots
        self._agent.prefetch.resize(slots * self._batch)
        log.debug("From now on this slave runs up to %d jobs at once", slots * self._batch)

    def _reading(self, now: float) -> Reading:
        outcomes, pool, batch = self._outcomes, self._pool, self._batch
        return Reading(now, self._cpu(), pool.busy, pool.waiting, outcomes.handled // batch, outcomes.failed // batch,
                       outcomes.seconds / batch)
