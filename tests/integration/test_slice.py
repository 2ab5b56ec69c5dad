"""A slice is run by one thread while another watches it and takes from it: no job is run twice, none forgotten."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

from taskmaster.slave.pools.threads import Pool
from taskmaster.slave.slice import Slice, failure_of


def nothing(job: Any) -> None:
    """A handler."""


def test_a_slice_that_ran_is_settled_as_one_run() -> None:
    work = Slice(1, 100, 1, list(range(5)))
    work.run(nothing, time.monotonic)
    assert work.harvest() == ([(100, 5)], [])
    assert work.harvest() == ([], []), "told twice"


def test_a_slice_that_was_looked_at_counts_what_came_after() -> None:
    """Else the end of a slice whose first thousand jobs were quick says nothing of those that were slow."""
    times = iter([1.0, 4.0])
    work = Slice(1, 100, 1, list(range(5)))
    work.run(nothing, lambda: next(times))
    assert work.unseen() == (5, 3.0)
    work.seen, work.seen_at = 3, 2.0  # two were done, the third was running
    assert work.unseen() == (3, 2.0)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_what_a_handler_raises_is_the_failure_of_its_job_alone(error: type[BaseException]) -> None:
    def handler(job: int) -> None:
        if job == 2:
            raise error("on purpose")

    work = Slice(1, 100, 3, list(range(5)))
    work.run(handler, time.monotonic)
    runs, [failed] = work.harvest()
    assert runs == [(100, 2), (103, 2)]
    assert (failed.offset, failed.attempt, failed.error, failed.message) == (102, 3, error.__name__, "on purpose")
    assert "in handler" in failed.traceback and "slave/slice.py" not in failed.traceback


def test_an_error_without_a_text_of_its_own_still_counts() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert "RuntimeError" in failure_of(1, 1, Mute()).message


def test_a_long_message_is_cut() -> None:
    failed = failure_of(1, 1, ValueError("x" * 5_000_000))
    assert len(failed.message) + len(failed.traceback) < 20_000


def test_the_running_job_is_neither_settled_nor_taken_back() -> None:
    at, go = threading.Event(), threading.Event()

    def handler(job: int) -> None:
        if job == 2:
            at.set()
            go.wait(10)

    work = Slice(1, 0, 1, list(range(5)))
    thread = threading.Thread(target=work.run, args=(handler, time.monotonic))
    thread.start()
    assert at.wait(10)
    assert (work.started, work.current) == (3, 2)
    assert work.harvest() == ([(0, 2)], [])
    assert work.take_back() == [3, 4]
    go.set()
    thread.join()
    assert (work.count, work.harvest()) == (3, ([(2, 1)], []))


def test_each_job_is_run_or_taken_back_never_both() -> None:
    for _ in range(200):
        ran: list[int] = []
        work = Slice(1, 0, 1, list(range(300)))
        thread = threading.Thread(target=work.run, args=(ran.append, time.monotonic))
        thread.start()
        settled = work.harvest()[0]
        back = work.take_back()
        thread.join()
        settled += work.harvest()[0]
        assert ran + back == list(range(300))
        assert sum(count for _, count in settled) == len(ran) == work.count


def test_a_pool_runs_what_it_is_given_and_gives_back_what_it_has_not_begun() -> None:
    ran: Counter[int] = Counter()
    begun, go, woken = threading.Event(), threading.Event(), threading.Semaphore(0)

    def handler(job: int) -> None:
        ran[job] += 1
        begun.set()
        go.wait(10)

    pool = Pool(handler, 1, time.monotonic, woken.release)
    pool.put(Slice(1, 0, 1, [0]))
    pool.put(Slice(1, 1, 1, [1, 2]))
    assert begun.wait(10)
    assert [work.first for work in pool.running()] == [0]
    assert "go.wait(10)" in pool.stack_of(pool.running()[0])
    assert [work.first for work in pool.take_back()] == [1]
    go.set()
    assert woken.acquire(timeout=10)
    assert [work.first for work in pool.ended()] == [0]
    pool.close()
    assert ran == {0: 1}


def test_a_pool_wakes_at_the_end_of_a_slice_when_so_few_wait() -> None:
    begun, go, woken = threading.Semaphore(0), threading.Semaphore(0), threading.Semaphore(0)

    def handler(job: int) -> None:
        begun.release()
        go.acquire(timeout=10)

    pool = Pool(handler, 1, time.monotonic, woken.release)
    pool.awaited = 0
    for first in range(2):
        pool.put(Slice(1, first, 1, [first]))
    assert begun.acquire(timeout=10)
    go.release()
    assert begun.acquire(timeout=10)  # the thread is at the second, so it is done with the first
    assert not woken.acquire(blocking=False) and [work.first for work in pool.ended()] == [0]
    go.release()
    assert woken.acquire(timeout=10) and [work.first for work in pool.ended()] == [1]
    pool.awaited = -1
    pool.put(Slice(1, 2, 1, [2]))
    go.release()
    pool.close()
    pool._pool.join()
    assert not woken.acquire(blocking=False) and [work.first for work in pool.ended()] == [2]
