"""Fleets of tiny scripts that sleep, crash, print and lose their parent."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.waiting import awaited, wait_until

from taskmaster.fleet.fleet import Death, Fleet
from taskmaster.fleet.local import LocalLauncher

PATIENCE_SECONDS = 20.0

SLEEP = "import time; time.sleep(60)"
GUARD = "from taskmaster.slave import lifeline; lifeline.guard()\n"
READY = GUARD + "lifeline.say_ready()\n"


class Watched:
    """A fleet whose owner's loop is one call, with a clock that may run faster than the real one."""

    def __init__(self, fleet: Fleet, speed: float) -> None:
        self.fleet = fleet
        self.deaths: list[Death] = []
        self._speed = speed
        fleet.start(self.now())

    def now(self) -> float:
        return time.monotonic() * self._speed

    def until(self, condition: Callable[[], Any]) -> None:
        def look(_: float) -> None:
            self.deaths += self.fleet.watch(self.now())
            time.sleep(0.01)

        assert awaited(condition, look, PATIENCE_SECONDS), f"deaths: {self.deaths}"

    def until_over(self) -> int | None:
        self.until(lambda: self.fleet.verdict() is not None)
        return self.fleet.verdict()


@contextlib.contextmanager
def fleet_of(script: str, size: int = 1, *, speed: float = 1.0, scout: bool = False,
             **options: Any) -> Iterator[Watched]:
    with Fleet(LocalLauncher([sys.executable, "-c", script], **options), size, scout=scout) as fleet:
        yield Watched(fleet, speed)


def noting(folder: Path, then: str) -> str:
    """A script that leaves a file named by its pid in `folder`, then goes on with `then`."""
    note = f"open(os.path.join({str(folder)!r}, str(os.getpid())), 'w').close()"
    return f"import os, sys, time, signal\n{note}\n{then}"


def noted(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir())


def runs(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped by somebody does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def await_end(pids: list[int]) -> None:
    assert wait_until(lambda: not any(map(runs, pids)), PATIENCE_SECONDS), "still running"
