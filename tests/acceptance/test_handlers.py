"""Handlers of each kind under the real commands: what they fail at, how they end, how they are stopped."""

from __future__ import annotations

import json
import signal

import pytest
from helpers import Place, numbers, wait_until

ASYNC = """
import asyncio
async def handle_job(job):
    await asyncio.sleep(0.01)
    await step(job)
    record(job)
"""
GREENLETS = """
import asyncio
from gevent import monkey
def handle_job(job):
    time.sleep(0.01)
    try:
        step(job).send(None)
    except StopIteration:
        pass
    record(job)
"""
KINDS = pytest.mark.parametrize("handler, options", [
    (ASYNC, ()), (GREENLETS, ("--pool", "greenlets")), (GREENLETS, ("--pool", "threads"))],
    ids=["asyncio", "greenlets", "threads"])
NOTHING = "async def step(job): pass\n"


@KINDS
def test_each_job_is_handled_and_those_that_raise_are_failures(place: Place, handler: str,
                                                               options: tuple[str, ...]) -> None:
    place.write(handler + """
async def step(job):
    if job in (7, 70):
        raise SystemExit("no")
    if job == 77:
        raise KeyboardInterrupt
""")
    ended = place.run("run", "work.py", 2, "n=500", "--attempts", 2, *options)
    assert ended.code == 3 and place.handled() == dict.fromkeys(numbers(500) - {"7", "70", "77"}, 1)
    assert sorted((one["offset"], one["attempts"], one["error"]) for one in place.failures()) == [
        (7, 2, "SystemExit"), (70, 2, "SystemExit"), (77, 2, "KeyboardInterrupt")]


@KINDS
def test_an_interrupt_finishes_what_runs_and_the_same_command_resumes(place: Place, handler: str,
                                                                      options: tuple[str, ...]) -> None:
    place.write(handler + NOTHING)
    run = place.start("run", "work.py", 2, "n=3000", *options)
    assert wait_until(lambda: len(place.handled()) > 100)
    run.signal(signal.SIGINT)
    assert run.end().code == 75
    assert place.run("run", "work.py", 2, "n=3000", *options).code == 0
    assert place.handled() == dict.fromkeys(numbers(3000), 1), "a drain repeats nothing"


@pytest.mark.parametrize("handler, sleep, options", [
    (ASYNC, "await asyncio.sleep(3600)", ()), (GREENLETS, "time.sleep(3600)", ("--pool", "greenlets"))],
    ids=["asyncio", "greenlets"])
def test_a_timeout_ends_the_handler_and_not_its_slave(place: Place, handler: str, sleep: str,
                                                      options: tuple[str, ...]) -> None:
    place.write(handler + f"""
async def step(job):
    if job == 42:
        try:
            {sleep}
        finally:
            record("ended")
""")
    ended = place.run("run", "work.py", 1, "n=100", "--job-timeout", 1, "--attempts", 2, "--log-level", "debug",
                      *options)
    assert ended.code == 3 and place.handled() == {**dict.fromkeys(numbers(100) - {"42"}, 1), "ended": 2}
    [failure] = place.failures()
    assert (failure["offset"], failure["kind"]) == (42, "timeout") and "sleep(3600)" in failure["traceback"]
    assert ended.err.count(" joined") == 1, "the slave was replaced"


def test_a_handler_that_keeps_the_loop_fails_alone_and_its_slave_is_replaced(place: Place) -> None:
    """The other ninety-nine jobs wait for the loop as long as it does, and are not to blame."""
    place.write(ASYNC + """
async def step(job):
    if job == 42:
        time.sleep(3600)
    await asyncio.sleep(0.2)
""")
    ended = place.run("run", "work.py", 1, "n=300", "--job-timeout", 1, "--attempts", 1)
    assert ended.code == 3
    [failure] = place.failures()
    assert (failure["offset"], failure["kind"]) == (42, "timeout") and "time.sleep(3600)" in failure["traceback"]
    assert set(place.handled()) == numbers(300) - {"42"}


def test_greenlets_are_patched_before_the_module_is_imported_and_only_in_slaves(place: Place) -> None:
    place.write("""
import socket
from gevent import monkey
record(f"patched {'slave' in ' '.join(sys.orig_argv)} {monkey.is_module_patched('socket')}")
def handle_job(job):
    pass
""")
    assert place.run("run", "work.py", 1, "n=10", "--pool", "greenlets").code == 0
    assert place.handled() == {"patched False False": 1, "patched True True": 1}


def test_an_async_handler_is_refused_by_other_pools_before_the_first_job(place: Place) -> None:
    place.write(ASYNC + NOTHING)
    ended = place.run("run", "work.py", 1, "--pool", "threads")
    assert ended.code == 2 and ended.explained("async", "--pool asyncio") and not place.handled()


DECORATED = """
from taskmaster import GiveUp, Retry, handler
begun = time.monotonic()
@handler(attempts=5, timeout=0.5, concurrency=1, give_up_on=KeyError, backoff=0.05)
def handle_job(job):
    record(job)
    if job == 1:
        raise GiveUp("why")
    if job == 2:
        raise KeyError(job)
    if job == 3:
        raise ValueError(job)
    if job == 4 and not os.path.exists("later"):
        open("later", "w").close()
        raise Retry(after=2)
    if job == 4:
        record(f"waited {time.time() - os.stat('later').st_mtime >= 2}")
    if job == 5:
        time.sleep(60)
"""


def test_the_decorator_decides_about_attempts_and_the_command_line_wins(place: Place) -> None:
    place.write(DECORATED)
    ended = place.run("run", "work.py", 1, "n=7")
    assert ended.code == 3
    assert place.handled() == {"0": 1, "1": 1, "2": 1, "3": 5, "4": 2, "5": 5, "6": 1, "waited True": 1}
    assert sorted((one["offset"], one["attempts"], one["kind"], one["error"]) for one in place.failures()) == [
        (1, 1, "raised", "GiveUp"), (2, 1, "raised", "KeyError"), (3, 5, "raised", "ValueError"),
        (5, 5, "timeout", "JobTimeout")]
    (place.folder / "handled").unlink()
    ended = place.run("run", "work.py", 1, "n=4", "--attempts", 2, "--reset")
    assert ended.code == 3 and place.handled() == {"0": 1, "1": 1, "2": 1, "3": 2}


def test_the_settings_of_a_handler_reach_a_master_that_does_not_load_it(place: Place) -> None:
    place.write("""
from taskmaster import handler
@handler(attempts=2, backoff=0.01)
def handle_job(job):
    record(job)
    1 / (job != 3)
""")
    master = place.start("master", "work.py", "n=5", "--address", "ipc://m.sock")
    assert place.run("spawn", "work.py", 1, "--address", "ipc://m.sock").code == 0
    assert master.end().code == 3 and place.handled() == {"0": 1, "1": 1, "2": 1, "3": 2, "4": 1}


def test_settings_that_make_no_sense_are_shown_before_the_first_job(place: Place) -> None:
    place.write("import taskmaster\n@taskmaster.handler(attempts=0)\ndef handle_job(job): pass\n")
    ended = place.run("run", "work.py", 1)
    assert ended.code == 2 and ended.explained("@handler(attempts=0)")


SYNC_LIFESPAN = """
from taskmaster import lifespan
@lifespan
def client():
    record(f"up {'slave' in ' '.join(sys.orig_argv)}")
    yield {"calls": 0}
    record("down")
def handle_job(job, client):
    client["calls"] += 1
    time.sleep(0.005)
    record(job)
"""
ASYNC_LIFESPAN = """
import asyncio
from taskmaster import lifespan
@lifespan
async def client():
    loop = asyncio.get_running_loop()
    record(f"up {'slave' in ' '.join(sys.orig_argv)}")
    yield loop
    await asyncio.sleep(0)
    record("down")
async def handle_job(job, loop):
    assert loop is asyncio.get_running_loop()
    await asyncio.sleep(0.005)
    record(job)
"""
LIFESPANS = pytest.mark.parametrize("handler, options", [
    (SYNC_LIFESPAN, ()), (SYNC_LIFESPAN, ("--pool", "greenlets")), (ASYNC_LIFESPAN, ())],
    ids=["threads", "greenlets", "asyncio"])


@LIFESPANS
def test_a_lifespan_is_set_up_once_in_each_slave_and_never_in_the_master(place: Place, handler: str,
                                                                         options: tuple[str, ...]) -> None:
    place.write(handler + """
def get_jobs(last=0, n: int = 100):
    for job in range(last, n):
        while job == 200 and not (os.path.exists("handled") and open("handled").read().count("up") == 2):
            time.sleep(0.01)  # the run must not end before both are there
        yield job
""")
    assert place.run("run", "work.py", 2, "n=300", *options).code == 0
    assert place.handled() == {**dict.fromkeys(numbers(300), 1), "up True": 2, "down": 2}


@LIFESPANS
def test_a_lifespan_is_torn_down_after_a_signal_too(place: Place, handler: str, options: tuple[str, ...]) -> None:
    place.write(handler)
    run = place.start("run", "work.py", 1, "n=100000", *options)
    assert wait_until(lambda: len(place.handled()) > 50)
    run.signal(signal.SIGTERM)
    assert run.end().code == 75
    assert place.handled()["up True"] == place.handled()["down"] == 1


def test_a_resource_for_each_thread_is_used_and_closed_there(place: Place) -> None:
    """sqlite3 refuses a connection that was made in another thread."""
    place.write("""
import sqlite3
from taskmaster import lifespan
@lifespan(per_thread=True)
def database():
    connection = sqlite3.connect(":memory:")
    record("up")
    yield connection
    connection.close()
    record("down")
def handle_job(job, connection):
    connection.execute("select 1")
    time.sleep(0.01)
    record(job)
""")
    ended = place.run("run", "work.py", 1, "n=200", "--concurrency", 4)
    assert ended.code == 0 and not ended.tracebacks
    assert place.handled() == {**dict.fromkeys(numbers(200), 1), "up": 4, "down": 4}


def test_a_set_up_that_fails_is_shown_once_and_ends_the_run(place: Place) -> None:
    place.write("""
from taskmaster import lifespan
@lifespan
def client():
    raise ConnectionError("no such host")
    yield
def handle_job(job, client):
    record(job)
""")
    ended = place.run("run", "work.py", 2)
    assert ended.code == 1 and not place.handled()
    assert ended.tracebacks == 1 and "raise ConnectionError" in ended.err
    assert ended.err.count("The function with @lifespan failed: ConnectionError: no such host") == 1
    slave = place.run("slave", "work.py", "--address", "ipc://m.sock")
    assert slave.code == 1 and slave.tracebacks == 1 and slave.explained("@lifespan failed: ConnectionError")


@pytest.mark.parametrize("more, words", [
    ("def handle_job(job): pass", ["what that function yields", "def handle_job(job, resource)"]),
    ("@lifespan\ndef other(): yield\ndef handle_job(job, client): pass", ["several functions with @lifespan"])])
def test_a_handler_that_does_not_fit_its_lifespan_is_refused(place: Place, more: str, words: list[str]) -> None:
    place.write(f"from taskmaster import lifespan\n@lifespan\ndef client(): yield\n{more}\n")
    ended = place.run("run", "work.py", 1)
    assert ended.code == 2 and ended.explained(*words)


@pytest.mark.parametrize("options, leak", [
    (("--max-jobs-per-slave", 200), 0), (("--lifetime", 0.1), 0), (("--max-memory", 150), 1 << 20)],
    ids=["jobs", "lifetime", "memory"])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_slaves_are_replaced_at_their_limits_and_nothing_is_repeated_or_blamed(
        place: Place, kind: str, options: tuple[object, ...], leak: int) -> None:
    place.write(f"""
kept = []
{kind} handle_job(job):
    kept.append(b"x" * {leak})
    time.sleep(0.002)
    record(job)
""")
    ended = place.run("run", "work.py", 2, "n=800", "--summary", "summary.json", "--concurrency", 4, *options)
    assert ended.code == 0 and place.handled() == dict.fromkeys(numbers(800), 1)
    assert ended.err.count(" joined") > 3 and "a limit of its own" in ended.err
    summary = place.summary()
    assert (summary["failed"], summary["retried"], summary["duplicates"]) == (0, 0, 0)
    assert " is gone" not in ended.err


@KINDS
def test_results_of_each_kind_of_handler_are_written_once_and_in_order(place: Place, handler: str,
                                                                       options: tuple[str, ...]) -> None:
    place.write(handler + "    return {'job': job}\n" + NOTHING)
    ended = place.run("run", "work.py", 2, "n=500", "--results", "out.jsonl", *options)
    assert ended.code == 0
    lines = [json.loads(line) for line in (place.folder / "out.jsonl").read_text().splitlines()]
    assert [line["result"] for line in lines] == [{"job": job} for job in range(500)]


@KINDS
def test_auto_runs_more_jobs_at_once_than_it_begins_with(place: Place, handler: str, options: tuple[str, ...]) -> None:
    """They wait for nothing that could be crowded."""
    place.write(handler.replace("sleep(0.01)", "sleep(0.1)") + NOTHING)
    ended = place.run("run", "work.py", 1, "n=3000", "--concurrency", "auto:50", "--log-level", "debug", *options)
    assert ended.code == 0 and len(place.handled()) == 3000
    assert "runs up to 50 jobs at once" in ended.err and "runs up to 51" not in ended.err


@pytest.mark.parametrize("value", ["auto:0", "auto:x", "auto:", "0", "-1", "many", "10001", "auto:10001", "1.5"])
def test_what_is_no_number_of_jobs_at_once_is_refused(place: Place, value: str) -> None:
    place.write("def handle_job(job): pass\n")
    ended = place.run("run", "work.py", 1, "--concurrency", value)
    assert ended.code == 2 and ended.explained(value, "from 1 to 10,000, or auto, or auto:MAX")


@pytest.mark.parametrize("kind, sleep", [("def", "time.sleep"), ("async def", "await asyncio.sleep")])
def test_auto_counts_calls_where_a_call_takes_several_jobs(place: Place, kind: str, sleep: str) -> None:
    place.write(f"""
import asyncio
{kind} handle_jobs(jobs):
    {sleep}(0.05)
    for job in jobs:
        record(job)
""")
    ended = place.run("run", "work.py", 1, "n=6000", "--batch", 5, "--concurrency", "auto:20", "--log-level", "debug",
                      "--size", 10000)
    assert ended.code == 0 and place.handled() == dict.fromkeys(numbers(6000), 1)
    assert "runs up to 100 jobs at once" in ended.err


def test_a_decorator_may_say_auto_and_the_command_line_wins(place: Place) -> None:
    place.write("""
import threading
from taskmaster import handler
lock, running = threading.Lock(), 0
@handler(concurrency="auto:3")
def handle_job(job):
    global running
    with lock:
        running += 1
        record(running)
    time.sleep(0.02)
    with lock:
        running -= 1
""")
    assert place.run("run", "work.py", 1, "n=100").code == 0
    assert place.handled().keys() == {"1", "2", "3"}
    assert place.run("run", "work.py", 1, "n=100", "--concurrency", 5, "--reset").code == 0
    assert place.handled().keys() == {"1", "2", "3", "4", "5"}


@pytest.mark.parametrize("pool", [[], ["--pool", "greenlets"], ["--codec", "json"]])
def test_a_handler_can_ask_for_the_cursor_of_its_job(place: Place, pool: list[str]) -> None:
    place.write("""
from taskmaster import Job, current_job

def get_jobs(last=0):
    for n in range(last, 300):
        yield Job({"n": n}, cursor=n + 1) if n % 3 else Job({"n": n}, cursor=[n, "page"]) if n % 2 else {"n": n}

def handle_job(job):
    n, cursor = job["n"], current_job().cursor
    if n == 7 and current_job().attempt == 1:
        raise ValueError("not yet")
    assert cursor == ([n, "page"] if n % 6 == 3 else n + 1), (n, cursor)
    record(n)
""")
    ended = place.run("run", "work.py", 2, *pool)
    assert ended.code == 0 and len(place.handled()) == 300, ended.err
