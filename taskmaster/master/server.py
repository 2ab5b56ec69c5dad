"""The master's loop: receives, lets the dispatcher decide, sends; feeds the window, keeps the state, ends the run."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from taskmaster import defaults
from taskmaster.console.progress import Progress
from taskmaster.console.text import span_text
from taskmaster.core.budget import FailureBudget
from taskmaster.core.chunks import State
from taskmaster.core.codec import BadJob
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Abandon, Effect, Log, Send
from taskmaster.core.pace import Meter
from taskmaster.core.stats import RUNNING, Stats
from taskmaster.core.window import AbandonedJob
from taskmaster.errors import (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_SOURCE_FAILED,
                               EXIT_TOO_MANY_FAILURES, TaskmasterError)
from taskmaster.job import NO_CURSOR
from taskmaster.master.feeder import Exhausted, Feeder, Pulled, Raised
from taskmaster.master.state.run_state import RunState
from taskmaster.transport.base import MasterSocket
from taskmaster.transport.waker import Waker

log = logging.getLogger(__name__)

SHOW_SECONDS = 0.2
FAILURES_TOLD = 5  # each by a line: enough to see what is wrong
MESSAGES_AT_ONCE = 100  # 6 ms, before the source, the clock and the state have their turn
CREW_SECONDS = 0.02  # between looks at the slave processes: one at each turn was a tenth of this loop's time
EFFECTS_AT_ONCE = 64  # 2 ms: moves the mark of what was handed out once, wakes ZeroMQ's thread once


class Dead(Protocol):
    """A slave process that ended."""

    @property
    def pid(self) -> int: ...

    @property
    def status(self) -> str: ...


class Crew(Protocol):
    """The slaves that this process keeps itself, if it does."""

    def watch(self, now: float) -> Sequence[Dead]: ...

    def verdict(self) -> int | None: ...


@dataclass(frozen=True)
class Ending:
    """How a run ends: the exit code, what the slaves are told, what the user is told."""

    code: int
    reason: str
    error: BaseException | None = None
    finished: bool = False


class Server:
    """Serves slaves until the source is exhausted and everything is settled, or something ends the run before."""

    def __init__(self, listener: MasterSocket, dispatcher: Dispatcher, feeder: Feeder, keeper: RunState, waker: Waker,
                 progress: Progress, budget: FailureBudget, clock: Callable[[], float], *, first_offset: int,
                 total: int | None = None, crew: Crew | None = None) -> None:
        self.ending: Ending | None = None
        self.aborted = False
        self._listener = listener
        self._dispatcher = dispatcher
        self._window = dispatcher.window
        self._feeder = feeder
        self._keeper = keeper
        self._waker = waker
        self._progress = progress
        self._budget = budget
        self._clock = clock
        self._first_offset = first_offset
        self._start = self._window.watermark
        self._total = total
        self._crew = crew
        self._crew_at = 0.0  # when it is looked at next
        self._host = socket.gethostname()
        self._began = clock()
        self._source_end: Ending | None = None
        self._interrupts = 0
        self._told = 0  # failures that were logged
        self._stopping = False  # the slaves are told to stop
        self._stop_by: float | None = None  # with everything at hand settled, how long they get to hear of it
        self._show_at = 0.0
        self._meter = Meter()

    def interrupt(self) -> None:
        """Once: drain and stop. Twice: stop now. May be called from a signal handler."""
        self._interrupts += 1
        self._waker.wake()

    def run(self) -> Ending:
        """Serve; returns how it ended."""
        self._listener.register(self._waker)
        while not self._over(self._clock()):
            self._listener.wait(self._due() - self._clock())
            self._waker.clear()
            now = self._clock()
            self._hear(now)
            self._admit(now)
            self._perform(self._dispatcher.tick(now))
            self._watch_crew(now)
            self._keep(now)
            self._decide(now)
            self._show(now)
        assert self.ending is not None
        return self.ending

    # -- one turn

    def _due(self) -> float:
        now = self._clock()
        times = [self._dispatcher.next_due(now), self._feeder.late_after, self._keeper.next_due(self._window),
                 self._crew_at if self._crew is not None else now + SHOW_SECONDS]
        return min(due for due in times if due is not None)

    def _hear(self, now: float) -> None:
        for peer, near in self._listener.dropped():
            grace = defaults.RECONNECT_GRACE_SECONDS_LOCAL if near else defaults.RECONNECT_GRACE_SECONDS_REMOTE
            self._dispatcher.disconnected(peer, now, grace)
        effects: list[Effect] = []
        for _ in range(MESSAGES_AT_ONCE):
            message = self._listener.receive()
            if message is None:
                break
            effects += self._dispatcher.receive(*message, now)
            if len(effects) >= EFFECTS_AT_ONCE:
                self._perform(effects)
                effects = []
        self._perform(effects)

    def _admit(self, now: float) -> None:
        self._feeder.overdue(now)
        while (fed := self._feeder.take()) is not None:
            match fed:
                case Pulled():
                    self._admit_pulled(fed, now)
                case Exhausted(limited):
                    self._source_end = Ending(EXIT_DONE, "all jobs are done", finished=not limited)
                case Raised(error):
                    self._source_end = _failed_source(error)
        self._feeder.allow(self._window.head + self._window.room(now))

    def _admit_pulled(self, pulled: Pulled, now: float) -> None:
        at = 0
        for piece in pulled.pieces:
            if isinstance(piece, BadJob):
                self._admit_bad(piece, pulled.cursors[at] if pulled.cursors else NO_CURSOR)
                at += 1
            else:
                cursors = pulled.cursors[at:at + piece.batch.count] if pulled.cursors else None
                at += piece.batch.count
                self._perform(self._dispatcher.admit(piece.batch, cursors, now))

    def _admit_bad(self, bad: BadJob, cursor: Any) -> None:
        if self._window.head == self._first_offset and bad.kind == "unpicklable":
            self._end(Ending(EXIT_ERROR, "its first job cannot be sent", TaskmasterError(
                f"The very first job {bad.message} ({bad.error}). Yield what can be, such as an id or a path, "
                "and let the handler make the rest of it.")))
            return
        self._perform(self._dispatcher.admit_bad(bad, cursor))

    def _perform(self, effects: Iterable[Effect]) -> None:
        self._keeper.handed_out(self._dispatcher.handed_out_to)
        for effect in effects:
            match effect:
                case Send(route, frames):
                    self._listener.send(route, frames)
                case Abandon(jobs):
                    self._bury(jobs)
                case Log(level, text, values):
                    log.log(logging.getLevelName(level.upper()), text, *values)

    def _bury(self, jobs: Sequence[AbandonedJob]) -> None:
        self._keeper.bury(jobs)
        for job in jobs:
            self._budget.observe(job.error, job.message)
            self._told += 1
            if self._told <= FAILURES_TOLD:
                more = "" if self._told < FAILURES_TOLD else "; further ones are told of there alone"
                log.warning("Job %d is given up after %d attempts (%s: %.200s), and kept in the failures file%s",
                            job.offset, job.attempts, job.error, job.message, more)

    def _watch_crew(self, now: float) -> None:
        if self._crew is None or now < self._crew_at:
            return
        self._crew_at = now + CREW_SECONDS
        for dead in self._crew.watch(now):
            self._perform(self._dispatcher.died(self._host, dead.pid, dead.status, now))
        verdict = self._crew.verdict()
        if verdict is not None and self.ending is None and not (self._source_end and self._dispatcher.settled):
            code = verdict or EXIT_ERROR
            error = TaskmasterError("All slaves have ended; what they said is above. The run can be resumed.")
            self._end(Ending(code, "all slaves have ended", error))

    def _keep(self, now: float) -> None:
        if self._keeper.due(self._window, now):
            self._keeper.offer(self._window, self.counters, now)
        if self.ending is None:
            self._dispatcher.hold(self._keeper.behind(now))

    # -- the end

    def _decide(self, now: float) -> None:
        if self.ending is None:
            self._look_for_an_end()
        if self.ending is not None and not self._stopping and self._dispatcher.drained:
            self._end(self.ending)
        if self.ending is not None and self._stopping and self._stop_by is None and self._dispatcher.leased == 0:
            self._keeper.offer(self._window, self.counters, now, self.ending.finished)
            self._stop_by = now + defaults.STOP_SECONDS
        self.aborted = self._interrupts > 1

    def _look_for_an_end(self) -> None:
        counts, source = self._dispatcher.counts, self._source_end
        if self._interrupts:
            log.info("Letting the slaves finish what they are running; once more stops now")
            self.ending = Ending(EXIT_INTERRUPTED, "the master was interrupted")
            self._dispatcher.drain()
        elif self._budget.spent(counts.failed, counts.failed + counts.handled):
            self._end(Ending(EXIT_TOO_MANY_FAILURES, "too many jobs failed"))
        elif source is not None and self._dispatcher.settled:
            failed = counts.failed and source.code == EXIT_DONE
            code = EXIT_DONE_WITH_FAILURES if failed else source.code
            self._end(replace(source, code=code))

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        self._stopping = True
        self._perform(self._dispatcher.stop(ending.reason))

    def _over(self, now: float) -> bool:
        if self.aborted:
            if self._stop_by is None:  # else the last word is said, and maybe that the run is finished
                self._keeper.offer(self._window, self.counters, now)
            return True
        return self._stop_by is not None and (self._dispatcher.slaves == 0 or now >= self._stop_by)

    # -- what it says

    @property
    def counters(self) -> dict[str, int]:
        """For the checkpoint: over all runs."""
        return {"failed": self._keeper.failed_before + self._dispatcher.counts.failed}

    @property
    def commonest_errors(self) -> list[str]:
        return self._budget.commonest()

    def stats(self) -> Stats:
        """The run as it is now."""
        now, counts, window = self._clock(), self._dispatcher.counts, self._window
        settled = self._settled
        finished = self.ending is not None and self.ending.finished
        return Stats(
            run_settled=counts.handled + counts.failed, settled=settled, handled=counts.handled, failed=counts.failed,
            retried=counts.retried, duplicates=counts.duplicates, in_flight=window.in_flight,
            replayed=max(0, min(window.watermark, self._keeper.handed_out_before) - self._start),
            slaves=self._dispatcher.slaves, rate=self._meter.rate(now, settled), elapsed=now - self._began,
            total=self._known_total(), offset=window.watermark, first_offset=self._start,
            straggler=self._straggler(now), state=self._state(), finished=finished)

    @property
    def _settled(self) -> int:
        """Jobs of all runs on this state."""
        return self._window.head - self._window.in_flight - self._first_offset

    def _known_total(self) -> int | None:
        if self._total is not None or self._feeder.length is None:
            return self._total
        return self._start - self._first_offset + self._feeder.length

    def _straggler(self, now: float) -> str | None:
        chunk = self._window.oldest()
        if chunk is None or chunk.state is not State.LEASED or now - chunk.since < defaults.STRAGGLER_SECONDS:
            return None
        age = span_text(now - chunk.since)
        return f"offset {self._window.watermark} for {age} on {self._dispatcher.name_of(chunk.holder)}"

    def _state(self) -> str:
        if self._keeper.trouble is not None:
            return f"state not writable: {self._keeper.trouble}"
        if self.ending is not None:
            return "finished" if self.ending.finished else "stopped" if self._stop_by is not None else "draining"
        return RUNNING if self._dispatcher.slaves else "waiting for slaves"

    def _show(self, now: float) -> None:
        if now < self._show_at:
            return
        self._show_at = now + SHOW_SECONDS
        self._meter.observe(now, self._settled)
        self._progress.draw(self.stats())


def _failed_source(error: BaseException) -> Ending:
    code = error.exit_code if isinstance(error, TaskmasterError) else EXIT_SOURCE_FAILED
    return Ending(code, "the source failed", error)
