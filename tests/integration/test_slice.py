"""A slice is run by one thread while another watches it and takes from it: no job is run twice, none forgotten."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from taskmaster import defaults
from taskmaster.core.runs import Run
from taskmaster.slave.failed_attempt import failed_attempt, timed_out_attempt
from taskmaster.slave.pools.base import Execution, RunningJob
from taskmaster.slave.pools.sequential import SequentialExecution
from taskmaster.slave.slice import Slice


def nothing(job: Any) -> None:
    """A handler."""


def execution(first: int, jobs: int, attempt: int = 1) -> SequentialExecution:
    return SequentialExecution(Slice(1, first, attempt, list(range(jobs))), 0.0)


def settled(work: Execution) -> list[Run]:
    return list(work.look(0.0).settled)


def test_a_part_of_a_slice_has_its_own_jobs() -> None:
    work = Slice(1, 100, 3, list("abcde"))
    assert work.part(101, 2) == Slice(1, 101, 3, ["b", "c"])
    assert work.part(100, 5) is work


def test_a_slice_that_ran_is_settled_as_one_run() -> None:
    work = execution(100, 5)
    work.run(nothing, lambda: 3.0)
    progress = work.look(9.0)
    assert (progress.settled, progress.failed, progress.running) == ([(100, 5)], [], [])
    assert (progress.ended, progress.seconds) == (5, 3.0)
    assert work.look(9.0).ended == 0, "reported twice"


def test_a_slice_that_was_looked_at_counts_what_came_after() -> None:
    """Else the end of a slice whose first thousand jobs were quick says nothing of those that were slow."""
    looks = []

    def handler(job: int) -> None:
        if job == 2:
            looks.append(work.look(2.0))

    work = execution(100, 5)
    work.run(handler, lambda: 4.0)
    [first] = looks
    assert (first.ended, first.seconds, first.running) == (2, 2.0, [RunningJob(102, 2.0)])
    last = work.look(9.0)
    assert (last.ended, last.seconds, last.settled) == (3, 2.0, [(102, 3)])


def test_a_job_that_runs_on_is_known_since_when() -> None:
    seen = []

    def handler(job: int) -> None:
        if job == 1:
            seen.extend(work.look(now) for now in (1.0, 2.0, 3.5))

    work = execution(100, 2)
    work.run(handler, lambda: 4.0)
    assert [progress.running for progress in seen] == 3 * [[RunningJob(101, 1.0)]]
    assert [progress.ended for progress in seen] == [1, 0, 0]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_what_a_handler_raises_is_the_failure_of_its_job_alone(error: type[BaseException]) -> None:
    def handler(job: int) -> None:
        if job == 2:
            raise error("on purpose")

    work = execution(100, 5, attempt=3)
    work.run(handler, time.monotonic)
    progress = work.look(0.0)
    [failed] = progress.failed
    assert progress.settled == [(100, 2), (103, 2)] and progress.ended == 5
    assert (failed.offset, failed.attempt, failed.error, failed.message) == (102, 3, error.__name__, "on purpose")
    assert "in handler" in failed.traceback and "slave/pools" not in failed.traceback


def test_an_error_without_a_text_of_its_own_still_counts() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert "RuntimeError" in failed_attempt(1, 1, Mute()).message


def test_long_texts_are_cut() -> None:
    failed = failed_attempt(1, 1, ValueError("x" * 5_000_000))
    assert len(failed.message) == defaults.FAILURE_MESSAGE_CHARACTERS
    assert len(failed.traceback) == defaults.FAILURE_TRACEBACK_CHARACTERS
    hung = timed_out_attempt(1, 1, 2.0, "x" * 100_000 + "the end")
    assert hung.traceback.endswith("the end") and len(hung.traceback) == defaults.FAILURE_TRACEBACK_CHARACTERS


def test_the_running_job_is_neither_settled_nor_taken_back() -> None:
    at, go = threading.Event(), threading.Event()

    def handler(job: int) -> None:
        if job == 2:
            at.set()
            go.wait(10)

    work = execution(0, 5)
    thread = threading.Thread(target=work.run, args=(handler, time.monotonic))
    thread.start()
    assert at.wait(10)
    assert (work.started, work.unstarted) == (3, 2)
    progress = work.look(5.0)
    assert (progress.settled, [job.offset for job in progress.running]) == ([(0, 2)], [2])
    assert work.take_back() == Slice(1, 3, 1, [3, 4]) and work.take_back() is None
    go.set()
    thread.join()
    assert (work.count, settled(work)) == (3, [(2, 1)])


def test_each_job_is_run_or_taken_back_never_both() -> None:
    for _ in range(200):
        ran: list[int] = []
        work = execution(0, 300)
        thread = threading.Thread(target=work.run, args=(ran.append, time.monotonic))
        thread.start()
        runs = settled(work)
        back = work.take_back()
        thread.join()
        runs += settled(work)
        assert ran + (back.payloads if back else []) == list(range(300))
        assert sum(count for _, count in runs) == len(ran) == work.count
