"""The fleet on real processes: which slaves are replaced, when it is over, and how it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from support.fleets import GUARD, READY, SLEEP, Watched, fleet_of, noted, noting

from taskmaster import defaults, errors
from taskmaster.fleet.base import Exit
from taskmaster.fleet.fleet import Death, Fleet
from taskmaster.fleet.local import LocalLauncher


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


def test_stop_kills_what_outlives_the_grace_and_reaps_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + noting(tmp_path, SLEEP)
    with fleet_of(script, 2) as watched:
        watched.until(lambda: len(noted(tmp_path)) == 2)
        deaths = watched.fleet.stop(0.1)
        assert [death.status for death in deaths] == ["killed by SIGKILL"] * 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in noted(tmp_path))
        assert caplog.text.count("has not ended within 0.1 s and is killed") == 2


def test_leaving_by_an_error_leaves_no_slave(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with fleet_of(noting(tmp_path, SLEEP), 3) as watched:
            watched.until(lambda: len(noted(tmp_path)) == 3)
            raise ZeroDivisionError
    assert not any(Path(f"/proc/{pid}").exists() for pid in noted(tmp_path))


def test_a_fleet_leaves_no_descriptor_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "YOUNG_DEATHS", 5)

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


def test_the_others_follow_a_scout_that_crashed(tmp_path: Path) -> None:
    script = noting(tmp_path, f"sys.exit(1) if len(os.listdir({str(tmp_path)!r})) == 1 else time.sleep(60)")
    with fleet_of(script, 3, scout=True) as watched:
        watched.until(lambda: watched.fleet.alive == 3)
        assert [death.exit.code for death in watched.deaths] == [1]


@pytest.mark.parametrize("code", [0, 3, 75, 78])
def test_a_handler_that_exits_its_process_crashes_it_whatever_the_code(
        monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """With 0 the slot was closed for good, with 78 the whole fleet; with 75 it was restarted for ever."""
    monkeypatch.setattr(defaults, "YOUNG_DEATHS", 5)
    script = READY + f"import os; os._exit({code})"
    with fleet_of(script, 1, speed=8.0) as watched:
        assert watched.until_over() == errors.EXIT_ERROR
        crash = Exit(1, f"exit {code} in the middle of its work", blame=True, restart=True)
        assert [death.exit for death in watched.deaths] == [crash] * 5


def test_an_exit_of_0_with_a_word_is_a_good_end() -> None:
    script = READY + "lifeline.say_done()"
    with fleet_of(script, 2) as watched:
        assert watched.until_over() == errors.EXIT_DONE
