"""However a run ends, its source is closed: the `finally` of get_jobs runs, or a warning says where it is stuck."""

from __future__ import annotations

import signal

import pytest
from helpers import Place, wait_until

from taskmaster.errors import (EXIT_DONE, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_SOURCE_FAILED, EXIT_STATE_UNWRITABLE,
                               EXIT_TOO_MANY_FAILURES)

SOURCE = '''
import threading

def get_jobs(last=0, n: int = 10_000_000, stuck: bool = False, fails: int = -1, pause: float = 0.0):
    try:
        for number in range(last, n):
            if number == fails:
                raise ValueError("no more")
            time.sleep(pause)
            yield number
        while stuck:
            time.sleep(3600)
    finally:
        open("closed", "a").write(f"{threading.current_thread().name}\\n")

def handle_job(job):
    time.sleep(0.002)
    record(job)
'''


def closed(place: Place) -> list[str]:
    path = place.folder / "closed"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("arguments, code", [
    (["n=50"], EXIT_DONE),
    (["--limit", 50], EXIT_DONE),
    (["n=50", "fails=20"], EXIT_SOURCE_FAILED),
    (["--attempts", 1, "--max-failures", 3, "--handle-job-callback", "fail"], EXIT_TOO_MANY_FAILURES),
    (["--handle-job-callback", "crash", "--attempts", 50], EXIT_ERROR),
])
def test_at_the_ends_that_a_run_comes_to_by_itself(place: Place, arguments: list[object], code: int) -> None:
    """After --max-failures it had been left open, with whatever transaction or file the user's code had."""
    place.write(SOURCE + "\ndef fail(job):\n    raise ValueError\n\ndef crash(job):\n    os._exit(3)\n")
    ended = place.run("run", "work.py", 1, *arguments)
    assert (ended.code, closed(place)) == (code, ["feeder"]), ended.err


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_at_an_interrupt_and_at_two(place: Place, times: int, pause: float) -> None:
    """Also where the source has turned slow in the middle of a slice of many jobs."""
    place.write(SOURCE)
    run = place.start("run", "work.py", 1, f"pause={pause}")
    wait_until(place.handled)
    for _ in range(times):
        run.signal(signal.SIGINT)
        wait_until(lambda: False, 0.5)
    assert (run.end().code, closed(place)) == (EXIT_INTERRUPTED, ["feeder"])


def test_when_the_state_is_lost(place: Place) -> None:
    place.write(SOURCE)
    run = place.start("run", "work.py", 1, "--state", "state")
    wait_until(place.handled)
    (place.folder / "state").rename(place.folder / "gone")
    assert (run.end().code, closed(place)) == (EXIT_STATE_UNWRITABLE, ["feeder"])


def test_a_source_that_is_stuck_is_not_waited_for_but_named(place: Place) -> None:
    place.write(SOURCE)
    run = place.start("run", "work.py", 1, "n=20", "stuck=true")
    wait_until(lambda: len(place.handled()) == 20)
    run.signal(signal.SIGINT)
    ended = run.end(20)
    line = 1 + (place.folder / "work.py").read_text().splitlines().index("            time.sleep(3600)")
    assert (ended.code, closed(place), ended.tracebacks) == (EXIT_INTERRUPTED, [], 0)
    assert f"work.py:{line}, in get_jobs" in ended.err


def test_a_cleanup_that_raises_is_shown_and_changes_nothing(place: Place) -> None:
    place.write("""
def get_jobs(last=0):
    try:
        yield from range(last, 10_000_000)
    finally:
        raise OSError("cannot say goodbye")
""")
    ended = place.run("run", "work.py", 1, "--limit", 20)
    assert ended.code == EXIT_DONE and len(place.handled()) == 20
    assert "closed at the end of the run" in ended.err and "OSError: cannot say goodbye" in ended.err
