"""--retry-failed: the jobs in the failures file run again, by the same command, and leave it when they succeed."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from helpers import Place, wait_until

FLAKY = """
import time

def get_jobs(last=0):
    yield from range(last, 400)

def handle_job(n):
    if n % 20 == 3 and not os.path.exists("keys-fixed"):
        raise KeyError(n)
    if n % 20 == 4 and not os.path.exists("values-fixed"):
        raise ValueError(n)
    if os.path.exists("slow"):
        time.sleep(0.2)
    record(n)
    return n
"""
COMMAND = ("run", "work.py", 2, "--attempts", 1, "--max-failures", "none", "--summary", "summary.json")


@pytest.fixture
def failed(place: Place) -> Place:
    """A run of 400 jobs has ended; 20 of them have failed with a KeyError, and 20 with a ValueError."""
    place.write(FLAKY)
    first = place.run(*COMMAND)
    assert first.code == 3 and "retry with:" in first.err and "--retry-failed\n" in first.err, first.err
    assert Counter(one["error"] for one in place.failures()) == {"KeyError": 20, "ValueError": 20}
    return place


def fix(place: Place, what: str) -> None:
    (place.folder / f"{what}-fixed").touch()


def test_what_succeeds_leaves_the_file_and_what_fails_again_is_renewed(failed: Place) -> None:
    fix(failed, "keys")
    again = failed.run(*COMMAND, "--retry-failed")
    assert again.code == 3 and failed.summary()["run_settled"] == 40, again.err
    assert {(one["error"], one["rounds"]) for one in failed.failures()} == {("ValueError", 2)}
    fix(failed, "values")
    last = failed.run(*COMMAND, "--retry-failed")
    assert last.code == 0 and failed.failures() == [] and failed.summary()["finished"], last.err
    assert failed.handled() == Counter(map(str, range(400))), "each job once"
    assert failed.run(*COMMAND).code == 0


@pytest.mark.parametrize("options, left", [
    (["--where", "error=KeyError"], {"ValueError": 20}),
    (["--offsets", "0-199"], {"KeyError": 10, "ValueError": 10}),
    (["--where", "error=ValueError", "--offsets", "4,24,43"], {"KeyError": 20, "ValueError": 18}),
    (["--where", "kind=timeout"], {"KeyError": 20, "ValueError": 20}),
])
def test_only_those_that_were_chosen_run_again(failed: Place, options: list[str], left: dict[str, int]) -> None:
    fix(failed, "keys")
    fix(failed, "values")
    for command in ((*COMMAND, "--retry-failed", *options), COMMAND):  # the next ordinary run leaves the others alone
        assert failed.run(*command).code == 3
        assert Counter(one["error"] for one in failed.failures()) == left
        assert {one["rounds"] for one in failed.failures()} == {1}
    assert failed.run(*COMMAND, "--retry-failed").code == 0 and failed.failures() == []


@pytest.mark.parametrize("then", [["--retry-failed"], []], ids=["with --retry-failed", "without"])
def test_killed_midway_it_continues_with_the_same_command_and_without_the_option(failed: Place,
                                                                                 then: list[str]) -> None:
    for what in ("keys", "values"):
        fix(failed, what)
    (failed.folder / "slow").touch()
    before = len(failed.handled())
    running = failed.start(*COMMAND, "--retry-failed", "--concurrency", 1)
    assert wait_until(lambda: len(failed.handled()) > before + 20)
    running.kill_group()
    (failed.folder / "slow").unlink()
    last = failed.run(*COMMAND, *then)
    assert last.code == 0 and failed.failures() == [], last.err
    assert set(failed.handled()) == set(map(str, range(400)))
    assert failed.summary()["run_settled"] < 40, "what was handled before the kill does not run again"


def test_a_run_that_is_not_over_retries_and_is_resumed_by_the_ordinary_command(place: Place) -> None:
    place.write(FLAKY)
    assert place.run(*COMMAND, "--limit", 100).code == 3
    fix(place, "keys")
    fix(place, "values")
    again = place.run(*COMMAND, "--retry-failed", "--where", "error=KeyError", "--where=error=ValueError")
    assert again.code == 0 and len(place.handled()) == 100 and place.failures() == [], again.err
    assert not place.summary()["finished"] and "--retry" not in place.summary()["resume"], place.summary()
    assert "--where" not in place.summary()["resume"]
    assert place.run(*COMMAND).code == 0 and len(place.handled()) == 400


def test_results_of_jobs_that_succeed_at_last_are_added(place: Place) -> None:
    place.write(FLAKY)
    command = (*COMMAND, "--results", "results.jsonl")
    assert place.run(*command).code == 3
    fix(place, "keys")
    fix(place, "values")
    assert place.run(*command, "--retry-failed").code == 0
    lines = [json.loads(line) for line in (place.folder / "results.jsonl").read_text().splitlines()]
    assert sorted(line["result"] for line in lines) == list(range(400))


@pytest.mark.parametrize("options, words", [
    (["--retry-failed"], "There is nothing to retry"),
    (["--where", "error=KeyError"], "Add --retry-failed"),
    (["--retry-failed", "--reset"], "takes neither --reset nor --limit"),
    (["--retry-failed", "--offsets", "x"], "'x' is neither an offset nor a range"),
])
def test_nonsense_is_refused(place: Place, options: list[str], words: str) -> None:
    place.write(FLAKY)
    ended = place.run("run", "work.py", 1, *options)
    assert (ended.code, ended.tracebacks) == (2, 0) and words in ended.err, ended.err
