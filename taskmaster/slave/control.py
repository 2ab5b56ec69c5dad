"""The control thread: carries out what the agent decides, between the master's socket and the pool.

It is a plain thread with a plain socket, so that neither a handler that blocks nor the gevent hub delays it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from math import inf

from taskmaster import defaults
from taskmaster.core import codec, slave_effects
from taskmaster.core.agent import Agent
from taskmaster.core.concurrency import ConcurrencyPolicy
from taskmaster.core.runs import Runs
from taskmaster.core.stats import SlaveStats
from taskmaster.core.wire import Frames, Lease
from taskmaster.errors import EXIT_DONE, EXIT_INTERRUPTED, KeyRefused, MasterGone, SlaveRefused, TaskmasterError
from taskmaster.handlers import NO_SETTINGS, HandlerSettings
from taskmaster.slave.backlog import Backlog
from taskmaster.slave.outcomes import Outcomes
from taskmaster.slave.pools.base import Pool
from taskmaster.slave.recycling import RecyclingLimits, resident_bytes
from taskmaster.slave.slots import Slots, handlers_cpu
from taskmaster.slave.watch import Watch
from taskmaster.transport.base import SlaveSocket
from taskmaster.transport.waker import Waker

log = logging.getLogger(__name__)


class Control:
    """One slave's loop. `run` belongs to its thread; `drain` may be called from any, also from a signal handler.

    Unless it is `trusting`, a master may send no pickles, which could run code here. `job_timeout` is in seconds.
    `beat` is called every BEAT_SECONDS, for as long as this thread gets to run. `grace` seconds after `drain`, jobs
    that still run are given back. `settings` are the handler's. At one of the
    `limits` it drains, to be replaced. With `batch`, the handler takes up to so many jobs in one call. `policy` decides
    how many calls run at once; without one, that stays as it is.
    """

    def __init__(self, agent: Agent, dialer: SlaveSocket, pool: Pool, waker: Waker, clock: Callable[[], float], *,
                 job_timeout: float | None = None, show: Callable[[SlaveStats], None] = lambda stats: None,
                 trusting: bool = True, beat: Callable[[], object] | None = None,
                 grace: float | None = None, settings: HandlerSettings = NO_SETTINGS,
                 limits: RecyclingLimits = RecyclingLimits(), batch: int | None = None,
                 policy: ConcurrencyPolicy | None = None, cpu: Callable[[], float] = handlers_cpu) -> None:
        self.exit_code = EXIT_DONE
        self.error: TaskmasterError | None = None
        self._agent = agent
        self._dialer = dialer
        self._pool = pool
        self._waker = waker
        self._clock = clock
        self._show = show
        self._trusting = trusting
        self._beat = beat
        self._beat_at = -inf
        self._grace = inf if grace is None else grace
        self._let_go_at = inf
        self._outcomes = Outcomes(agent)
        self._backlog = Backlog(agent, pool, self._outcomes, batch)
        self._watch = Watch(agent, pool, self._backlog, self._outcomes, job_timeout, settings)
        self._slots = Slots(agent, pool, self._outcomes, policy, cpu, batch or 1)
        self._limits = limits
        self._limits_at = -inf
        self._drains = 0  # calls of `drain`
        self._told_to_drain = False  # by the master, which says it at each heartbeat
        self._over = False
        self._show_at = 0.0
        self._started = clock()

    def drain(self) -> None:
        """Once: finish what is running, give back the rest, and exit. Twice: exit now."""
        self._drains += 1
        self._waker.wake()

    @property
    def dismissed(self) -> bool:
        """Whether it ends because the master told it to."""
        return self._agent.dismissed

    def run(self) -> None:
        """Serve until the master says stop, or is lost, or `drain` was called and everything is reported."""
        self._dialer.register(self._waker)
        while not self._over:
            now = self._clock()
            self._live(now)
            self._collect(now)
            self._look(now)
            self._backlog.fill(now)
            if self._agent.doubts(self._backlog.load, now):
                self._agent.carried(self._dialer.transfer(), now)
            self._perform(self._agent.tick(self._backlog.load, now), now)
            self._display(now)
            if not self._over:
                self._await(now)
        self._dialer.close()

    # -- waiting

    def _await(self, now: float) -> None:
        """Wait for an answer, for the pool or for the time to act, and do what an answer asks for."""
        if self._sets_alarm():
            return
        self._dialer.wait(self._next_due() - now)
        self._waker.clear()
        try:
            frames = self._dialer.receive()
        except KeyRefused as refused:
            return self._end(refused)
        if self._dialer.returned():
            self._agent.reconnected()
        if frames is not None:
            now = self._clock()
            self._collect(now)  # first: the answer may call for a request, which then reports it
            self._perform(self._agent.receive(frames, self._backlog.load, now), now)

    def _sets_alarm(self) -> bool:
        """Say when the pool shall wake this thread. Whether it did not until now: then something may have ended."""
        before = self._pool.wake_below
        self._pool.wake_below = self._agent.wake_below(self._pool.waiting)
        return before == 0 < self._pool.wake_below

    def _live(self, now: float) -> None:
        if self._beat is not None and now >= self._beat_at:
            self._beat_at = now + defaults.BEAT_SECONDS
            self._beat()

    def _next_due(self) -> float:
        due = min(self._agent.next_due(self._backlog.load), self._backlog.due)
        if self._beat is not None:
            due = min(due, self._beat_at)
        due = min(due, self._let_go_at) if self._agent.held else due
        return min(due, self._watch.due, self._slots.due) if self._backlog.jobs else due

    # -- what the pool has done

    def _collect(self, now: float) -> None:
        """Take in what happened since the last turn."""
        if self._drains and self._let_go_at == inf:
            self._let_go_at = now + self._grace
            self._begin_drain(now)
        if now >= self._let_go_at and self._agent.held:
            log.warning("Giving back jobs that are still running, %g s after this slave was asked to end", self._grace)
            self._agent.let_go(now)
        if self._drains > 1 or (self._drains and self._agent.epoch == 0):  # epoch 0: no master has answered yet
            self._over = True
        self._watch.collect(now)
        if self._drains > 1 and self._agent.epoch:
            self._perform(self._agent.say_goodbye(self._backlog.load, now), now)

    def _begin_drain(self, now: float) -> None:
        if self._agent.state == "run":
            self._agent.drain()
            self._backlog.return_all(now)
            self._agent.speak_up(now)
        if not self.dismissed:
            self.exit_code = EXIT_INTERRUPTED

    def _look(self, now: float) -> None:
        self._watch.look(now)
        self._slots.look(now)
        if self._watch.hung:
            self.exit_code = EXIT_INTERRUPTED
        if self._limits and now >= self._limits_at and self._agent.state == "run" and self._agent.epoch:
            self._limits_at = now + defaults.WATCH_SECONDS
            self._look_at_limits(now)

    def _look_at_limits(self, now: float) -> None:
        """Drain if this slave has lived for long enough. What waits here goes to others at once."""
        reached = self._limits.exceeded(self._outcomes.handled + self._outcomes.failed, resident_bytes(),
                                        now - self._started)
        if reached:
            log.info("This slave has reached a limit of its own (%s): it finishes the jobs that it is running, then "
                     "exits to be replaced", reached)
            self.exit_code = EXIT_INTERRUPTED
            self._agent.drain()
            self._backlog.return_all(now)

    # -- what the agent wants

    def _perform(self, effects: Iterable[slave_effects.Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case slave_effects.Request(frames):
                    self._send(frames)
                case slave_effects.Rebuild(frames):
                    log.warning("No answer from %s; trying again over a new connection", self._dialer.address)
                    self._dialer.rebuild()
                    self._send(frames)
                case slave_effects.Enqueue(leases, results):
                    self._enqueue(leases, results, now)
                case slave_effects.Cancel(runs):
                    self._backlog.rebalance(now, Runs(runs))
                case slave_effects.DiscardAll():
                    log.warning("Another master answers at %s; the jobs held here are dropped, as it has them too",
                                self._dialer.address)
                    self._backlog.return_all(now)
                case slave_effects.Drain(reason):
                    self._note_drain(reason)
                case slave_effects.Exit():
                    self._over = True
                case slave_effects.Refused(reason):
                    self._end(SlaveRefused(reason))
                case slave_effects.MasterLost(seconds):
                    self._lose_master(seconds)

    def _send(self, frames: Frames) -> None:
        self._dialer.send(frames)
        self._agent.sent(self._dialer.transfer())

    def _enqueue(self, leases: Iterable[Lease], results: bool, now: float) -> None:
        for lease in leases:
            if not self._trusting and lease.form not in codec.HARMLESS_FORMS:
                return self._end(KeyRefused(
                    f"{self._dialer.address} sent a pickle, which could run any code here, and without a key nobody "
                    "knows who listens there. Use a key, or start the master with --codec json."))
            self._backlog.enqueue(lease, now, results)

    def _note_drain(self, reason: str) -> None:
        """The backlog is run, too: it is 50 ms of work, and given back it would leave holes below settled jobs, which
        the next run would then repeat."""
        if not self._told_to_drain:
            log.info("Finishing the jobs held here: %s", reason)
        self._told_to_drain = True

    def _lose_master(self, seconds: float) -> None:
        self._end(MasterGone(f"No master at {self._dialer.address} for {seconds:.0f} s. Start one there, or give "
                             "its --address; --timeout and --retries say how long to wait."))

    def _end(self, error: TaskmasterError) -> None:
        self._over = True
        self.error = error
        self.exit_code = error.exit_code

    # -- what it shows

    def _display(self, now: float) -> None:
        rate = self._outcomes.rate(now)
        if now < self._show_at:
            return
        self._show_at = now + defaults.SLAVE_PROGRESS_SECONDS
        load = self._backlog.load
        self._show(SlaveStats(self._outcomes.handled, self._outcomes.failed, self._backlog.running, load.queued,
                              rate, self._dialer.address, now - self._started))
