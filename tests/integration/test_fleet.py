"""The fleet on real processes: tiny scripts that sleep, crash, print and lose their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import awaited, wait_until

from taskmaster import defaults, errors
from taskmaster.fleet.base import Exit
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


def test_a_slave_killed_with_9_is_replaced(tmp_path: Path) -> None:
    with fleet_of(noting(tmp_path, SLEEP), 2) as watched:
        watched.until(lambda: len(noted(tmp_path)) == 2)
        victim = noted(tmp_path)[0]
        os.kill(victim, signal.SIGKILL)
        watched.until(lambda: len(noted(tmp_path)) == 3)
        ended = Exit(-9, "killed by SIGKILL", blame=False, restart=True)
        assert watched.deaths == [Death(f"{socket.gethostname()}:{victim}", ended, restarting=True)]
        assert watched.deaths[0].pid == victim
        assert watched.fleet.alive == 2
        assert watched.fleet.verdict() is None


def test_when_the_master_told_one_slave_to_stop_no_other_waits_for_it_long(tmp_path: Path) -> None:
    """One that came up just after the end waited two minutes for a master, and the fleet ended with 69."""
    first = f"os.open({str(tmp_path / 'one')!r}, os.O_CREAT | os.O_EXCL); lifeline.say_over(); lifeline.say_done()"
    script = f"import os, time\n{READY}\ntry:\n    {first}\nexcept FileExistsError:\n    time.sleep(60)"
    with fleet_of(script, 3, speed=8.0) as watched:
        assert watched.until_over() == errors.EXIT_DONE
        assert sorted(death.status for death in watched.deaths) == ["exit 0"] + ["killed by SIGTERM"] * 2


def test_one_slave_that_was_drained_by_hand_ends_no_other(tmp_path: Path) -> None:
    first = f"os.open({str(tmp_path / 'one')!r}, os.O_CREAT | os.O_EXCL); lifeline.say_done()"
    script = f"import os, time\n{READY}\ntry:\n    {first}\nexcept FileExistsError:\n    time.sleep(60)"
    with fleet_of(script, 2, speed=100.0) as watched:
        watched.until(lambda: watched.deaths)
        later = watched.now() + 2 * defaults.OVER_SECONDS
        watched.until(lambda: watched.now() > later)
        assert len(watched.deaths) == watched.fleet.alive == 1


def test_a_crash_loop_ends_with_1() -> None:
    with fleet_of("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 2, speed=8.0) as watched:
        assert watched.until_over() == errors.EXIT_ERROR
        assert [death.status for death in watched.deaths] == ["killed by SIGSEGV"] * 10
        assert [death.restarting for death in watched.deaths].count(False) == 2


def test_a_slave_that_ends_with_75_is_replaced_at_once(tmp_path: Path) -> None:
    script = noting(tmp_path, f"sys.exit(75 if len(os.listdir({str(tmp_path)!r})) < 8 else 0)")
    with fleet_of(script) as watched:
        assert watched.until_over() == errors.EXIT_DONE
        assert [death.exit.code for death in watched.deaths] == [75] * 7 + [0]


def test_slaves_that_all_end_with_0_end_with_0() -> None:
    with fleet_of("pass", 3) as watched:
        assert watched.until_over() == errors.EXIT_DONE
        assert len(watched.deaths) == 3 and watched.fleet.alive == 0


def test_a_slave_that_lost_its_master_is_not_replaced() -> None:
    with fleet_of("raise SystemExit(69)", 2) as watched:
        assert watched.until_over() == errors.EXIT_MASTER_GONE
        assert len(watched.deaths) == 2


@pytest.mark.parametrize("code", [2, 77, 78])
def test_an_error_that_each_would_meet_stops_all(code: int, tmp_path: Path) -> None:
    first = f"sys.exit({code}) if len(os.listdir({str(tmp_path)!r})) == 4 else time.sleep(60)"
    with fleet_of(noting(tmp_path, first), 4) as watched:
        assert watched.until_over() == code
        assert not any(death.restarting for death in watched.deaths)
        assert watched.fleet.alive == 0


def test_a_slave_deaf_to_the_end_of_all_is_killed_after_a_grace(tmp_path: Path) -> None:
    script = noting(tmp_path, textwrap.dedent("""\
        try:
            open(os.environ['FLAG'] + '.first', 'x').close()
        except FileExistsError:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            open(os.environ['FLAG'], 'w').close()
            time.sleep(60)
        while not os.path.exists(os.environ['FLAG']):
            time.sleep(0.01)
        sys.exit(78)"""))
    flag = tmp_path.parent / (tmp_path.name + ".flag")
    with fleet_of(script, 2, speed=10.0, environment={"FLAG": str(flag)}) as watched:
        assert watched.until_over() == errors.EXIT_STATE_MISMATCH
        assert [death.status for death in watched.deaths] == ["exit 78", "killed by SIGKILL"]


def test_an_interpreter_that_is_not_there_is_a_crash_loop() -> None:
    with Fleet(LocalLauncher(["/no/such/python"]), 1) as fleet:
        watched = Watched(fleet, speed=100.0)
        assert watched.until_over() == errors.EXIT_ERROR
        assert all(not death.name and "No such file" in death.status for death in watched.deaths)


def test_a_fleet_of_nobody_is_refused() -> None:
    with pytest.raises(errors.UsageError, match="at least 1 slave, not 0"):
        Fleet(LocalLauncher([sys.executable]), 0)


def test_another_thread_may_not_start_slaves() -> None:
    with fleet_of("raise SystemExit(75)") as watched:
        raised: list[BaseException] = []

        def watch() -> None:
            try:
                watched.until(lambda: False)
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=watch)
        thread.start()
        thread.join()
        assert "by the thread that made the launcher" in str(raised[0])


def test_a_signal_reaches_every_slave_once_and_ends_the_restarts(tmp_path: Path) -> None:
    drain = """
def drain(signum, frame):
    with open(os.environ['LOG'], 'a') as log: log.write('term\\n')
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
open(os.path.join(os.environ['UP'], str(os.getpid())), 'w').close()
time.sleep(60)"""
    log, up = tmp_path / "log", tmp_path / "up"
    up.mkdir()
    names = {"LOG": str(log), "UP": str(up)}
    with fleet_of("import os, sys, time, signal\n" + drain, 3, environment=names) as watched:
        watched.until(lambda: len(noted(up)) == 3)
        watched.fleet.signal(signal.SIGTERM)
        assert watched.until_over() == errors.EXIT_DONE
        assert log.read_text() == "term\n" * 3
        assert not any(death.restarting for death in watched.deaths)


def test_a_slave_too_young_to_drain_is_not_replaced_when_asked_to_end() -> None:
    with fleet_of(SLEEP, 2) as watched:
        watched.fleet.signal(signal.SIGTERM)
        assert watched.until_over() == errors.EXIT_INTERRUPTED
        assert [death.status for death in watched.deaths] == ["killed by SIGTERM"] * 2


def test_stop_kills_what_outlives_the_grace_and_reaps_it(tmp_path: Path) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + noting(tmp_path, SLEEP)
    with fleet_of(script, 2) as watched:
        watched.until(lambda: len(noted(tmp_path)) == 2)
        deaths = watched.fleet.stop(0.1)
        assert [death.status for death in deaths] == ["killed by SIGKILL"] * 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in noted(tmp_path))


def test_leaving_by_an_error_leaves_no_slave(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with fleet_of(noting(tmp_path, SLEEP), 3) as watched:
            watched.until(lambda: len(noted(tmp_path)) == 3)
            raise ZeroDivisionError
    assert not any(Path(f"/proc/{pid}").exists() for pid in noted(tmp_path))


def test_a_fleet_leaves_no_descriptor_open() -> None:
    def open_fds() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    before = open_fds()
    with fleet_of(READY, 2, scout=True, capture=lambda line: None) as watched:
        watched.until_over()
    assert open_fds() == before


def test_the_scout_goes_alone_until_it_is_ready(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waiting = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    notes = tmp_path / "notes"
    notes.mkdir()
    with fleet_of(GUARD + noting(notes, waiting + "lifeline.say_ready()\n" + SLEEP), 3, scout=True) as watched:
        watched.until(lambda: len(noted(notes)) == 1)
        assert watched.fleet.alive == 1
        gate.touch()
        watched.until(lambda: len(noted(notes)) == 3)
        assert watched.fleet.alive == 3


@pytest.mark.parametrize("code", [2, 77, 78, 69, 0])
def test_no_other_follows_a_scout_that_found_nothing_to_do(code: int, tmp_path: Path) -> None:
    with fleet_of(noting(tmp_path, f"sys.exit({code})"), 4, scout=True) as watched:
        assert watched.until_over() == code
        assert len(noted(tmp_path)) == 1


def test_an_error_that_several_slaves_end_with_is_shown_once(caplog: pytest.LogCaptureFixture) -> None:
    end = "import sys; assert lifeline.say_error('No master\\nthere.'); sys.exit(69)"
    with fleet_of(GUARD + end, 3) as watched:
        assert watched.until_over() == errors.EXIT_MASTER_GONE
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["No master there."]


def test_different_errors_are_all_shown(caplog: pytest.LogCaptureFixture) -> None:
    end = "import os, sys; assert lifeline.say_error(str(os.getpid())); sys.exit(69)"
    with fleet_of(GUARD + end, 3) as watched:
        watched.until_over()
    shown = {record.message for record in caplog.records if record.levelname == "ERROR"}
    assert shown == {str(death.pid) for death in watched.deaths} and len(shown) == 3


def test_an_error_is_no_word_that_the_fleet_waits_for(tmp_path: Path) -> None:
    script = GUARD + noting(tmp_path, "lifeline.say_error('ready\\nover\\nready'); " + SLEEP)
    with fleet_of(script, 2, scout=True) as watched:
        watched.until(lambda: noted(tmp_path))
        time.sleep(0.1)
        watched.until(lambda: True)
        watched.fleet.watch(watched.now())
        assert watched.fleet.alive == 1, "the others followed one that is not ready"


def test_without_a_fleet_nobody_hears_an_error() -> None:
    alone = GUARD + "raise SystemExit(lifeline.say_error('no'))"
    assert subprocess.run([sys.executable, "-c", alone]).returncode == 0


def test_the_others_follow_a_scout_that_crashed(tmp_path: Path) -> None:
    script = noting(tmp_path, f"sys.exit(1) if len(os.listdir({str(tmp_path)!r})) == 1 else time.sleep(60)")
    with fleet_of(script, 3, scout=True) as watched:
        watched.until(lambda: watched.fleet.alive == 3)
        assert [death.exit.code for death in watched.deaths] == [1]


def test_every_line_is_captured_whole() -> None:
    lines: list[str] = []
    script = """import os
for i in range(1000): print('x' * 50 + str(i), flush=True)
os.write(2, b'caf\\xc3\\xa9 \\xff no end')"""
    with fleet_of(script, 2, capture=lines.append) as watched:
        assert watched.until_over() == errors.EXIT_DONE
    printed = sorted(line for line in lines if line.startswith("x"))
    assert printed == sorted(["x" * 50 + str(i) for i in range(1000)] * 2)
    assert [line for line in lines if not line.startswith("x")] == ["caf\u00e9 \ufffd no end"] * 2


def test_stdout_can_stay_where_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with fleet_of("import sys; print('out'); print('err', file=sys.stderr)",
                  capture=lines.append, keep_stdout=True) as watched:
        assert watched.until_over() == errors.EXIT_DONE
    assert lines == ["err"]
    assert capfd.readouterr().out == "out\n"


@pytest.mark.parametrize("script", ["print('x' * 10_000_000)", "for i in range(200_000): print('line', i)"])
def test_a_capture_that_fails_blocks_no_slave(script: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(line: str) -> None:
        raise OSError("the terminal is gone")

    with fleet_of(script, capture=fail) as watched:
        assert watched.until_over() == errors.EXIT_DONE
    assert [record.message for record in caplog.records if "Cannot show" in record.message] == [
        "Cannot show the output of a slave; the rest of it is dropped"
    ]


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


@pytest.mark.parametrize("code", [0, 3, 75, 78])
def test_a_handler_that_exits_its_process_crashes_it_whatever_the_code(code: int) -> None:
    """With 0 the slot was closed for good, with 78 the whole fleet; with 75 it was restarted for ever."""
    script = READY + f"import os; os._exit({code})"
    with fleet_of(script, 1, speed=20.0) as watched:
        assert watched.until_over() == errors.EXIT_ERROR
        crash = Exit(1, f"exit {code} in the middle of its work", blame=True, restart=True)
        assert [death.exit for death in watched.deaths] == [crash] * 5


def test_the_last_words_of_a_slave_are_shown_before_the_fleet_is_left() -> None:
    """The error of a slave came after the summary of the run, or never."""
    lines: list[str] = []

    def show(line: str) -> None:
        time.sleep(0.1)
        lines.append(line)

    with fleet_of("print('no such module'); raise SystemExit(2)", capture=show) as watched:
        assert watched.until_over() == errors.EXIT_USAGE
    assert lines == ["no such module"]


def test_a_grandchild_that_holds_the_output_open_does_not_hold_the_fleet() -> None:
    lines: list[str] = []
    script = """import subprocess, sys
print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(50)']).pid)"""
    with fleet_of(script, 1, capture=lines.append) as watched:
        assert watched.until_over() == errors.EXIT_DONE
        watched.until(lambda: lines)
    grandchild = int(lines[0])
    assert runs(grandchild)
    os.kill(grandchild, signal.SIGKILL)


def test_an_error_that_several_slaves_report_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    word = "os.write(int(os.environ['TASKMASTER_WORD_FD']), b'error The versions differ.\\n')"
    with fleet_of(f"import os; {word}; raise SystemExit(69)", 3) as watched:
        assert watched.until_over() == errors.EXIT_MASTER_GONE
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["The versions differ."]


def test_an_exit_of_0_with_a_word_is_a_good_end() -> None:
    script = READY + "lifeline.say_done()"
    with fleet_of(script, 2) as watched:
        assert watched.until_over() == errors.EXIT_DONE
