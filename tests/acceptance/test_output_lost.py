"""Output that nobody takes is lost, and the run continues to its end, its exit code and its summary file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
from helpers import Place, numbers

SLOW = '''
import time
def get_jobs(last=0): yield from range(last, 30)
def handle_job(job):
    time.sleep(0.01)
    record(job)
    if job == 7:
        raise ValueError("seven")
'''


def shell(place: Place, script: str, *arguments: str, stdout: int | None = None) -> int:
    """The exit code of the run that `script` starts as "$@"."""
    command = [sys.executable, "-m", "taskmaster.cli.run", "work.py", "2", "--attempts", "1", "--max-failures", "none",
               "--summary", "summary.json", *arguments]
    argv = ["bash", "-c", script, "bash", *command]
    ended = subprocess.run(argv, cwd=place.folder, env=place.environment, stdout=stdout, timeout=50)
    return ended.returncode


@pytest.mark.parametrize("arguments", [(), ("--no-progress",)])
@pytest.mark.parametrize("script", [
    '"$@" 2>&1 | head -1; exit ${PIPESTATUS[0]}',
    '"$@" 2>&-',
    '"$@" >&- 2>&-',
    '"$@" 2>/dev/full',
])
def test_a_run_survives_the_loss_of_its_output(place: Place, script: str, arguments: Sequence[str]) -> None:
    place.write(SLOW)
    assert shell(place, script, *arguments) == 3
    assert set(place.handled()) == numbers(30)
    assert place.summary()["exit_code"] == 3


def test_a_pipe_that_nobody_reads_does_not_stop_a_run(place: Place) -> None:
    place.write(SLOW)
    reader, writer = os.pipe()
    try:
        fill(writer)
        assert shell(place, '"$@" 2>&1', stdout=writer) == 3
    finally:
        os.close(reader)
        os.close(writer)
    assert set(place.handled()) == numbers(30)
    assert place.summary()["exit_code"] == 3


def fill(writer: int) -> None:
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)


LOGS = """
import logging, logging.config
CONFIG
log = logging.getLogger("mine")
def get_jobs(last=0, n: int = 10):
    log.info("pulling")
    yield from range(last, n)
def handle_job(job):
    if job == 7:
        log.info("seven\\nINFO: forged")
        raise ValueError("\\x1b[2J\\nINFO: forged")
"""


def test_a_users_logging_configuration_does_not_silence_ours(place: Place) -> None:
    place.write(LOGS.replace("CONFIG", "logging.config.dictConfig({'version': 1})"))
    ended = place.run("run", "work.py", 1, "--attempts", 1, "--max-failures", "none")
    assert ended.code == 3 and "WARNING: Job 7 failed after 1 attempt: ValueError" in ended.err


def test_what_users_log_is_shown_unless_they_configure_it(place: Place) -> None:
    place.write(LOGS.replace("CONFIG", ""))
    ended = place.run("run", "work.py", 1, "--attempts", 1, "--max-failures", "none")
    assert "INFO: pulling\n" in ended.err and "INFO: seven\n    INFO: forged\n" in ended.err
    place.write(LOGS.replace("CONFIG", "logging.basicConfig(format='mine says %(message)s', level='INFO')"))
    ended = place.run("run", "work.py", 1, "--reset", "--attempts", 1, "--max-failures", "none")
    assert "mine says pulling\n" in ended.err


def test_texts_of_exceptions_cannot_forge_lines_or_steer_a_terminal(place: Place) -> None:
    place.write(LOGS.replace("CONFIG", ""))
    ended = place.run("run", "work.py", 1, "--attempts", 1, "--max-failures", "none")
    assert "\x1b" not in ended.err and "\nINFO: forged" not in ended.err
    assert r"ValueError: \x1b[2J\nINFO: forged" in ended.err


def test_a_log_for_programs_is_one_json_object_a_line(place: Place) -> None:
    place.write(LOGS.replace("CONFIG", ""))
    ended = place.run("run", "work.py", 1, "--attempts", 1, "--max-failures", "none", TASKMASTER_LOG_FORMAT="json")
    found = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    assert {"time", "level", "logger", "process", "message"} == set(found[0])
    assert {"pulling", "seven\nINFO: forged"} <= {one["message"] for one in found}
    assert any(one["level"] == "warning" and one["message"].startswith("Job 7 failed") for one in found)
