"""Looks at what the pool has run and is running: what settled, what became slow, what runs for too long."""

from __future__ import annotations

import logging
from dataclasses import replace

from taskmaster import defaults
from taskmaster.core.agent import Agent
from taskmaster.core.wire import FailedAttempt
from taskmaster.handlers import NO_SETTINGS, HandlerSettings
from taskmaster.slave.backlog import Backlog
from taskmaster.slave.failed_attempt import timed_out_attempt
from taskmaster.slave.outcomes import Outcomes
from taskmaster.slave.pools.base import Execution, Pool, Progress, RunningJob

log = logging.getLogger(__name__)


class Watch:
    """Looks at ended slices whenever asked, at running ones every WATCH_SECONDS.

    `job_timeout` is in seconds; None lets handlers run for as long as they like.
    """

    def __init__(self, agent: Agent, pool: Pool, backlog: Backlog, outcomes: Outcomes,
                 job_timeout: float | None = None, settings: HandlerSettings = NO_SETTINGS) -> None:
        self.due = 0.0  # when the running slices are to be looked at again
        self._agent = agent
        self._pool = pool
        self._backlog = backlog
        self._outcomes = outcomes
        self._job_timeout = job_timeout
        self._settings = settings
        # By call: of one batch, several may begin with the same job.
        self._cancelled: dict[tuple[Execution, RunningJob], float] = {}  # and when it must have helped
        self._hung: set[tuple[Execution, RunningJob]] = set()

    @property
    def hung(self) -> bool:
        """Whether a job exceeded its timeout and cannot be ended: then the process has to be replaced."""
        return bool(self._hung)

    def collect(self, now: float) -> None:
        """Record the outcomes of the slices that have ended."""
        for execution in self._backlog.ended():
            self._record(execution, execution.look(now), now)
            if self._cancelled:
                self._cancelled = {job: due for job, due in self._cancelled.items() if job[0] is not execution}

    def look(self, now: float) -> None:
        """Look at what is running, if that is due."""
        if now < self.due:
            return
        self.due = now + defaults.WATCH_SECONDS
        for execution in self._pool.running():
            self._look_at(execution, now)
        self._agent.job_duration.roll()
        if self._agent.backlog_policy.is_overfull(len(self._agent.held)):
            self._backlog.rebalance(now)

    def _look_at(self, execution: Execution, now: float) -> None:
        progress = execution.look(now)
        self._record(execution, progress, now)
        if progress.running:
            self._agent.job_duration.still_running(now - min([job.since for job in progress.running]))
        for job in progress.running:
            if self._is_overdue(execution, job, now):
                self._time_out(execution, job, now)
        if self._agent.backlog_policy.is_held_up(execution.unstarted):
            self._backlog.spread(execution, now)

    def _record(self, execution: Execution, progress: Progress, now: float) -> None:
        ended = progress.ended
        if ended:
            self._agent.job_duration.observe(ended, progress.seconds)
            self._outcomes.settle(execution.epoch, progress.settled, now, progress.results)
            self._outcomes.fail(execution.epoch, progress.failed, now)

    def _is_overdue(self, execution: Execution, job: RunningJob, now: float) -> bool:
        """Whether it has exceeded its timeout and nothing has been done about it."""
        limit, key = self._job_timeout, (execution, job)
        return limit is not None and now - job.since >= limit and key not in self._hung and not (
            now < self._cancelled.get(key, now))

    def _time_out(self, execution: Execution, job: RunningJob, now: float) -> None:
        """The attempt has failed: end its handler, or replace the process if that is impossible.

        A batch whose handler can be ended goes on in halves.
        """
        assert self._job_timeout is not None
        stack = self._pool.stack_of(execution, job.offset)
        failure = timed_out_attempt(job.offset, execution.attempt, self._job_timeout, stack, self._settings)
        tried = (execution, job) in self._cancelled
        if not tried and self._pool.cancel(execution, failure):
            log.debug("%s been running for %.1f s, longer than --job-timeout; cancelled", _named(job), now - job.since)
            self._cancelled[execution, job] = now + defaults.CANCEL_SECONDS
        elif self._pool.is_to_blame(execution, job.offset):
            self._replace(execution, job, failure, now)
        elif self._hung:
            for offset in (job.offset, *job.others):
                self._agent.returned(execution.epoch, offset, 1, now)

    def _replace(self, execution: Execution, job: RunningJob, failure: FailedAttempt, now: float) -> None:
        """The slave finishes its other jobs and is replaced, because this one's handler cannot be ended."""
        log.warning("%s been running for %.1f s, longer than --job-timeout. This slave finishes the other jobs it is "
                    "running, then exits to be replaced", _named(job), now - job.since)
        self._hung.add((execution, job))
        offsets = (job.offset, *job.others)
        self._outcomes.fail(execution.epoch, [replace(failure, offset=offset) for offset in offsets], now)
        self._agent.drain()
        self._backlog.return_all(now)


def _named(job: RunningJob) -> str:
    if not job.others:
        return f"Job {job.offset} has"
    return f"A batch of {1 + len(job.others):,} jobs, from job {job.offset} on, has"
