"""A slice is run by one thread while another watches it and takes from it: no job is run twice, none forgotten."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
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
    assert len(failed.message) == defaults.MESSAGE_CHARACTERS
    assert len(failed.traceback) == defaults.TRACEBACK_CHARACTERS
    hung = timed_out_attempt(1, 1, 2.0, "x" * 100_000 + "the end")
    assert hung.traceback.endswith("the end") and len(hung.traceback) == defaults.TRACEBACK_CHARACTERS


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


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__qualname__", "__name__", "__module__"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


class Odd(Exception, metaclass=Nameless):
    pass


class Letters(str):
    def __getitem__(self, index: Any) -> str:
        raise SystemExit(4)


class Lettered(Exception):
    def __str__(self) -> str:
        return Letters("in letters")


@pytest.mark.parametrize("error, name", [
    (Exits(), "Exits"), (Odd("odd"), "Odd"), (SyntaxError("bad template", "abcdef"), "SyntaxError"),
    (Lettered(), "Lettered")])
def test_an_exception_that_cannot_be_shown_is_one_failed_job(error: BaseException, name: str) -> None:
    """Else it ended the thread that ran the slice, the rest of which was never reported."""
    def handler(job: int) -> None:
        if job == 1:
            raise error

    work = execution(0, 3)
    work.run(handler, time.monotonic)
    progress = work.look(0.0)
    assert [(failed.offset, failed.error) for failed in progress.failed] == [(1, name)]
    assert progress.settled == [(0, 1), (2, 1)] and "in handler" in progress.failed[0].traceback


def test_a_failure_that_there_is_no_memory_to_describe_is_recorded_all_the_same(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*what: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("taskmaster.slave.failed_attempt.message_of", full)
    frames = []

    def handler(job: int) -> None:
        try:
            raise MemoryError
        except MemoryError as error:
            frames.append(error)
            raise

    work = execution(0, 1)
    work.run(handler, time.monotonic)
    [failed] = work.look(0.0).failed
    assert (failed.offset, failed.error) == (0, "MemoryError") and "memory" in failed.message
    assert frames[0].__traceback__ is None, "the frames hold what filled the memory"


class Cycle:
    """Refers to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_a_handler_s_cycles_are_freed_if_there_is_no_memory_to_describe_its_failure(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """They filled the memory until Python happened to collect them: every step failed, for minutes."""
    def full(*what: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("taskmaster.slave.failed_attempt.message_of", full)
    hogs = []

    def handler(job: int) -> None:
        hog = Cycle()
        hogs.append(weakref.ref(hog))
        raise MemoryError

    work = execution(0, 1)
    work.run(handler, time.monotonic)
    assert hogs[0]() is None and len(work.look(0.0).failed) == 1


def test_a_slice_that_runs_on_after_a_lack_of_memory_says_what_was_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*what: Any) -> None:
        raise MemoryError

    def handler(job: int) -> None:
        raise MemoryError

    work = execution(0, 1)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(SequentialExecution, "_described", full)
        work.run(handler, time.monotonic)
    work.run(handler, time.monotonic)
    [failed] = work.look(0.0).failed
    assert (failed.error, failed.message) == ("MemoryError", "and no memory was left to describe where")


def test_a_slice_that_was_interrupted_continues_and_fails_the_job_in_doubt() -> None:
    """An exception that another thread raises in this one may arrive between two jobs, or after the last one."""
    ran: list[int] = []
    work = execution(0, 4)
    late = iter([KeyboardInterrupt, None])

    def clock() -> float:
        error = next(late)
        if error is not None:
            raise error
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        work.run(ran.append, clock)
    work.run(ran.append, clock)
    progress = work.look(1.0)
    assert ran == [0, 1, 2, 3] and progress.settled == [(0, 3)]
    assert [(failed.offset, failed.error) for failed in progress.failed] == [(3, "LateException")]


async def coroutine() -> None:
    """Does nothing."""


def generator() -> Iterator[None]:
    yield


async def both() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("make", [coroutine, generator, both])
def test_a_handler_that_returns_what_nothing_runs_has_failed(make: Callable[[], Any]) -> None:
    work = execution(0, 3)
    work.run(lambda job: make() if job == 1 else job, time.monotonic)
    progress = work.look(0.0)
    assert [(failed.offset, failed.error) for failed in progress.failed] == [(1, "NothingRan")]
    assert progress.settled == [(0, 1), (2, 1)]


def test_sealed_jobs_are_opened_where_they_run_and_fail_alone() -> None:
    ran: list[Any] = []
    parts = [pickle.dumps(0), b"no pickle", pickle.dumps(2)]
    work = SequentialExecution(Slice(1, 5, 1, parts, sealed=True), 0.0)
    work.run(ran.append, time.monotonic)
    progress = work.look(0.0)
    assert ran == [0, 2] and progress.settled == [(5, 1), (7, 1)]
    assert [(failed.offset, failed.kind, failed.error) for failed in progress.failed] == [
        (6, "undecodable", "UnpicklingError")]


def test_the_traceback_of_a_sealed_job_begins_at_the_handler() -> None:
    """The frame that opens the payload was shown as well: only one frame was cut, however many came before."""
    def handler(job: int) -> None:
        raise ValueError(job)

    work = SequentialExecution(Slice(1, 5, 1, [pickle.dumps(0)], sealed=True), 0.0)
    work.run(handler, time.monotonic)
    [failed] = work.look(0.0).failed
    assert failed.traceback.splitlines()[1].endswith("in handler")


def test_what_is_taken_back_of_a_sealed_slice_is_sealed() -> None:
    work = SequentialExecution(Slice(1, 5, 1, [b"a", b"b"], sealed=True), 0.0)
    assert work.take_back() == Slice(1, 5, 1, [b"a", b"b"], sealed=True)
    assert Slice(1, 5, 1, [b"a", b"b"], sealed=True).part(6, 1).sealed


def test_a_slice_that_is_cut_stays_sealed() -> None:
    """Cut open, its handlers got pickles for jobs."""
    assert [one.sealed for one in Slice(1, 0, 1, [b"a", b"b", b"c"], sealed=True).cut(2)] == [True, True]
