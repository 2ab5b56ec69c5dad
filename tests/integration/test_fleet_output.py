"""What slaves print, and the errors that they report to their fleet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.fleets import GUARD, SLEEP, fleet_of, noted, noting, runs

from taskmaster import errors


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


def test_an_error_that_several_slaves_end_with_is_shown_once_and_whole(caplog: pytest.LogCaptureFixture) -> None:
    end = "import sys; assert lifeline.say_error('No master\\nthere.'); sys.exit(69)"
    with fleet_of(GUARD + end, 3) as watched:
        assert watched.until_over() == errors.EXIT_MASTER_GONE
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["No master\nthere."]


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


def test_an_error_that_several_slaves_report_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    word = "os.write(int(os.environ['TASKMASTER_WORD_FD']), b'error The versions differ.\\n')"
    with fleet_of(f"import os; {word}; raise SystemExit(69)", 3) as watched:
        assert watched.until_over() == errors.EXIT_MASTER_GONE
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["The versions differ."]
