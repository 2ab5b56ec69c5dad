"""Slaves and their parent: none outlives it, and none takes a living parent for dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from support.fleets import GUARD, PATIENCE_SECONDS, READY, SLEEP, await_end, fleet_of, noted, noting, runs
from support.waiting import wait_until

from taskmaster import errors

PARENT = """
import sys, time
from taskmaster.fleet.fleet import Fleet
from taskmaster.fleet.local import LocalLauncher
with Fleet(LocalLauncher([sys.executable, "-c", {script!r}]), 3) as fleet:
    fleet.start()
    while True:
        fleet.watch(time.monotonic())
        time.sleep(0.02)
"""

SPIN = "while True: pass"
HOLD_THE_LOCK = "import ctypes; ctypes.PyDLL(None).sleep(60)"
BY_BOTH = GUARD
BY_THE_PIPE = GUARD + "import ctypes; ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"  # no parent-death signal
BY_THE_SIGNAL = "import os; del os.environ['TASKMASTER_PARENT_FD']\n" + GUARD


@pytest.mark.parametrize("guard, busy", [
    pytest.param(BY_BOTH, SLEEP, id="asleep"),
    pytest.param(BY_BOTH, SPIN, id="spinning"),
    pytest.param(BY_BOTH, HOLD_THE_LOCK, id="holding the interpreter lock"),
    pytest.param(BY_THE_PIPE, SLEEP, id="asleep, by the pipe alone"),
    pytest.param(BY_THE_PIPE, SPIN, id="spinning, by the pipe alone"),
    pytest.param(BY_THE_SIGNAL, SLEEP, id="asleep, by the signal alone"),
])
def test_no_slave_outlives_a_parent_killed_with_9(guard: str, busy: str, tmp_path: Path) -> None:
    script = guard + noting(tmp_path, busy)
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(script=script)])
    try:
        assert wait_until(lambda: len(noted(tmp_path)) >= 3, PATIENCE_SECONDS)
        assert all(runs(pid) for pid in noted(tmp_path))
    finally:
        parent.kill()
        parent.wait()
    await_end(noted(tmp_path))


def test_a_slave_started_by_a_parent_that_is_gone_ends() -> None:
    environment = {**os.environ, "TASKMASTER_PARENT_PID": "1" if os.getpid() != 1 else "2"}
    child = subprocess.run([sys.executable, "-c", GUARD + SLEEP], env=environment, timeout=PATIENCE_SECONDS)
    assert child.returncode == -signal.SIGKILL


def test_a_parent_without_a_standard_input_keeps_its_slaves(tmp_path: Path) -> None:
    script = PARENT.format(script=GUARD + noting(tmp_path, SLEEP))
    parent = subprocess.Popen(["sh", "-c", 'exec "$0" -c "$1" <&- >&-', sys.executable, script])
    try:
        assert wait_until(lambda: len(noted(tmp_path)) >= 3, PATIENCE_SECONDS)
        time.sleep(0.2)  # a slave that took its parent for dead would have ended, and been replaced, by now
        assert len(noted(tmp_path)) == 3 and all(runs(pid) for pid in noted(tmp_path))
    finally:
        parent.kill()
        parent.wait()
    await_end(noted(tmp_path))


def test_a_slave_gets_no_more_of_its_parent_than_two_ends_of_pipes_and_a_file() -> None:
    lines: list[str] = []
    script = """import os
with os.scandir('/proc/self/fd') as fds: pipes = [int(fd.name) for fd in fds if int(fd.name) > 2]
pipes = [fd for fd in pipes if os.path.exists(f'/proc/self/fd/{fd}')]
print(set(pipes) == {int(os.environ['TASKMASTER_PARENT_FD']), int(os.environ['TASKMASTER_WORD_FD']),
        int(os.environ['TASKMASTER_STACK_FD'])})"""
    with fleet_of(script, 3, capture=lines.append) as watched:
        assert watched.until_over() == errors.EXIT_DONE
    assert lines == ["True"] * 3


def test_a_guarded_slave_hides_its_ties_from_its_own_children() -> None:
    lines: list[str] = []
    script = GUARD + textwrap.dedent("""\
        import os, subprocess, sys
        show = "import os; print([name for name in os.environ if name.startswith('TASKMASTER_')])"
        fds = "; print([fd for fd in range(3, 100) if os.path.exists(f'/proc/self/fd/{fd}')])"
        subprocess.run([sys.executable, "-c", show + fds], close_fds=False)
        exec(show)""")
    with fleet_of(script, scout=True, capture=lines.append) as watched:
        assert watched.until_over() == errors.EXIT_DONE
    assert lines == ["[]", "[]", "[]"]


def test_without_a_fleet_the_guard_does_nothing() -> None:
    script = READY + "import threading; print(threading.active_count())"
    child = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert (child.returncode, child.stdout) == (0, "1\n")
