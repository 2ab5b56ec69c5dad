"""Handlers that take lists of jobs, under the real commands: how they are found, what they fail at, how they end."""

from __future__ import annotations

import json
import signal
from collections import Counter
from math import log2

import pytest
from helpers import Place, numbers, wait_until

# `step` decides about a batch, which is handled whole or not at all, as in a transaction.
THREADS = """
def handle_jobs(jobs):
    record(f"call {len(jobs)}")
    time.sleep(0.002)
    step(jobs)
    for job in jobs:
        record(job)
    return [{"job": job} for job in jobs]
"""
ASYNC = """
import asyncio
async def handle_jobs(jobs):
    record(f"call {len(jobs)}")
    await asyncio.sleep(0.002)
    await astep(jobs)
    for job in jobs:
        record(job)
    return [{"job": job} for job in jobs]
async def astep(jobs):
    step(jobs)
"""
KINDS = pytest.mark.parametrize("handler, options", [(THREADS, ()), (ASYNC, ()), (THREADS, ("--pool", "greenlets"))],
                                ids=["threads", "asyncio", "greenlets"])
NOTHING = "def step(jobs): pass\n"


def calls(place: Place) -> list[int]:
    """How many jobs each call of the handler had, the largest first."""
    sizes = [int(line.removeprefix("call ")) for line, times in place.handled().items() for _ in range(times)
             if line.startswith("call ")]
    return sorted(sizes, reverse=True)


def handled(place: Place) -> dict[str, int]:
    return {line: times for line, times in place.handled().items() if line.isdecimal()}


@KINDS
def test_a_bad_row_in_a_batch_of_1024_fails_alone_and_costs_21_further_calls_at_most(
        place: Place, handler: str, options: tuple[str, ...]) -> None:
    place.write(handler + """
def step(jobs):
    if 700 in jobs:
        raise SystemExit("no")
""")
    ended = place.run("run", "work.py", 1, "n=1024", "--batch", 1024, "--attempts", 1, *options)
    assert ended.code == 3 and handled(place) == dict.fromkeys(numbers(1024) - {"700"}, 1)
    [failure] = place.failures()
    assert (failure["offset"], failure["attempts"], failure["error"]) == (700, 1, "SystemExit")
    assert len(calls(place)) <= 2 * log2(1024) + 1 + 3, "three batches, should the first leases be small"


@KINDS
def test_each_job_is_handled_and_those_that_raise_are_tried_again_alone(place: Place, handler: str,
                                                                        options: tuple[str, ...]) -> None:
    place.write(handler + """
def step(jobs):
    bad = {7, 70, 777} & set(jobs)
    if bad:
        raise ValueError(min(bad))
""")
    ended = place.run("run", "work.py", 2, "n=2000", "--attempts", 2, "--summary", "summary.json", *options)
    assert ended.code == 3 and handled(place) == dict.fromkeys(numbers(2000) - {"7", "70", "777"}, 1)
    assert sorted((one["offset"], one["attempts"], one["message"]) for one in place.failures()) == [
        (7, 2, "7"), (70, 2, "70"), (777, 2, "777")]
    assert place.summary()["retried"] == 3, "its neighbours are not charged"
    assert max(calls(place)) == 100, "the default"


@KINDS
def test_an_interrupt_finishes_what_runs_and_the_same_command_resumes(place: Place, handler: str,
                                                                      options: tuple[str, ...]) -> None:
    place.write(handler + NOTHING)
    command = ("run", "work.py", 2, "n=20000", "--batch", 16, *options)
    run = place.start(*command)
    assert wait_until(lambda: len(handled(place)) > 500)
    run.signal(signal.SIGINT)
    assert run.end().code == 75
    assert place.run(*command).code == 0
    assert handled(place) == dict.fromkeys(numbers(20000), 1), "a drain repeats nothing"


def test_a_slow_source_is_waited_for_a_moment_and_not_until_a_batch_is_full(place: Place) -> None:
    place.write(THREADS + NOTHING + """
def get_jobs(last=0, n: int = 100):
    for job in range(last, n):
        while job == 12 and not (os.path.exists("handled") and "11\\n" in open("handled").read()):
            time.sleep(0.01)  # for ever, if the first twelve waited for more
        yield job
        time.sleep(0.005)
""")
    assert place.run("run", "work.py", 1, "n=40").code == 0
    assert handled(place) == dict.fromkeys(numbers(40), 1)
    assert 3 < len(calls(place)) < 30 and max(calls(place)) > 1


@KINDS
def test_what_each_job_returned_is_written_once_and_in_order(place: Place, handler: str,
                                                             options: tuple[str, ...]) -> None:
    place.write(handler + """
def step(jobs):
    if 300 in jobs:
        raise ValueError
""")
    ended = place.run("run", "work.py", 2, "n=1000", "--results", "out.jsonl", "--attempts", 1, *options)
    assert ended.code == 3
    lines = [json.loads(line) for line in (place.folder / "out.jsonl").read_text().splitlines()]
    assert [(line["offset"], line["result"]) for line in lines] == [
        (job, {"job": job}) for job in range(1000) if job != 300]


def test_results_that_are_not_one_for_each_job_fail_with_both_numbers(place: Place) -> None:
    place.write("def handle_jobs(jobs):\n    return [1, 2, 3]\n")
    ended = place.run("run", "work.py", 1, "n=3", "--results", "out.jsonl", "--attempts", 1, "--batch", 2)
    assert ended.code == 3
    assert {one["message"] for one in place.failures()} == {
        "The handler returned 3 results for 1 job. Return one for each job, in their order, or None."}


def test_a_job_that_kills_its_slave_is_found_among_its_batch(place: Place) -> None:
    place.write(THREADS + """
def step(jobs):
    if 42 in jobs:
        os.abort()
""")
    ended = place.run("run", "work.py", 2, "n=1000", "--attempts", 2)
    assert ended.code == 3, ended.err
    assert handled(place) == dict.fromkeys(numbers(1000) - {"42"}, 1)
    [failure] = place.failures()
    assert (failure["offset"], failure["kind"]) == (42, "killed")


@pytest.mark.limit(120)
def test_one_slave_finds_the_job_that_kills_it_among_a_thousand(place: Place) -> None:
    """After five deaths in a row it was not replaced, and no resumed run ever got further."""
    place.write(THREADS + """
def step(jobs):
    if 1042 in jobs:
        os.abort()
""")
    ended = place.run("run", "work.py", 1, "n=3000", "--batch", 1000)
    assert ended.code == 3, ended.err
    assert handled(place) == dict.fromkeys(numbers(3000) - {"1042"}, 1)
    assert [(one["offset"], one["attempts"], one["kind"]) for one in place.failures()] == [(1042, 3, "killed")]


def test_a_batch_that_hangs_in_a_thread_fails_once_and_its_good_jobs_are_handled_by_smaller_calls(
        place: Place) -> None:
    place.write(THREADS + """
def step(jobs):
    if 42 in jobs:
        time.sleep(3600)
""")
    ended = place.run("run", "work.py", 2, "n=500", "--job-timeout", 1)
    assert ended.code == 3, ended.err
    assert handled(place) == dict.fromkeys(numbers(500) - {"42"}, 1)
    [failure] = place.failures()
    assert (failure["offset"], failure["kind"], failure["attempts"]) == (42, "timeout", 3)
    assert "time.sleep(3600)" in failure["traceback"] and "A batch of 100 jobs, from job " in ended.err


@pytest.mark.parametrize("handler, sleep, options", [
    (ASYNC.replace("    step(jobs)", "    if 42 in jobs:\n        await asyncio.sleep(3600)"), "", ()),
    (THREADS, "if 42 in jobs:\n        time.sleep(3600)", ("--pool", "greenlets"))], ids=["asyncio", "greenlets"])
def test_a_batch_that_can_be_ended_goes_on_in_halves_within_its_attempt(place: Place, handler: str, sleep: str,
                                                                        options: tuple[str, ...]) -> None:
    place.write(handler + f"\ndef step(jobs):\n    {sleep or 'pass'}\n")
    ended = place.run("run", "work.py", 1, "n=100", "--job-timeout", 0.5, "--attempts", 1, "--batch", 8, *options)
    assert ended.code == 3 and handled(place) == dict.fromkeys(numbers(100) - {"42"}, 1)
    [failure] = place.failures()
    assert (failure["offset"], failure["kind"]) == (42, "timeout") and ended.err.count(" joined") == 1


def test_a_resource_is_the_second_argument_and_a_retry_is_for_the_whole_batch(place: Place) -> None:
    place.write("""
from taskmaster import Retry, current_jobs, lifespan
@lifespan
def client():
    yield {"calls": 0}
def handle_jobs(jobs, client):
    client["calls"] += 1
    if client["calls"] == 1:
        raise Retry(after=0.1)
    for job, now in zip(jobs, current_jobs()):
        record(f"{now.offset == job} {now.attempt}")
""")
    ended = place.run("run", "work.py", 1, "n=100", "--batch", 100, "--summary", "summary.json")
    assert ended.code == 0, ended.err
    retried = place.summary()["retried"]
    assert place.handled() == Counter({"True 1": 100 - retried, "True 2": retried}) and retried > 1


# -- which function is called, and with how many jobs

def test_the_decorator_says_how_many_and_the_command_line_wins(place: Place) -> None:
    place.write("""
import taskmaster
@taskmaster.handler(batch=5)
def load_rows(rows):
    record(f"call {len(rows)}")
""")
    named = ("--handle-job-callback", "load_rows")
    assert place.run("run", "work.py", 1, "n=50", *named).code == 0
    assert max(calls(place)) == 5
    assert place.run("run", "work.py", 1, "n=50", "--reset", "--batch", 50, *named).code == 0
    assert max(calls(place)) > 5
    place.write("""
import taskmaster
@taskmaster.handler(batch=0)
def handle_jobs(rows): pass
""")
    ended = place.run("run", "work.py", 1)
    assert ended.code == 2 and ended.explained("@handler(batch=0)", "at least 1")


def test_with_handle_job_and_handle_jobs_the_latter_is_called_and_this_is_said_once(place: Place) -> None:
    place.write(THREADS + NOTHING)
    ended = place.run("run", "work.py", 2, "n=50")
    assert ended.code == 0 and ended.err.count("work.py has handle_job and handle_jobs: handle_jobs is called") == 1
    assert calls(place)
    (place.folder / "handled").unlink()
    ended = place.run("run", "work.py", 2, "n=50", "--reset", "--handle-job-callback", "handle_job")
    assert ended.code == 0 and not calls(place) and "handle_jobs" not in ended.err


@pytest.mark.parametrize("target", ["work.py", "work.py:handle_jobs", "work", "work:handle_jobs"])
def test_a_slave_elsewhere_finds_it_too(place: Place, target: str) -> None:
    place.write(THREADS + NOTHING)
    master = place.start("master", "work.py" if ".py" in target else "work", "n=100", "--address", "ipc://m.sock")
    ended = place.run("spawn", target, 2, "--address", "ipc://m.sock", "--batch", 10)
    assert ended.code == 0 and "handle_job and" not in ended.err
    assert master.end().code == 0 and handled(place) == dict.fromkeys(numbers(100), 1)
    assert max(calls(place)) == 10


@pytest.mark.parametrize("command, arguments", [
    ("run", ("work.py", 1)), ("slave", ("work.py", "--address", "ipc://m.sock")),
    ("spawn", ("work.py", 1, "--address", "ipc://m.sock"))])
def test_a_batch_for_a_handler_of_single_jobs_is_refused(place: Place, command: str,
                                                         arguments: tuple[object, ...]) -> None:
    place.write()
    ended = place.run(command, *arguments, "--batch", 10)
    assert ended.code == 2 and ended.err.count("handle_job takes one job. Write def handle_jobs(jobs), or") == 1
    assert not ended.tracebacks and not place.handled()


@pytest.mark.parametrize("size", ["0", "-3", "1000000000", "many", "2.5"])
def test_a_number_that_is_none_of_a_batch_is_refused(place: Place, size: str) -> None:
    place.write(THREADS + NOTHING)
    ended = place.run("run", "work.py", 1, "--batch", size)
    assert ended.code == 2 and "--batch" in ended.err and not ended.tracebacks and not place.handled()


@pytest.mark.parametrize("handler, words", [
    ("def handle_jobs(): pass", "def handle_jobs(jobs)"), ("def handle_jobs(jobs): yield", "without yield"),
    ("async def handle_jobs(jobs, more): pass", "a list of jobs"), ("handle_jobs = 3", "not a function")])
def test_a_function_that_cannot_be_called_with_a_list_is_refused(place: Place, handler: str, words: str) -> None:
    place.write(handler + "\n")
    ended = place.run("run", "work.py", 1)
    assert ended.code == 2 and ended.explained(words) and not place.handled()


def test_a_program_may_run_batches_as_well(place: Place) -> None:
    place.write(THREADS + NOTHING)
    (place.folder / "program.py").write_text("""
import taskmaster
from work import get_jobs, handle_job, handle_jobs
if __name__ == "__main__":
    outcome = taskmaster.run(get_jobs, handle_jobs, batch=10, arguments={"n": 95})
    print(outcome.exit_code)
    for bad in ({"handle_job": handle_job, "batch": 3}, {"handle_job": handle_jobs, "batch": 0}):
        try:
            taskmaster.run(get_jobs, **bad)
        except taskmaster.errors.UsageError as error:
            print(error)
""")
    ended = place.python("program.py")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        "0", "--batch is for a handler that takes a list of jobs, and handle_job takes one job. Write def "
        "handle_jobs(jobs), or decorate the function with @taskmaster.handler(batch=N).",
        "A batch of 0 jobs is not possible. Give a number from 1 to 100,000."]
    assert handled(place) == dict.fromkeys(numbers(95), 1) and max(calls(place)) == 10
