"""Slaves that die or seem to: who is charged, and who runs what they had. With the real commands."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest
from chaos.proxy import Proxy
from helpers import Place, free_port, numbers, wait_until

FAILURES = 3
ATTEMPTS = 3

# A job that ends once there is a file "enough", and notes which process runs it.
LONG_JOB = """
def handle_job(job):
    with open("begun", "a") as file:
        file.write(f"{os.getpid()}\\n")
    while not os.path.exists("enough"):
        time.sleep(0.02)
    record(job)
"""


def begun(place: Place) -> list[int]:
    """Who has begun the job, in this order."""
    path = place.folder / "begun"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def runs_for_the_time(place: Place, number: int) -> int:
    assert wait_until(lambda: len(begun(place)) >= number), f"begun {len(begun(place))} times, not {number}"
    return begun(place)[number - 1]


def enough(place: Place) -> None:
    (place.folder / "enough").touch()


def test_sigterm_under_a_long_job_is_nobodys_fault(place: Place) -> None:
    """Three preemptions put it into the failures file."""
    place.write(LONG_JOB)
    here = ("--address", f"ipc://{place.folder}/socket")
    master = place.start("master", "work.py", "n=1", "--attempts", ATTEMPTS, *here)
    for _ in range(21):
        place.start("slave", "work.py", "--concurrency", 1, *here)
    for time_ in range(1, 21):
        victim = runs_for_the_time(place, time_)
        os.kill(victim, signal.SIGTERM)
        time.sleep(0.3)  # more than a moment later: the second one means that it is to end now
        os.kill(victim, signal.SIGTERM)
    runs_for_the_time(place, 21)
    enough(place)
    assert master.end().code == 0
    assert (place.handled(), place.failures()) == ({"0": 1}, [])


def test_slaves_that_something_outside_kills_cost_their_job_nothing(place: Place) -> None:
    place.write(LONG_JOB)
    here = ("--address", f"ipc://{place.folder}/socket")
    master = place.start("master", "work.py", "n=1", "--attempts", 1, *here)
    spawn = place.start("spawn", "work.py", 3, "--concurrency", 1, *here)
    for time_ in range(1, 4):
        os.kill(runs_for_the_time(place, time_), signal.SIGKILL)
    runs_for_the_time(place, 4)
    enough(place)
    assert (master.end().code, spawn.end().code) == (0, 0)
    assert (place.handled(), place.failures()) == ({"0": 1}, [])


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy(free_port())
    yield made
    made.close()


def test_a_slave_whose_connection_was_cut_keeps_the_job_it_runs(place: Place, proxy: Proxy) -> None:
    """It was told to drop it, and began it anew: five copies ran in one slave."""
    place.write(LONG_JOB)
    master = place.start("master", "work.py", "n=1", "--attempts", 1, "--insecure",
                         "--address", f"tcp://127.0.0.1:{proxy.target}")
    slave = place.start("slave", "work.py", "--insecure", "--address", proxy.address)
    runs_for_the_time(place, 1)
    for _ in range(4):
        proxy.blackhole()
        proxy.reset_all()
        time.sleep(1.0)  # more than the time to reconnect: the master takes it for dead
        proxy.heal()
        time.sleep(1.0)
    enough(place)
    ended = master.end()
    assert (ended.code, slave.end().code) == (0, 0)
    assert ended.err.count("is gone (its connection dropped)") >= 3, ended.err
    assert (len(begun(place)), place.handled(), place.failures()) == (1, {"0": 1}, [])


@pytest.mark.parametrize("deed, how", [
    ("__import__('ctypes').string_at(0)", "killed by SIGSEGV"), ("os._exit(0)", "exit 0 in the middle of its work")])
def test_a_job_that_kills_slaves_of_tm_spawn_is_found_in_as_few_deaths_as_under_tm_run(
        place: Place, deed: str, how: str) -> None:
    """The master saw only connections that dropped."""
    place.write(f"\ndef handle_job(job):\n    if job == 50:\n        {deed}\n    record(job)\n")
    here = ("--address", f"ipc://{place.folder}/socket")
    master = place.start("master", "work.py", "--attempts", 2, *here)
    place.start("spawn", "work.py", 2, *here)
    ended = master.end()
    assert ended.code == FAILURES
    assert place.handled().keys() == numbers(100) - {"50"}
    [failure] = place.failures()
    assert (failure["offset"], failure["kind"], failure["attempts"]) == (50, "killed", 2)
    assert how in failure["message"]
    assert len(re.findall(re.escape(how) + r"\); its", ended.err)) <= 2 + 3, ended.err
