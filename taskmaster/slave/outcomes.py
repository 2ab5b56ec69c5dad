"""Passes the outcomes of jobs on to the agent, and counts them for the progress line."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import zip_longest

from taskmaster.core.agent import Agent
from taskmaster.core.meter import Meter
from taskmaster.core.runs import Run
from taskmaster.core.wire import FailedAttempt

log = logging.getLogger(__name__)


class Outcomes:
    """`handled` and `failed` count all jobs of this slave, including those that an earlier master handed out."""

    def __init__(self, agent: Agent) -> None:
        self.handled = 0
        self.failed = 0
        self.seconds = 0.0  # for which they kept their slots
        self._agent = agent
        self._meter = Meter()

    def settle(self, epoch: int, runs: Iterable[Run], now: float, results: Iterable[bytes] = ()) -> None:
        """The handler returned for these jobs; `results` has the lines of each run where they are wanted."""
        for (first, count), lines in zip_longest(runs, results):
            self.handled += count
            self._agent.settled(epoch, first, count, now, lines)

    def fail(self, epoch: int, failures: Iterable[FailedAttempt], now: float) -> None:
        """These attempts failed."""
        for failure in failures:
            self.failed += 1
            log.debug("Job %d failed, attempt %d: %s: %s", failure.offset, failure.attempt, failure.error,
                      failure.message)
            self._agent.failed(epoch, failure, now)

    def rate(self, now: float) -> float:
        """The recent rate of handled jobs per second; to be called at each turn of the loop."""
        self._meter.observe(now, self.handled)
        return self._meter.rate(now, self.handled)
