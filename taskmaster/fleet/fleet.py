"""N slave processes kept alive: fresh interpreters, restarted, given up, stopped, never left behind.

It knows exit codes and when to start what. It must not know what a slave does. The owner calls `watch` from
its own loop with the time (`time.monotonic()`); only `start` and `stop` read that clock themselves.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from taskmaster import errors
from taskmaster.fleet.local import Capture, Child, Launcher
from taskmaster.fleet.restarts import HOPELESS, LASTING, RestartPolicy

#: What the others get to finish their jobs when one slave met an error that each of them would meet.
HOPELESS_GRACE_SECONDS: Final = 10.0

#: When the master told one slave to stop, how long the others have to hear it, too. One that came up just after the
#: master had gone waited two minutes for it, and the fleet then ended as if there had never been one.
OVER_SECONDS: Final = 5.0

_WATCH_SECONDS: Final = 0.02
# A killed process can linger in the kernel (a dead network disk); exit must not wait for it for ever.
_REAP_SECONDS: Final = 5.0
_QUITTING: Final = frozenset({"SIGTERM", "SIGINT", "SIGKILL"})  # by name: Windows has not all of them

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Death:
    """A slave that ended: `code` as `subprocess` has it (minus the signal's number), `status` for a reader.

    `pid` is 0 where not even the start succeeded. `restarting` says that another will take its place.
    """

    pid: int
    status: str
    code: int
    restarting: bool


class _Slot:
    """One place in the fleet: a running slave, or the time of the next, or the code it was left with."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.policy = RestartPolicy(number)
        self.child: Child | None = None
        self.due: float | None = None
        self.final: int | None = None

    def close(self, code: int) -> None:
        """No slave is started here any more."""
        self.due, self.final = None, code


class Fleet:
    """Keeps `size` processes of `argv` alive until each ended for good.

    With `scout`, slot 0 starts alone and the others follow when it called `say_ready`, or crashed; so an
    error that each would meet is met, and printed, once. `environment` is added to this process's own. With
    `capture`, every line the slaves print on stdout and stderr is given to it, from other threads; with
    `keep_stdout` only stderr, and stdout stays ours (a file, say, that must get exactly what was printed).

    All methods belong to the thread that made the fleet: Linux kills a child when the thread that started it
    ends, so make the fleet in the main thread. POSIX only. Leave it by `with`: nothing survives that.
    """

    def __init__(
        self,
        argv: Sequence[str],
        size: int,
        *,
        scout: bool = False,
        environment: Mapping[str, str] | None = None,
        capture: Capture | None = None,
        keep_stdout: bool = False,
    ) -> None:
        _need_unix()
        if size < 1:
            raise errors.UsageError(f"A fleet needs at least 1 slave, not {size}.")
        self._slots = [_Slot(number) for number in range(size)]
        self._scouting = scout
        self._launcher = Launcher(argv, environment or {}, capture, keep_stdout)
        self._owner = threading.current_thread()
        self._quitting = False
        self._kill_at: float | None = None
        self._errors: set[str] = set()  # that slaves ended with, each shown once
        self._end_at: float | None = None  # when those that have not heard that it is over are told to end

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(0.0)

    @property
    def alive(self) -> int:
        """How many slaves run, as of the last `watch`."""
        return len(self._children())

    def verdict(self) -> int | None:
        """None while work can go on; else the exit code of the whole: 0 when every slave ended with 0.

        Otherwise the code that stopped it: 2, 77 or 78, then 1 for a crash loop, then 69.
        """
        known = [slot.final for slot in self._slots if slot.final is not None]
        return max(known, key=_gravity) if len(known) == len(self._slots) else None

    def start(self, now: float | None = None) -> None:
        """Start the slaves, or the scout. One that cannot start is tried again, like one that crashed."""
        moment = time.monotonic() if now is None else now
        for slot in self._slots[:1] if self._scouting else self._slots:
            slot.due = moment
        self._start_due(moment)

    def watch(self, now: float) -> list[Death]:
        """Reap what ended and start what is due, without waiting; cheap enough for every 20 ms."""
        deaths = [death for slot in self._slots if (death := self._reap(slot, now)) is not None]
        self._hear_scout(now)
        deaths += self._start_due(now)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill()
        if self._end_at is not None and now >= self._end_at and not self._quitting:
            self.signal(signal.SIGTERM)
        return deaths

    def next_due(self, now: float) -> float | None:
        """Seconds until `watch` has to start or end a slave; None when only a death can give it work."""
        moments = [slot.due for slot in self._slots if slot.due is not None]
        if self._end_at is not None and self.alive and not self._quitting:
            moments.append(self._end_at)
        if self._kill_at is not None and self.alive:
            moments.append(self._kill_at)
        return max(0.0, min(moments) - now) if moments else None

    def signal(self, signum: int) -> None:
        """Send a signal to every slave, once. After SIGTERM, SIGINT or SIGKILL nothing more is started."""
        if signal.Signals(signum).name in _QUITTING:
            self._quit()
        for child in self._children():
            child.signal(signum)

    def stop(self, grace_seconds: float) -> list[Death]:
        """SIGTERM, wait up to the grace, SIGKILL, reap: afterwards no slave is left. May be called again.

        It blocks. An owner that has to serve the slaves while they drain sends `signal(SIGTERM)`, goes on
        with `watch` until none is `alive` or its patience is over, and then calls `stop(0)`.
        """
        self.signal(signal.SIGTERM)
        deaths = self._watch_until(time.monotonic() + grace_seconds)
        self._kill()
        deaths += self._watch_until(time.monotonic() + _REAP_SECONDS)
        self._launcher.close()
        if self.alive:
            _log.warning("%d slaves, killed %g s ago, still run; leaving them", self.alive, _REAP_SECONDS)
        return deaths

    def _children(self) -> list[Child]:
        return [slot.child for slot in self._slots if slot.child is not None]

    def _watch_until(self, deadline: float) -> list[Death]:
        deaths = []
        while True:
            now = time.monotonic()
            deaths += self.watch(now)
            if not self.alive or now >= deadline:
                return deaths
            time.sleep(_WATCH_SECONDS)

    def _quit(self) -> None:
        """Start nothing more; a slot without a slave is done."""
        self._quitting = True
        for slot in self._slots:
            if slot.child is None and slot.final is None:
                slot.close(errors.EXIT_DONE)

    def _kill(self) -> None:
        self._quit()
        for child in self._children():
            child.kill()

    def _reap(self, slot: _Slot, now: float) -> Death | None:
        child = slot.child
        code = child.poll() if child is not None else None
        if child is None or code is None:
            return None
        if self._quitting or code in LASTING:
            child.await_last_words()
        status = _status(code)
        if code == errors.EXIT_DONE and child.vanished():
            code = errors.EXIT_ERROR  # os._exit(0) in a handler looks like a good end, and is a crash
        if child.said_over() and self._end_at is None:
            self._end_at = now + OVER_SECONDS
        self._show_error(child.error())
        child.close()
        slot.child = None
        return self._bury(slot, child.pid, code, status, now)

    def _show_error(self, error: str | None) -> None:
        if error is not None and error not in self._errors:
            self._errors.add(error)
            _log.error("%s", error)

    def _bury(self, slot: _Slot, pid: int, code: int, status: str, now: float) -> Death:
        """Decide what follows an end: another slave, or a closed slot, or the end of all."""
        slot.due = None if self._quitting else slot.policy.ended(code, now)
        if slot.due is None:
            slot.close(_final_code(slot, code))
        if code in HOPELESS and not self._quitting:
            self._kill_at = now + HOPELESS_GRACE_SECONDS
            self.signal(signal.SIGTERM)
        elif slot.number == 0 and self._scouting:
            self._end_scouting(None if code in LASTING else now)
        _log_death(slot, pid, status, now)
        return Death(pid, status, code, restarting=slot.due is not None)

    def _hear_scout(self, now: float) -> None:
        """Let the others start when the scout said that it is ready."""
        scout = self._slots[0].child
        if self._scouting and scout is not None and scout.said_ready():
            self._end_scouting(now)

    def _end_scouting(self, due: float | None) -> None:
        """The others start at `due`; never, when it is None: the scout found that there is nothing to do."""
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
        if threading.current_thread() is not self._owner:
            raise RuntimeError("A fleet belongs to its thread: Linux kills a child when its maker ends.")
        slot.due = None
        slot.policy.started(now)
        try:
            slot.child = self._launcher.launch()
        except OSError as error:  # no process, memory or descriptor to be had: there may be one in a while
            return self._bury(slot, 0, errors.EXIT_ERROR, f"not started: {error}", now)
        _log.debug("Slave %d started with pid %d", slot.number, slot.child.pid)
        return None


def _need_unix() -> None:
    if sys.platform == "win32":
        raise errors.UsageError("tm-run and tm-spawn need Linux, macOS or another Unix. Start slaves by tm-slave.")


def _gravity(code: int) -> tuple[bool, bool, int]:
    """Orders exit codes by how much they say about the whole fleet: 78, 77, 2, then 1, then 69, then 0."""
    return code in HOPELESS, code not in LASTING, code


def _final_code(slot: _Slot, code: int) -> int:
    """What a slot leaves behind, `code` being the end after which nothing was started in it."""
    if slot.policy.given_up:
        return errors.EXIT_ERROR
    if code < 0 or code == errors.EXIT_INTERRUPTED:
        return errors.EXIT_DONE  # only when quitting: it ended because it was asked to
    return code


def _status(code: int) -> str:
    """An end in words: "killed by SIGSEGV", "exit 78"."""
    if code >= 0:
        return f"exit {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:  # most real-time signals have no name
        return f"killed by signal {-code}"


def _log_death(slot: _Slot, pid: int, status: str, now: float) -> None:
    """One line per end; a warning where it is a crash."""
    if slot.due is not None and slot.due > now:
        delay = slot.due - now
        _log.warning("Slave %d (pid %d): %s; starting another in %.1f s", slot.number, pid, status, delay)
    elif slot.due is not None:
        _log.info("Slave %d (pid %d): %s; starting a fresh one", slot.number, pid, status)
    elif slot.policy.given_up:
        _log.warning("Slave %d (pid %d): %s; giving it up after crash on crash", slot.number, pid, status)
    else:
        _log.debug("Slave %d (pid %d): %s", slot.number, pid, status)
