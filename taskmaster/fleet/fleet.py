"""Keeps a number of slaves alive: starts them, replaces them, and leaves none behind.

It works through the protocols of `base` alone, so it does not know where slaves run or what they do. Its owner calls
`watch` from its own loop with the time (`time.monotonic()`); only `start` and `stop` read that clock themselves.
"""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final

from taskmaster import defaults, errors
from taskmaster.fleet.base import DONE, ERROR, OVER, READY, Exit, Launcher, Process
from taskmaster.fleet.exits import HOPELESS, final_code, fleet_code, not_started
from taskmaster.fleet.restarts import RestartPolicy
from taskmaster.fleet.stacks import handler_stacks
from taskmaster.fleet.watchdog import Verdict, Watchdog, silence_limit

#: After these the fleet only winds down; by name, since Windows does not have all of them.
_QUITTING: Final = frozenset({"SIGTERM", "SIGINT", "SIGKILL"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Death:
    """A slave that ended, or that could not be started, in which case it has no name.

    `restarting` tells whether another slave will take its place.
    """

    name: str
    exit: Exit
    restarting: bool

    @property
    def pid(self) -> int:
        """The process id in its name; 0 without a name."""
        return int(self.name.rpartition(":")[2] or 0)

    @property
    def status(self) -> str:
        """How it ended, for a person."""
        return self.exit.words

    @property
    def blame(self) -> bool:
        """Whether a job that it ran may be the cause."""
        return self.exit.blame


class _Slot:
    """A place in the fleet: it has a slave, a time at which one is due, or the exit code with which it closed."""

    def __init__(self, number: int, silence_seconds: float) -> None:
        self.number = number
        self.policy = RestartPolicy(number)
        self.watchdog = Watchdog(silence_seconds)
        self.process: Process | None = None
        self._silence_seconds = silence_seconds
        self.due: float | None = None
        self.final: int | None = None

    def occupy(self, process: Process) -> None:
        """A slave was started here."""
        self.process, self.watchdog = process, Watchdog(self._silence_seconds)

    def close(self, code: int) -> None:
        """Start no more slaves here."""
        self.due, self.final = None, code

    def lost(self, last: Exit, due: float | None) -> None:
        """The slave ended with this exit; the next one is due at `due`, or never if None."""
        self.process, self.due = None, due
        if due is None:
            self.close(errors.EXIT_ERROR if self.policy.crash_loop else final_code(last))


class Fleet:
    """Keeps `size` slaves of the launcher alive until each has ended for good.

    With `scout`, slot 0 starts alone, and the others follow once its slave is ready or has crashed: an error that every
    slave would hit then occurs, and is shown, only once. A slave that is silent for `silence_seconds` is killed.

    Call all methods from one thread. Use it in a `with` statement, which no slave outlives.
    """

    def __init__(self, launcher: Launcher, size: int, *, scout: bool = False,
                 silence_seconds: float = silence_limit(None)) -> None:
        if size < 1:
            launcher.close()
            raise errors.UsageError(f"A fleet needs at least 1 slave, not {size}.")
        self._launcher = launcher
        self._slots = [_Slot(number, silence_seconds) for number in range(size)]
        self._scouting = scout
        self._quitting = False
        self._kill_at: float | None = None
        self._end_at: float | None = None  # when the slaves that were not dismissed are asked to end
        self._shown: set[str] = set()  # errors with which slaves ended

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(0.0)

    @property
    def alive(self) -> int:
        """How many slaves were alive at the last `watch`."""
        return len(self._processes())

    def verdict(self) -> int | None:
        """The exit code of the whole fleet; None while a slave runs or is due.

        0 if every slot closed with 0; else the code that ended it: 2, 77 or 78, then 1 for a crash loop, then 69, then
        75 if slaves were asked to end before the master dismissed any.
        """
        known = [slot.final for slot in self._slots if slot.final is not None]
        if len(known) < len(self._slots):
            return None
        code = fleet_code(known)
        # Once the master has dismissed one slave, those that were asked to end had nothing left to do either.
        return errors.EXIT_DONE if code == errors.EXIT_INTERRUPTED and self._end_at is not None else code

    def start(self, now: float | None = None) -> None:
        """Start the slaves, or the scout. One that cannot be started is retried, like one that crashed."""
        moment = time.monotonic() if now is None else now
        for slot in self._slots[:1] if self._scouting else self._slots:
            slot.due = moment
        self._start_due(moment)

    def watch(self, now: float) -> list[Death]:
        """Notice the slaves that ended and start those that are due. Does not wait: call it every 20 ms."""
        deaths = [death for slot in self._slots if (death := self._check(slot, now)) is not None]
        self._hear_scout(now)
        deaths += self._start_due(now)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill()
        if self._end_at is not None and now >= self._end_at and not self._quitting:
            self.signal(signal.SIGTERM)
        return deaths

    def signal(self, signum: int) -> None:
        """Send a signal to every slave. After SIGTERM, SIGINT or SIGKILL no more slaves are started."""
        if signal.Signals(signum).name in _QUITTING:
            self._quit()
        for process in self._processes():
            process.signal(signum)

    def stop(self, grace_seconds: float) -> list[Death]:
        """SIGTERM, wait up to the grace, SIGKILL: afterwards no slave is left. May be called again.

        It blocks. An owner that has to serve the slaves while they drain calls `signal(SIGTERM)`, continues to call
        `watch` until no slave is `alive` or its patience ends, and then calls `stop(0)`.
        """
        self.signal(signal.SIGTERM)
        deaths = self._watch_until(time.monotonic() + grace_seconds)
        if grace_seconds:
            self._warn_of_late_ones(grace_seconds)
        self._kill()
        deaths += self._watch_until(time.monotonic() + defaults.REAP_SECONDS)
        self._launcher.close()
        if self.alive:
            _log.warning("%d slaves are still running %g s after being killed; leaving them", self.alive,
                         defaults.REAP_SECONDS)
        return deaths

    def _warn_of_late_ones(self, seconds: float) -> None:
        for process in self._processes():
            _log.warning("Slave %s has not ended within %g s and is killed: what it still does at exit, such as atexit "
                         "functions of its handler, is cut off", process.name, seconds)

    def _processes(self) -> list[Process]:
        return [slot.process for slot in self._slots if slot.process is not None]

    def _watch_until(self, deadline: float) -> list[Death]:
        deaths = []
        while True:
            now = time.monotonic()
            deaths += self.watch(now)
            if not self.alive or now >= deadline:
                return deaths
            time.sleep(defaults.FLEET_STOP_WATCH_SECONDS)

    def _quit(self) -> None:
        """Start no more slaves; a slot without one is closed."""
        self._quitting = True
        for slot in self._slots:
            if slot.process is None and slot.final is None:
                slot.close(errors.EXIT_INTERRUPTED)

    def _kill(self) -> None:
        self._quit()
        for process in self._processes():
            process.kill()

    def _check(self, slot: _Slot, now: float) -> Death | None:
        process = slot.process
        last = process.poll() if process is not None else None
        if process is None:
            return None
        if last is None:
            self._watch_over(slot, process, now)
            return None
        if slot.watchdog.killed:
            last = _hung(process, last, slot.watchdog.silence)
        heard = process.heard()
        self._show_errors(heard)
        if OVER in heard and self._end_at is None:
            self._end_at = now + defaults.OVER_SECONDS
        return self._ended(slot, process.name, last, now)

    def _watch_over(self, slot: _Slot, process: Process, now: float) -> None:
        """Kill a slave that has been silent for too long, unless it is about to exit."""
        verdict = slot.watchdog.look(process.beats(), now)
        if verdict is Verdict.FINE or DONE in process.heard():
            return
        if verdict is Verdict.ASK:
            process.ask_for_stack()
        else:
            process.kill()

    def _show_errors(self, heard: frozenset[str]) -> None:
        said = {line.removeprefix(f"{ERROR} ") for line in heard if line.startswith(f"{ERROR} ")}
        for sentence in sorted(said - self._shown):
            _log.error("%s", sentence.replace("\v", "\n"))
        self._shown |= said

    def _ended(self, slot: _Slot, name: str, last: Exit, now: float) -> Death:
        """Decide what follows: another slave, a closed slot, or the end of the whole fleet."""
        ready = slot.process is not None and READY in slot.process.heard()
        slot.lost(last, None if self._quitting else slot.policy.ended(last, now, ready))
        if last.code in HOPELESS and not self._quitting:
            self._kill_at = now + defaults.HOPELESS_GRACE_SECONDS
            self.signal(signal.SIGTERM)
        elif slot.number == 0 and self._scouting:
            self._end_scouting(now if last.restart else None)
        _log_death(slot, name, last, now)
        return Death(name, last, restarting=slot.due is not None)

    def _hear_scout(self, now: float) -> None:
        """Let the other slaves start once the scout is ready."""
        scout = self._slots[0].process
        if self._scouting and scout is not None and READY in scout.heard():
            self._end_scouting(now)

    def _end_scouting(self, due: float | None) -> None:
        """The others start at `due`; None if they never do, because the scout found nothing to do."""
        self._scouting = False
        for slot in self._slots[1:]:
            if due is None or self._quitting:
                slot.close(errors.EXIT_DONE)
            else:
                slot.due = due

    def _start_due(self, now: float) -> list[Death]:
        due = [slot for slot in self._slots if slot.due is not None and now >= slot.due]
        return [death for slot in due if (death := self._start(slot, now)) is not None]

    def _start(self, slot: _Slot, now: float) -> Death | None:
        slot.due = None
        slot.policy.started(now)
        try:
            slot.occupy(self._launcher.launch(slot.number))
        except OSError as error:
            return self._ended(slot, "", not_started(error), now)
        _log.debug("Slave %d started (%s)", slot.number, slot.process.name if slot.process is not None else "")
        return None


def _hung(process: Process, last: Exit, silence: float) -> Exit:
    """The exit of a slave that the watchdog had killed. One that was only stopped did not write its stack."""
    dump = process.stack()
    why = "a job held the interpreter" if dump else "the process was stopped"
    return replace(last, words=f"killed after {silence:.1f} s of silence: {why}", blame=bool(dump), restart=True,
                   hung=True, stack=handler_stacks(dump))


def _log_death(slot: _Slot, name: str, last: Exit, now: float) -> None:
    """One line for each death: a warning if it is a crash."""
    what = (slot.number, f" ({name})" if name else "", last.words)
    if last.hung:
        _log.warning("Slave %d%s: %s%s", *what, f". Its stack:\n{last.stack}" if last.stack else "")
    elif slot.due is not None and slot.due > now:
        _log.warning("Slave %d%s: %s; starting another in %.1f s", *what, slot.due - now)
    elif slot.due is not None:
        _log.info("Slave %d%s: %s; starting another", *what)
    elif slot.policy.crash_loop:
        _log.warning("Slave %d%s: %s; not replaced after %d crashes in a row", *what, slot.policy.young)
    else:
        _log.debug("Slave %d%s: %s", *what)
