"""The watchdog outside the interpreter, and what becomes of programs that handlers started: on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from support.waiting import awaited, wait_until

from taskmaster.fleet.fleet import Death, Fleet
from taskmaster.fleet.local import LocalLauncher

PATIENCE_SECONDS = 30.0
SILENCE_SECONDS = 1.0

BEATING = """
import os, subprocess, sys, threading, time
from taskmaster.slave import lifeline
lifeline.guard()
lifeline.say_ready()
def beat():
    while True:
        lifeline.say_beat()
        time.sleep(0.05)
threading.Thread(target=beat, daemon=True).start()
time.sleep(0.2)
"""
HOLD_THE_LOCK = """
import re
def stuck(): re.match(r"(a+)+$", "a" * 60 + "b")
stuck()
"""
START_A_PROGRAM = """
child = subprocess.Popen(["sleep", "600"])
with open({pid!r} + ".new", "w") as file: file.write(str(child.pid))
os.rename({pid!r} + ".new", {pid!r})
"""


def first_death(script: str, then: Callable[[Fleet], object] = lambda fleet: None) -> Death:
    deaths: list[Death] = []
    with Fleet(LocalLauncher([sys.executable, "-c", script]), 1, silence_seconds=SILENCE_SECONDS) as fleet:
        fleet.start()
        then(fleet)

        def look(_: float) -> None:
            deaths.extend(fleet.watch(time.monotonic()))
            time.sleep(0.02)

        assert awaited(lambda: deaths, look, PATIENCE_SECONDS)
    return deaths[0]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_slave_whose_job_holds_the_interpreter_is_killed_and_its_stack_told() -> None:
    death = first_death(BEATING + HOLD_THE_LOCK)
    assert death.exit.hung and death.exit.blame and death.exit.code == -signal.SIGKILL
    assert "a job held the interpreter" in death.status
    assert "in stuck" in death.exit.stack
    assert death.restarting


def test_a_slave_that_is_stopped_is_killed_without_blaming_a_job() -> None:
    death = first_death(BEATING + "os.kill(os.getpid(), 19)")
    assert death.exit.hung and not death.exit.blame
    assert "the process was stopped" in death.status


def test_the_programs_of_a_slave_that_hung_end_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    first_death(BEATING + START_A_PROGRAM.format(pid=str(pid)) + HOLD_THE_LOCK)
    assert wait_until(lambda: not runs(int(pid.read_text())), PATIENCE_SECONDS)


def test_the_programs_of_a_slave_that_crashed_end_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    first_death(BEATING + START_A_PROGRAM.format(pid=str(pid)) + "os._exit(3)")
    assert wait_until(lambda: not runs(int(pid.read_text())), PATIENCE_SECONDS)


def test_the_programs_of_a_slave_that_ended_well_may_stay(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    first_death(BEATING + START_A_PROGRAM.format(pid=str(pid)) + "lifeline.say_done()")
    assert runs(int(pid.read_text()))
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_the_programs_of_a_fleet_that_was_killed_end_with_it(tmp_path: Path) -> None:
    """The kernel kills the slaves, but not their children; nor can the fleet any more."""
    pid = tmp_path / "pid"
    script = BEATING + START_A_PROGRAM.format(pid=str(pid)) + "time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", f"""
import sys, time
from taskmaster.fleet.fleet import Fleet
from taskmaster.fleet.local import LocalLauncher
fleet = Fleet(LocalLauncher([sys.executable, "-c", {script!r}]), 2)
fleet.start()
while True: fleet.watch(time.monotonic()); time.sleep(0.1)"""])
    try:
        assert wait_until(pid.exists, PATIENCE_SECONDS)
    finally:
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not runs(int(pid.read_text())), PATIENCE_SECONDS)
