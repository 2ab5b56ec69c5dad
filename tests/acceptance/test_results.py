"""What the handlers return is in a file at the end: once for each job, in order, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import Place
from support.sinks import rows_of_parquet, rows_of_sqlite
from support.waiting import wait_until

from taskmaster.core.settled import Above
from taskmaster.master.state.checkpoint import parse

JOBS = 6000
WORK = """
import random
from taskmaster import Job

def get_jobs(last=None, n: int = 6000):
    for number in range(0 if last is None else last + 1, n):
        yield Job(number, cursor=number)

def handle_job(number):
    if number % 1000 == 10:
        time.sleep(0.5)
    time.sleep(0.001 * random.random())
    if number % 1000 == 77:
        raise ValueError("no")
    return {"n": number, "square": number * number, "name": f"job {number}"}
"""
GOOD = [number for number in range(JOBS) if number % 1000 != 77]


def rows_of_jsonl(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def offsets(path: Path) -> list[int]:
    """Of all results in the file, in its order."""
    if path.suffix == ".jsonl":
        return [row["offset"] for row in rows_of_jsonl(path)]
    if path.suffix == ".csv":
        return [int(line.split(",")[0]) for line in path.read_text("utf-8").splitlines()[1:]]
    return [row[0] for row in (rows_of_sqlite(path) if path.suffix == ".sqlite" else rows_of_parquet(path))]


def resume_until_done(place: Place, *arguments: object, kills: int) -> int:
    """Kill tm-run, or one of its slaves, `kills` times; returns the exit code of the run that got to its end."""
    chance = random.Random(kills)
    while True:
        run = place.start("run", "work.py", 2, f"n={JOBS}", "--attempts", 1, "--max-failures", "none", *arguments)
        while kills and run.process.poll() is None:
            time.sleep(chance.uniform(0.3, 0.9))
            kills -= 1
            slaves = run.slaves()
            if slaves and chance.random() < 0.4:
                os.kill(chance.choice(slaves), signal.SIGKILL)
            else:
                run.signal(signal.SIGKILL)
                break
        code = run.end().code
        if code != -signal.SIGKILL:
            return code


@pytest.mark.limit(120)
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.sqlite", "out.parquet"])
def test_kills_neither_lose_nor_repeat_nor_disorder_results(place: Place, name: str) -> None:
    place.write(WORK)
    assert resume_until_done(place, "--results", name, kills=6) == 3
    assert offsets(place.folder / name) == GOOD
    assert len(place.failures()) == JOBS - len(GOOD)


@pytest.mark.limit(120)
@pytest.mark.parametrize("name", ["out.jsonl", "out.sqlite"])
def test_kills_neither_lose_nor_repeat_results_without_an_order(place: Place, name: str) -> None:
    place.write(WORK)
    assert resume_until_done(place, "--results", name, "--unordered", kills=6) == 3
    assert sorted(offsets(place.folder / name)) == GOOD


BEHIND = """
def handle_job(job):
    record(job)
    while job == 5 and not os.path.exists("again"):
        time.sleep(0.05)
    time.sleep(0.0005)
    return {"n": job}
"""


def saved_above(place: Place) -> set[int]:
    """What the checkpoint says is settled above its watermark."""
    found = [parse(path.read_bytes()) for path in place.folder.rglob("checkpoint.json")]
    return {at for one in found if isinstance(one.above, Above) for first, count in one.above.runs
            for at in range(first, first + count)}


@pytest.mark.limit(120)
@pytest.mark.parametrize("name", ["out.jsonl", "out.sqlite"])
def test_kill_9_behind_a_slow_job_repeats_no_job_whose_result_a_checkpoint_has(place: Place, name: str) -> None:
    place.write(BEHIND)
    arguments = ("run", "work.py", 2, "n=40000", "--results", name)
    runs: dict[int, int] = {}  # of what a checkpoint says is settled, how often it had run by then
    for _ in range(2):  # what the first master left is kept by the second one, too
        run, before = place.start(*arguments), len(runs)
        assert wait_until(lambda: len(saved_above(place)) > before + 500, 30.0)
        run.kill_group()
        handled = place.handled()
        assert runs.keys() <= saved_above(place)
        runs = {at: runs.get(at, handled[str(at)]) for at in saved_above(place)}
    (place.folder / "again").touch()
    ended, handled = place.run(*arguments), place.handled()

    assert ended.code == 0, ended.err
    assert "settled already and do not run again" in ended.err
    assert not [at for at, times in runs.items() if handled[str(at)] != times]
    assert offsets(place.folder / name) == list(range(40_000))
    assert not list(place.folder.rglob("waiting-results-*"))


def test_a_line_says_what_the_handler_returned_and_where_to_go_on(place: Place) -> None:
    place.write(WORK)
    ended = place.run("run", "work.py", 1, "n=80", "--attempts", 1, "--results", "out.jsonl", "--results-with-failures")
    rows = rows_of_jsonl(place.folder / "out.jsonl")

    assert ended.code == 3 and len(rows) == 80
    assert rows[5] == {"offset": 5, "cursor": 5, "result": {"n": 5, "square": 25, "name": "job 5"}}
    assert rows[77]["error"]["error"] == "ValueError" and rows[77]["error"]["message"] == "no"


@pytest.mark.parametrize("name, times", [("out.jsonl", 2), ("out.sqlite", 1)])
def test_a_job_that_is_tried_again_adds_its_result(place: Place, name: str, times: int) -> None:
    """Into the table it could not be inserted, because its error was there, and the run was over for good."""
    place.write("""
def handle_job(job):
    if job == 7 and not os.path.exists("fixed"):
        raise ValueError("not yet")
    return job
""")
    arguments = ("run", "work.py", 1, "n=20", "--attempts", 1, "--results", name, "--results-with-failures")
    assert place.run(*arguments).code == 3
    assert offsets(place.folder / name) == list(range(20))
    (place.folder / "fixed").touch()
    ended = place.run(*arguments, "--retry-failed")

    assert ended.code == 0, ended.err
    assert offsets(place.folder / name).count(7) == times and len(offsets(place.folder / name)) == 19 + times


def test_what_json_cannot_hold_fails_its_job_and_says_so(place: Place) -> None:
    place.write("""
def handle_job(job):
    return object() if job == 3 else job
""")
    ended = place.run("run", "work.py", 1, "n=10", "--attempts", 1, "--results", "out.jsonl")
    [failure] = place.failures()

    assert ended.code == 3
    assert offsets(place.folder / "out.jsonl") == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert failure["offset"] == 3 and failure["error"] == "TypeError" and "object" in failure["message"]


@pytest.mark.parametrize("again, words", [
    ((), ("writes its results to", "--reset")),
    (("--results", "other.jsonl"), ("The results of this run are in", "out.jsonl", "--reset")),
])
def test_a_run_is_resumed_with_the_same_results(place: Place, again: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Without it, the results of half of the jobs would be missing from the file, unnoticed."""
    place.write(WORK)
    assert place.run("run", "work.py", 1, "n=50", "--limit", 20, "--results", "out.jsonl").code == 0
    ended = place.run("run", "work.py", 1, "n=50", *again)

    assert ended.code == 78 and ended.explained(*words), ended.err
    assert place.run("run", "work.py", 1, "n=50", "--results", "out.jsonl").code == 0
    assert offsets(place.folder / "out.jsonl") == list(range(50))


def test_results_that_are_there_already_are_not_overwritten(place: Place) -> None:
    place.write(WORK)
    (place.folder / "out.jsonl").write_text("mine\n")
    ended = place.run("run", "work.py", 1, "n=5", "--results", "out.jsonl")

    assert ended.code == 2 and ended.explained("out.jsonl"), ended.err
    assert (place.folder / "out.jsonl").read_text() == "mine\n"


@pytest.mark.parametrize("arguments, words", [
    (("--unordered",), ("Add --results FILE",)),
    (("--results", "out.txt"), ("suffix .txt is unknown", ".jsonl", ".sqlite")),
    (("--results", "nowhere/out.jsonl"), ("nowhere", "does not exist")),
])
def test_a_place_that_cannot_be_used_is_refused_at_once(place: Place, arguments: tuple[str, ...],
                                                        words: tuple[str, ...]) -> None:
    place.write(WORK)
    ended = place.run("run", "work.py", 1, *arguments)

    assert ended.code == 2 and ended.explained(*words), ended.err
    assert not place.handled()


HANDLED = """
def handle_result(job, result):
    with open("results", "a") as file:
        file.write(f"{job.offset} {result['square']}\\n")
    if job.offset == 2500 and not os.path.exists("told"):
        open("told", "w").close()
        raise ValueError("not now")
"""


def test_a_function_of_the_users_gets_each_result_in_order_and_ends_the_run_if_it_raises(place: Place) -> None:
    place.write(WORK + HANDLED)
    ended = place.run("run", "work.py", 2, "n=3000", "--attempts", 1, "--max-failures", "none")
    assert ended.code == 1 and ended.explained("handle_result raised", "job 2500", "not now"), ended.err
    assert place.run("run", "work.py", 2, "n=3000", "--attempts", 1, "--max-failures", "none").code == 3

    rows = [tuple(map(int, line.split())) for line in (place.folder / "results").read_text().splitlines()]
    assert sorted(set(rows)) == [(number, number * number) for number in GOOD if number < 3000]
    assert all(later[0] > row[0] for row, later in zip(rows, rows[1:]) if row[0] != 2500)
