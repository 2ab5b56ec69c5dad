"""The master's loop: receives, lets the dispatcher decide, performs its effects; feeds the window, saves the state."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any

from taskmaster import defaults
from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.budget import FailureBudget
from taskmaster.core.codec import BadJob
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.interrupts import Interrupts
from taskmaster.core.master_effects import Abandon, Effect, Log, Send
from taskmaster.core.stats import Stats
from taskmaster.job import NO_CURSOR
from taskmaster.master.crew import Crew
from taskmaster.master.ending import Ending, Facts, ending_for, first_job_unsendable, source_exhausted, source_failed
from taskmaster.master.feeder import Again, Exhausted, Feeder, Raised
from taskmaster.master.observers import DrainStarted, JobAbandoned, Observers
from taskmaster.master.pulled import PassedOver, Pulled
from taskmaster.master.report import Report
from taskmaster.master.state.base import StateStore
from taskmaster.transport.base import MasterSocket
from taskmaster.transport.waker import Waker

log = logging.getLogger(__name__)


class Server:
    """Serves slaves until the source is exhausted and everything is settled, or until something else ends the run.

    The owner of `interrupts` has to wake the `waker` at each of them.
    """

    def __init__(self, listener: MasterSocket, dispatcher: Dispatcher, feeder: Feeder, state: StateStore, waker: Waker,
                 observers: Observers, budget: FailureBudget, clock: Callable[[], float], interrupts: Interrupts, *,
                 first_offset: int, total: int | None = None, crew: Crew | None = None,
                 grace: float | None = None) -> None:
        self.ending: Ending | None = None
        self.aborted = False
        self._listener = listener
        self._dispatcher = dispatcher
        self._window = dispatcher.window
        self._results = dispatcher.results
        self._feeder = feeder
        self._state = state
        self._waker = waker
        self._observers = observers
        self._budget = budget
        self._clock = clock
        self._report = Report(dispatcher, feeder, state, clock(), first_offset, total)
        self._first_offset = first_offset
        self._host = socket.gethostname()
        self._crew = crew
        self._links_due = 0.0
        self._crew_due = 0.0
        self._crew_verdict: int | None = None
        self._source_end: Ending | None = None
        self._interrupts = interrupts
        self._grace = inf if grace is None else grace
        self._drain_by = inf  # after that, an interrupted master does not wait for running jobs
        self._stopping = False  # slaves are told to stop
        self._save_by: float | None = None  # set when the last checkpoint is offered: the disk has until then
        self._stop_by: float | None = None  # then set: slaves have until then to hear that they are to stop
        self._turn_at = clock()
        self._show_due = 0.0

    def run(self) -> Ending:
        """Serve until the run ends; returns how it ended."""
        self._listener.register(self._waker)
        while not self._over(self._clock()):
            self._listener.wait(self._due() - self._clock())
            self._waker.clear()
            now = self._clock()
            self._mind_standstill(now)
            heard_all = self._hear(now)
            self._admit(now)
            self._watch_links(now)
            self._watch_crew(now)  # before the clock takes them for dead: it knows how they died
            self._perform(self._dispatcher.tick(now, heard_all))
            self._save(now)
            self._mind_the_end(now)
            self._show(now)
        assert self.ending is not None
        return self.ending

    def close_source(self) -> None:
        """Wait until the source is closed, but not for long: it may be in a call that never returns."""
        began, closed = self._clock(), self._feeder.join(0.0)
        while not closed and self._clock() - began < self._close_seconds():
            closed = self._feeder.join(0.05)
        if not closed:
            log.warning("get_jobs has not returned, so its cleanup (`finally`) does not run: it is at %s",
                        self._feeder.place)

    def _close_seconds(self) -> float:
        return defaults.ABORT_SECONDS if self._interrupts.stopping else defaults.SOURCE_CLOSE_SECONDS

    def stats(self) -> Stats:
        """The run as it is now."""
        return self._report.stats(self._clock(), self.ending, stopped=self._stop_by is not None)

    # -- one turn

    def _due(self) -> float:
        now = self._clock()
        times = [self._dispatcher.next_due(now), self._feeder.late_after, self._save_due(),
                 self._crew_due if self._crew is not None else now + defaults.SHOW_SECONDS]
        return min(due for due in times if due is not None)

    def _mind_standstill(self, now: float) -> None:
        """After Ctrl-Z, a paused container or heavy swapping no slave is to blame for silence: nobody was listening."""
        before, self._turn_at = self._turn_at, now
        if now - before > defaults.STANDSTILL_SECONDS:
            log.info("This master stood still for %.0f s", now - before)
            self._dispatcher.stood_still(now)

    def _hear(self, now: float) -> bool:
        """Whether no message is left in the inbox."""
        for peer, near in self._listener.dropped():
            grace = defaults.RECONNECT_GRACE_SECONDS_LOCAL if near else defaults.RECONNECT_GRACE_SECONDS_REMOTE
            self._dispatcher.disconnected(peer, now, grace)
        effects: list[Effect] = []
        message = None
        for _ in range(defaults.MESSAGES_AT_ONCE):
            message = self._listener.receive()
            if message is None:
                break
            effects += self._dispatcher.receive(*message, now)
            if len(effects) >= defaults.EFFECTS_AT_ONCE:
                self._perform(effects)
                effects = []
        self._perform(effects)
        return message is None

    def _admit(self, now: float) -> None:
        self._feeder.overdue(now)
        while (fed := self._feeder.take()) is not None:
            match fed:
                case Pulled():
                    self._admit_pulled(fed, now)
                case Again(jobs):
                    self._perform(self._dispatcher.admit_again(jobs, now))
                case Exhausted(limited):
                    self._window.pulled_all = True
                    self._source_end = source_exhausted(limited)
                    if not limited:
                        self._window.end_of_source()
                case Raised(error):
                    self._window.pulled_all = True
                    self._source_end = source_failed(error)
        self._window.results_bytes = self._state.results_bytes + (self._results.bytes if self._results else 0)
        self._feeder.allow(self._window.head + self._window.room())

    def _admit_pulled(self, pulled: Pulled, now: float) -> None:
        at = 0
        for piece in pulled.pieces:
            if isinstance(piece, BadJob):
                self._admit_bad(piece, pulled.cursors[at] if pulled.cursors else NO_CURSOR)
                at += 1
                continue
            count = piece.entry.count if isinstance(piece, PassedOver) else piece.batch.count
            cursors = pulled.cursors[at:at + count] if pulled.cursors else None
            at += count
            if isinstance(piece, PassedOver):
                self._window.admit_settled(piece.entry, cursors, count * pulled.cursor_bytes)
                if self._results is not None:
                    self._results.pass_over(piece.entry.first, count, cursors)
            else:
                size = count * pulled.cursor_bytes
                self._perform(self._dispatcher.admit(piece.batch, cursors, now, size))

    def _admit_bad(self, bad: BadJob, cursor: Any) -> None:
        if self._window.head == self._first_offset and bad.kind == "unpicklable":
            self._end(first_job_unsendable(bad))
        else:
            self._perform(self._dispatcher.admit_bad(bad, cursor))

    def _perform(self, effects: Iterable[Effect]) -> None:
        self._state.handed_out(self._dispatcher.handed_out_to)
        for effect in effects:
            match effect:
                case Send(route, frames):
                    self._listener.send(route, frames)
                case Abandon(jobs):
                    self._abandon(jobs)
                case Log(level, text, values):
                    log.log(logging.getLevelName(level.upper()), text, *values)

    def _abandon(self, jobs: Sequence[AbandonedJob]) -> None:
        self._state.abandon(jobs)
        for job in jobs:
            self._budget.observe(job.error, job.message)
            self._observers.happened(JobAbandoned(job))

    def _watch_links(self, now: float) -> None:
        if now < self._links_due:
            return
        self._links_due = now + defaults.TRANSFER_SECONDS
        for peer in self._dispatcher.quiet_peers(now):
            transfer = self._listener.transfer(peer)
            if transfer is not None:
                self._dispatcher.carried(peer, transfer, now)

    def _watch_crew(self, now: float) -> None:
        if self._crew is None or now < self._crew_due:
            return
        self._crew_due = now + defaults.CREW_SECONDS
        for dead in self._crew.watch(now):
            self._perform(self._dispatcher.died(self._host, dead.pid, dead.status, dead.blame, now))
        self._crew_verdict = self._crew.verdict()

    def _save_due(self) -> float | None:
        """No checkpoint follows the last one, which says how the run ended."""
        return self._state.next_due(self._window) if self._save_by is None else None

    def _save(self, now: float) -> None:
        if self._save_by is None and self._state.due(self._window, now):
            self._offer(now)
        if self.ending is None:
            self._dispatcher.hold(self._state.behind(now))

    def _offer(self, now: float, finished: bool = False, stopped: bool = False) -> None:
        self._state.offer(self._window, self._report.counters, now, finished, stopped, self._results)

    def _show(self, now: float) -> None:
        if now >= self._show_due:
            self._show_due = now + defaults.SHOW_SECONDS
            self._report.observe(now)
            self._observers.saw(self.stats())

    # -- the end: decided, then drained if wanted; then the slaves are told, and the master waits for their goodbyes

    def _mind_the_end(self, now: float) -> None:
        if self.ending is None:
            ending = ending_for(self._facts(), self._budget)
            if ending is not None:
                self._end(ending)
        if self.ending is not None:
            self._wind_down(self.ending, now)
        self.aborted = self._interrupts.stopping or now >= self._drain_by

    def _wind_down(self, ending: Ending, now: float) -> None:
        """Save, then dismiss the slaves: if this master dies in between, the next one still has them."""
        idle = self._dispatcher.leased == 0 and (self._dispatcher.drained or not ending.drains)
        if idle and self._save_by is None:
            self._offer(now, ending.finished, ending.tries_again)
            self._save_by = now + defaults.CLOSE_SECONDS
            self._drain_by = inf
        if self._save_by is None or self._stop_by is not None:
            return
        if self._state.saved:
            self._dismiss(ending, now)
        elif now >= self._save_by:
            self._stop_by = now  # what is not on disk is not done: the slaves wait for the next master

    def _dismiss(self, ending: Ending, now: float) -> None:
        """An interrupted run is to be resumed, so slaves of other processes wait for its next master."""
        self._stop_by = now if ending.keeps_slaves and self._crew is None else now + defaults.STOP_SECONDS
        if not self._stopping and self._stop_by > now:
            self._stop(ending)
        if self._crew is not None and self._window.backups.made:
            self._crew.signal(signal.SIGTERM)  # wakes those that still run in vain what another slave has settled

    def _facts(self) -> Facts:
        counts = self._dispatcher.counts
        return Facts(self._interrupts.draining, self._source_end, self._dispatcher.settled, counts.handled,
                     counts.failed, self._report.failed_before, self._crew_verdict, self._state.lost)

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        self._feeder.stop()
        if ending.drains:
            self._observers.happened(DrainStarted())
            self._dispatcher.drain()
            self._drain_by = self._clock() + self._grace
        elif self._dispatcher.leased:
            self._stop(ending)  # now, because they have to finish what they hold
        else:
            self._dispatcher.hold(True)

    def _stop(self, ending: Ending) -> None:
        self._stopping = True
        self._perform(self._dispatcher.stop(ending.reason))

    def _over(self, now: float) -> bool:
        if self.aborted:
            if self._save_by is None:  # else the last checkpoint is offered already, perhaps as that of a finished run
                again = self.ending is not None and self.ending.tries_again
                self._offer(now, stopped=again)
            return True
        return self._stop_by is not None and (self._dispatcher.slaves == 0 or now >= self._stop_by)
