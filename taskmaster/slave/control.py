"""The control thread: carries out what the agent decides, between the master's socket and the pool.

It is a plain thread with a plain socket, so that neither a handler that blocks nor the gevent hub delays it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from taskmaster import defaults
from taskmaster.core import codec, slave_effects
from taskmaster.core.agent import Agent, Load
from taskmaster.core.pace import Meter
from taskmaster.core.runs import Runs
from taskmaster.core.stats import SlaveStats
from taskmaster.core.wire import FailedAttempt, Lease
from taskmaster.errors import EXIT_DONE, EXIT_INTERRUPTED, KeyRefused, MasterGone, TaskmasterError, VersionMismatch
from taskmaster.slave.pools.threads import Pool
from taskmaster.slave.slice import TRACEBACK_CHARACTERS, Slice, failure_of
from taskmaster.transport.base import SlaveSocket
from taskmaster.transport.waker import Waker

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.05  # between looks at what is running: what turned slow is noticed within a lease's length
SHOW_SECONDS = 0.5


class Control:
    """One slave's loop. `run` belongs to its thread; `drain` may be called from any, also from a signal handler."""

    def __init__(self, agent: Agent, dialer: SlaveSocket, pool: Pool, waker: Waker, clock: Callable[[], float], *,
                 job_timeout: float | None = None, show: Callable[[SlaveStats], None] = lambda stats: None,
                 trusting: bool = True) -> None:
        self.exit_code = EXIT_DONE
        self.error: TaskmasterError | None = None
        self._agent = agent
        self._dialer = dialer
        self._pool = pool
        self._waker = waker
        self._clock = clock
        self._job_timeout = job_timeout
        self._show = show
        self._trusting = trusting  # the master may send pickles, which run its code here
        self._drains = 0  # how often it was asked to
        self._halted = False
        self._over = False
        self._in_pool = 0  # jobs that wait or run there
        self._look_at = 0.0
        self._show_at = 0.0
        self._handled = 0
        self._failed = 0
        self._meter = Meter()
        self._started = clock()

    def drain(self) -> None:
        """Once: finish what is running, give back the rest, and leave. Twice: leave now."""
        self._drains += 1
        self._waker.wake()

    @property
    def dismissed(self) -> bool:
        """Whether it ends because the master told it to."""
        return self._agent.dismissed

    def run(self) -> None:
        """Serve until the master says stop, or is gone, or `drain` was called and all is said."""
        self._dialer.register(self._waker)
        while not self._over:
            now = self._clock()
            self._collect(now)
            self._watch(now)
            self._perform(self._agent.tick(self._load(), now), now)
            self._display(now)
            if not self._over:
                self._await(now)
        self._dialer.close()

    def _await(self, now: float) -> None:
        if self._awaits_more():
            return
        due = self._agent.next_due(self._load())
        if self._in_pool:
            due = min(due, self._look_at)
        self._dialer.wait(due - now)
        self._waker.clear()
        try:
            frames = self._dialer.receive()
        except KeyRefused as refused:
            return self._end(refused)
        if self._dialer.returned():
            self._agent.reconnected()
        if frames is not None:
            now = self._clock()
            self._collect(now)  # first: the answer may call for a request, and that tells of it
            self._perform(self._agent.receive(frames, self._load(), now), now)

    def _awaits_more(self) -> bool:
        """Say when the pool shall wake this thread; whether something may have ended before it would.

        With an answer due nothing can be told before it comes: to wake for it was half of this loop's turns. And more
        is asked for when half of what waits is gone: at each slice of 2 ms, a turn was a tenth of what a slave
        computed.
        """
        before = self._pool.awaited
        self._pool.awaited = -1 if self._agent.answer_is_due else self._pool.waiting // 2
        return before < 0 <= self._pool.awaited

    def _load(self) -> Load:
        running = self._pool.running()
        busy = sum(work.count for work in running)
        return Load(max(0, self._in_pool - busy), self._pool.threads - len(running))

    # -- what the agent wants

    def _perform(self, effects: Iterable[slave_effects.Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case slave_effects.Request(frames):
                    self._dialer.send(frames)
                case slave_effects.Rebuild(frames):
                    log.warning("No answer from %s; trying again with a new connection", self._dialer.address)
                    self._dialer.rebuild()
                    self._dialer.send(frames)
                case slave_effects.Enqueue(leases):
                    self._take(leases, now)
                case slave_effects.Cancel(runs):
                    self._rebalance(now, Runs(runs))
                case slave_effects.DiscardAll():
                    log.warning("Another master answers at %s; jobs in hand are dropped, it has them too",
                                self._dialer.address)
                    self._return_backlog(now)
                case slave_effects.Drain(reason):
                    # What waits is run, too: it is 50 ms of work, and given back it would leave holes below jobs
                    # that are settled, which the next run then repeats. The master says it at each heartbeat.
                    if not self._halted:
                        log.info("Finishing what is at hand: %s", reason)
                    self._halted = True
                case slave_effects.Exit():
                    self._over = True
                case slave_effects.Refused(reason):
                    self._end(VersionMismatch(reason))
                case slave_effects.MasterLost(seconds):
                    self._give_up(seconds)

    def _give_up(self, seconds: float) -> None:
        self._end(MasterGone(f"No master at {self._dialer.address} for {seconds:.0f} s. Start one there, or give "
                             "its --address; --timeout and --retries say how long to wait."))

    def _end(self, error: TaskmasterError) -> None:
        self._over = True
        self.error = error
        self.exit_code = error.exit_code

    def _take(self, leases: Iterable[Lease], now: float) -> None:
        for lease in leases:
            if not self._trusting and lease.form not in codec.HARMLESS_FORMS:
                return self._end(KeyRefused(
                    f"{self._dialer.address} sent a pickle, which could run any code here, and without a key nobody "
                    "knows who listens there. Use a key, or start the master with --codec json."))
            payloads, bad = self._decoded(lease)
            for index, error in bad.items():
                self._fail(self._agent.epoch, failure_of(lease.first + index, lease.attempt, error, "undecodable"), now)
            good = Runs([(0, len(payloads))])
            for index in bad:
                good.remove(index, 1)
            for first, count in good:
                part = payloads if count == len(payloads) else payloads[first:first + count]
                self._put(self._agent.epoch, lease.first + first, lease.attempt, part)
        self._look_at = min(self._look_at, now + WATCH_SECONDS)

    @staticmethod
    def _decoded(lease: Lease) -> tuple[list[Any], dict[int, BaseException]]:
        try:
            payloads, bad = codec.decode(lease.form, lease.blob)
            if len(payloads) == lease.count:
                return payloads, bad
            error = ValueError(f"a lease of {lease.count} jobs came with {len(payloads)}")
        except ValueError as raised:
            error = raised
        return [None] * lease.count, {index: error for index in range(lease.count)}

    def _put(self, epoch: int, first: int, attempt: int, payloads: list[Any]) -> None:
        """Into the pool, in slices sized by how long a job takes."""
        self._in_pool += len(payloads)
        size = self._agent.prefetch.slice_size(len(payloads))
        if size >= len(payloads):
            self._pool.put(Slice(epoch, first, attempt, payloads))
            return
        for at in range(0, len(payloads), size):
            self._pool.put(Slice(epoch, first + at, attempt, payloads[at:at + size]))

    # -- what the pool has done

    def _collect(self, now: float) -> None:
        if self._drains and self._agent.state == "run":
            self._agent.drain()
            self._return_backlog(now)
        if self._drains > 1 or (self._drains and self._agent.epoch == 0):  # epoch 0: no master has answered yet
            self._over = True
            self.exit_code = EXIT_INTERRUPTED if self._in_pool else self.exit_code
        for work in self._pool.ended():
            self._in_pool -= work.count
            jobs, seconds = work.unseen()
            if jobs and seconds >= 0:
                self._agent.pace.observe(jobs, seconds)
            self._collect_outcomes(work, now)

    def _collect_outcomes(self, work: Slice, now: float) -> None:
        runs, failed = work.harvest()
        for first, count in runs:
            self._handled += count
            self._agent.settled(work.epoch, first, count, now)
        for failure in failed:
            self._fail(work.epoch, failure, now)

    def _fail(self, epoch: int, failure: FailedAttempt, now: float) -> None:
        self._failed += 1
        log.debug("Job %d failed, attempt %d: %s: %s", failure.offset, failure.attempt, failure.error, failure.message)
        self._agent.failed(epoch, failure, now)

    # -- what the pool is at

    def _watch(self, now: float) -> None:
        """Look at what is running: report its settled part, notice what turned slow, take back what waits behind it."""
        if now < self._look_at:
            return
        self._look_at = now + WATCH_SECONDS
        for work in self._pool.running():
            self._look(work, now)
            self._collect_outcomes(work, now)
        self._agent.pace.roll()
        if len(self._agent.held) > self._agent.prefetch.most():
            self._rebalance(now)

    def _look(self, work: Slice, now: float) -> None:
        started, since = work.started, now - work.seen_at
        done = started - max(1, work.seen)  # of a slice not looked at before, the first job has only begun
        if done > 0:
            self._agent.pace.observe(done, since)
        elif started:
            self._agent.pace.still_running(since)
        if started != work.seen:
            work.seen, work.seen_at = started, now
        elif self._job_timeout is not None and since >= self._job_timeout:
            self._time_out(work, now)
        guess = self._agent.pace.guess or 0.0
        if (work.count - started) * guess > defaults.LEASE_SECONDS:
            self._take_back(work)

    def _take_back(self, work: Slice) -> None:
        """What waits behind a slow job in its thread goes to the other threads."""
        rest = work.take_back()
        self._in_pool -= len(rest)
        if rest:
            self._put(work.epoch, work.first + work.count, work.attempt, rest)

    def _time_out(self, work: Slice, now: float) -> None:
        """A thread cannot be ended: the attempt is failed, and this process finishes the rest and is replaced."""
        offset, stack = work.current, self._pool.stack_of(work)
        log.warning("Job %d has run for %.1f s, longer than --job-timeout; this slave finishes what else it runs and "
                    "ends, to be replaced", offset, now - work.seen_at)
        message = f"still running after {self._job_timeout:g} s"
        failure = FailedAttempt(offset, work.attempt, "timeout", "JobTimeout", message, stack[-TRACEBACK_CHARACTERS:])
        self._fail(work.epoch, failure, now)
        self._take_back(work)
        work.seen_at = float("inf")  # so that it is told of once
        self.exit_code = EXIT_INTERRUPTED
        self._agent.drain()
        self._return_backlog(now)

    # -- the backlog

    def _rebalance(self, now: float, unwanted: Runs = Runs()) -> None:
        """Cut anew what waits, by how long jobs take now; what is more than a lease's worth goes back to the master."""
        room = self._agent.prefetch.target() - sum(work.count for work in self._pool.running())
        for work in self._withdrawn():
            first, payloads = work.first, work.take_back()
            for run in unwanted.inside(first, len(payloads)):
                self._agent.returned(work.epoch, *run, now)
            for at, count in unwanted.outside(first, len(payloads)):
                kept = max(0, min(count, room))
                room -= kept
                if kept:
                    self._put(work.epoch, at, work.attempt, payloads[at - first:at - first + kept])
                if kept < count:
                    self._agent.returned(work.epoch, at + kept, count - kept, now)

    def _return_backlog(self, now: float) -> None:
        """Give back all that waits, and what waits behind running jobs."""
        for work in self._pool.running():
            self._take_back(work)
        for work in self._withdrawn():
            self._agent.returned(work.epoch, work.first, work.count, now)

    def _withdrawn(self) -> list[Slice]:
        waiting = self._pool.take_back()
        self._in_pool -= sum(work.count for work in waiting)
        return waiting

    # -- what it shows

    def _display(self, now: float) -> None:
        self._meter.observe(now, self._handled)
        if now < self._show_at:
            return
        self._show_at = now + SHOW_SECONDS
        load = self._load()
        self._show(SlaveStats(self._handled, self._failed, self._pool.threads - load.idle, load.queued,
                              self._meter.rate(now, self._handled), self._dialer.address, now - self._started))
