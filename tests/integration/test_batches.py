"""Handlers that take a list of jobs, in every kind of pool: what raises is halved until it stands alone."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from math import log2
from typing import Any

import gevent
import pytest

from taskmaster import GiveUp, Retry, current_job, current_jobs
from taskmaster.core.wire import NEVER
from taskmaster.handlers import handler
from taskmaster.slave.failed_attempt import timed_out_attempt
from taskmaster.slave.job_batch import JobBatch
from taskmaster.slave.pools.base import Pool, Progress
from taskmaster.slave.pools.batches import BatchExecution
from taskmaster.slave.pools.make import make_pool
from taskmaster.slave.slice import Slice
from taskmaster.targets.pool_choice import ASYNCIO, GREENLETS, POOLS, THREADS, PoolChoice

SECONDS = 20.0
STEP = 0.002


def until(fact: Callable[[], Any]) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + SECONDS
    while not fact() and time.monotonic() < end:
        time.sleep(STEP)
    return bool(fact())


class Bench:
    """A handler that does the same in each kind of pool: it waits for a gate, in the way of its kind, and acts."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.open: Callable[[list[Any]], bool] = lambda jobs: True  # whether a call may end
        self.act: Callable[[list[Any]], Any] = lambda jobs: None  # what it does then
        self.calls: list[list[Any]] = []
        self.pools: list[Pool] = []

    def pool(self, slots: int = 1, **settings: Any) -> Pool:
        def in_threads(jobs: list[Any]) -> Any:
            return self._wait_and_act(time.sleep, jobs)

        def in_greenlets(jobs: list[Any]) -> Any:
            return self._wait_and_act(gevent.sleep, jobs)

        async def in_tasks(jobs: list[Any]) -> Any:
            self.calls.append(list(jobs))
            while not self.open(jobs):
                await asyncio.sleep(STEP)
            return self.act(jobs)

        function = {THREADS: in_threads, ASYNCIO: in_tasks, GREENLETS: in_greenlets}[self.kind]
        pool = make_pool(PoolChoice(self.kind, slots), handler(**settings)(function), time.monotonic, lambda: None)
        self.pools.append(pool)
        return pool

    def _wait_and_act(self, sleep: Callable[[float], Any], jobs: list[Any]) -> Any:
        self.calls.append(list(jobs))
        while not self.open(jobs):
            sleep(STEP)
        return self.act(jobs)


@pytest.fixture(params=POOLS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    bench.open = lambda jobs: True
    for pool in bench.pools:
        pool.close()
        assert until(lambda: not pool.running())


def batch(*slices: tuple[int, int], attempt: int = 1, results: bool = False) -> JobBatch:
    """Jobs that are their offsets."""
    return JobBatch(tuple(Slice(1, first, attempt, list(range(first, first + count)), results=results)
                          for first, count in slices))


def ends(pool: Pool) -> list[Progress]:
    """What became of all that it runs."""
    found: list[Progress] = []

    def collect() -> bool:
        running, ended = list(pool.running()), list(pool.ended())
        found.extend(one.look(time.monotonic()) for one in [*running, *ended])
        return pool.waiting == 0 and not running and not ended and not pool.running() and not pool.ended()

    assert until(collect)
    return found


def settled(looks: list[Progress]) -> list[int]:
    return sorted(offset for one in looks for first, count in one.settled for offset in range(first, first + count))


def failed(looks: list[Progress]) -> dict[int, Any]:
    found = [failure for one in looks for failure in one.failed]
    assert len({one.offset for one in found}) == len(found), "one failed twice"
    return {one.offset: one for one in found}


def raise_for(*bad: int, error: Callable[[], BaseException] = lambda: ValueError("bad row")) -> Callable[..., None]:
    def act(jobs: list[int]) -> None:
        if not set(bad).isdisjoint(jobs):
            raise error()
    return act


def test_one_bad_row_in_1024_costs_one_failure_and_at_most_21_further_calls(bench: Bench) -> None:
    bench.act = raise_for(700)
    pool = bench.pool()
    pool.put(batch((0, 1024)))
    looks = ends(pool)
    assert settled(looks) == [at for at in range(1024) if at != 700]
    [(offset, failure)] = failed(looks).items()
    assert (offset, failure.attempt, failure.error, failure.message) == (700, 1, "ValueError", "bad row")
    assert "in act" in failure.traceback and "slave/pools" not in failure.traceback
    assert len(bench.calls) - 1 <= 2 * log2(1024) + 1
    assert bench.calls[0] == list(range(1024)) and [700] in bench.calls


def test_jobs_of_several_leases_share_a_call(bench: Bench) -> None:
    bench.act = raise_for(21)
    pool = bench.pool()
    pool.put(batch((0, 2), (20, 3), (7, 1)))
    looks = ends(pool)
    assert bench.calls[0] == [0, 1, 20, 21, 22, 7]
    assert settled(looks) == [0, 1, 7, 20, 22] and list(failed(looks)) == [21]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, asyncio.CancelledError])
def test_whatever_is_raised_is_the_failure_of_its_job_alone(bench: Bench, error: type[BaseException]) -> None:
    bench.act = raise_for(3, 4, 17, error=error)
    pool = bench.pool(2)
    for first in range(0, 40, 10):
        pool.put(batch((first, 10), attempt=2))
    looks = ends(pool)
    found = {offset: (one.attempt, one.error.rpartition(".")[2]) for offset, one in failed(looks).items()}
    assert found == dict.fromkeys((3, 4, 17), (2, error.__name__))
    assert settled(looks) == sorted(set(range(40)) - {3, 4, 17})


def test_as_many_calls_run_at_once_as_it_has_slots_and_a_look_names_all_their_jobs(bench: Bench) -> None:
    bench.open = lambda jobs: False
    pool = bench.pool(2)
    for first in (0, 10, 20):
        pool.put(batch((first, 4)))
    assert until(lambda: len(bench.calls) == 2) and pool.idle == 0 and pool.waiting == 1
    running = [job for one in pool.running() for job in one.look(time.monotonic()).running]
    assert sorted((job.offset, *job.others) for job in running) == [(0, 1, 2, 3), (10, 11, 12, 13)]
    assert [one.slices[0].first for one in pool.take_back()] == [20]
    assert all("sleep" in pool.stack_of(one, job.offset) for one in pool.running() for job in one.look(0.0).running)


def test_what_waits_for_a_call_in_halves_can_be_taken_back(bench: Bench) -> None:
    bench.open = lambda jobs: len(jobs) != 4
    bench.act = raise_for(1)
    pool = bench.pool()
    pool.put(batch((0, 5), (30, 3)))
    assert until(lambda: len(bench.calls) == 2)
    [running] = pool.running()
    assert running.unstarted == 0, "a look moves none of it to other slots"
    rest = running.take_back()
    assert rest is not None and [(one.first, one.payloads) for one in rest.slices] == [(4, [4]), (30, [30, 31, 32])]
    assert running.count == 4 and running.take_back() is None
    bench.open = lambda jobs: True
    looks = ends(pool)
    assert settled(looks) == [0, 2, 3] and list(failed(looks)) == [1]


def test_a_call_has_a_list_of_its_own(bench: Bench) -> None:
    """One that empties its list must not lose jobs when it raises."""
    def act(jobs: list[int]) -> None:
        seen = sorted(jobs)
        jobs.clear()
        if 2 in seen:
            raise ValueError

    bench.act = act
    pool = bench.pool()
    pool.put(batch((0, 4)))
    looks = ends(pool)
    assert settled(looks) == [0, 1, 3] and list(failed(looks)) == [2]


def test_sealed_jobs_are_opened_and_those_that_cannot_be_are_in_no_call(bench: Bench) -> None:
    pool = bench.pool()
    parts = [pickle.dumps(0), b"no pickle", pickle.dumps(2)]
    pool.put(JobBatch((Slice(1, 5, 1, parts, sealed=True), Slice(1, 20, 1, ["plain"]))))
    looks = ends(pool)
    assert bench.calls == [[0], [2, "plain"]]
    assert settled(looks) == [5, 7, 20]
    assert {at: (one.kind, one.error) for at, one in failed(looks).items()} == {6: ("undecodable", "UnpicklingError")}


def lines(looks: list[Progress]) -> dict[int, Any]:
    """The results by offset."""
    found = {}
    for look in looks:
        for (first, count), text in zip(look.settled, look.results, strict=True):
            values = [json.loads(line) for line in text.splitlines()]
            found.update(zip(range(first, first + count), values, strict=True))
    return found


def test_each_job_has_its_own_result(bench: Bench) -> None:
    bench.act = lambda jobs: [object() if job == 21 else {"twice": 2 * job} for job in jobs]
    pool = bench.pool()
    pool.put(batch((0, 3), (20, 4), results=True))
    looks = ends(pool)
    assert lines(looks) == {job: {"twice": 2 * job} for job in (0, 1, 2, 20, 22, 23)}
    assert len(bench.calls) == 1, "all were done: what JSON cannot hold is no reason to call again"
    assert "no form for it" in failed(looks)[21].message


def test_a_handler_that_returns_nothing_has_nothing_for_each_job(bench: Bench) -> None:
    pool = bench.pool()
    pool.put(batch((0, 3), results=True))
    assert lines(ends(pool)) == dict.fromkeys(range(3))


@pytest.mark.parametrize("result, words", [
    (lambda jobs: [job for job in jobs if job != 2], "0 results for 1 job"),
    (lambda jobs: {2: 1} if 2 in jobs else [0] * len(jobs), "a dict for 1 job"),
    (lambda jobs: [0] * (len(jobs) + (2 in jobs)), "2 results for 1 job"),
])
def test_results_that_are_not_one_for_each_job_are_a_failure_that_says_how_many(
        bench: Bench, result: Callable[[list[int]], Any], words: str) -> None:
    bench.act = result
    pool = bench.pool()
    pool.put(batch((0, 4), results=True))
    looks = ends(pool)
    assert {at: one.error.rpartition(".")[2] for at, one in failed(looks).items()} == {2: "WrongResults"}
    assert words in failed(looks)[2].message and list(lines(looks)) == [0, 1, 3]


def test_what_nobody_asked_for_may_be_anything(bench: Bench) -> None:
    bench.act = lambda jobs: len(jobs)
    pool = bench.pool()
    pool.put(batch((0, 4)))
    assert settled(ends(pool)) == [0, 1, 2, 3]


def test_retry_is_for_all_jobs_of_the_call_at_once(bench: Bench) -> None:
    """The service is down: asking it for each job by itself would not help."""
    bench.act = raise_for(2, error=lambda: Retry("busy", after=7.0))
    pool = bench.pool()
    pool.put(batch((0, 4)))
    found = failed(ends(pool))
    assert len(bench.calls) == 1 and {at: one.retry_ms for at, one in found.items()} == dict.fromkeys(range(4), 7000)


def test_give_up_is_for_the_job_alone(bench: Bench) -> None:
    bench.act = raise_for(2, error=lambda: GiveUp("no such customer"))
    pool = bench.pool()
    pool.put(batch((0, 4)))
    looks = ends(pool)
    assert {at: one.retry_ms for at, one in failed(looks).items()} == {2: NEVER} and settled(looks) == [0, 1, 3]


def test_settings_count_for_the_job_alone(bench: Bench) -> None:
    bench.act = raise_for(2, 3)
    pool = bench.pool(give_up_on=ValueError, attempts=5)
    pool.put(batch((0, 4)))
    assert {at: (one.retry_ms, one.attempts) for at, one in failed(ends(pool)).items()} == dict.fromkeys(
        (2, 3), (NEVER, 5))


def test_a_handler_can_ask_which_jobs_it_was_called_for(bench: Bench) -> None:
    found: list[list[tuple[int, int, str]]] = []

    def act(jobs: list[Any]) -> None:
        found.append([(one.offset, one.attempt, one.token) for one in current_jobs()])
        with pytest.raises(LookupError, match=r"Use current_jobs\(\)"):
            current_job()
        raise_for(20)(jobs)

    bench.act = act
    pool = bench.pool()
    pool.put(batch((3, 2), (20, 1), attempt=2))
    ends(pool)
    assert [[job[:2] for job in call] for call in found] == [
        [(3, 2), (4, 2), (20, 2)], [(3, 2), (4, 2)], [(20, 2)]]
    assert len({token for call in found for _, _, token in call}) == 3 and found[0][2] == found[2][0]


def test_a_handler_of_single_jobs_may_ask_for_the_list(bench: Bench) -> None:
    found = []
    bench.act = lambda jobs: found.append([job.offset for job in current_jobs()])
    pool = bench.pool()
    pool.put(Slice(1, 7, 1, ["a", "b"]))
    ends(pool)
    assert sorted(found) == [[7], [8]]
    with pytest.raises(LookupError, match="where no handler runs"):
        current_jobs()


def test_thousands_of_batches_settle_each_job_once_while_slots_change_and_batches_are_taken_back(bench: Bench) -> None:
    bench.act = lambda jobs: raise_for(*range(0, 20_000, 97))(jobs)
    pool = bench.pool(2)
    looks: list[Progress] = []
    for step in range(500):
        pool.put(batch((40 * step, 25), (40 * step + 25, 15)))
        pool.resize(1 + step % 7)
        if step % 3 == 0:
            for work in pool.take_back():
                pool.put(work)
        for execution in pool.running():
            rest = execution.take_back()
            if rest is not None:
                pool.put(rest)
        looks += [one.look(time.monotonic()) for one in pool.ended()]
    looks += ends(pool)
    assert list(failed(looks)) and sorted(failed(looks)) == list(range(0, 20_000, 97))
    assert settled(looks) == [at for at in range(20_000) if at % 97]


@pytest.mark.parametrize("bench", [ASYNCIO, GREENLETS], indirect=True)
def test_a_call_that_timed_out_is_ended_and_goes_on_in_halves(bench: Bench) -> None:
    bench.open = lambda jobs: 2 not in jobs
    pool = bench.pool()
    pool.put(batch((0, 4)))
    looks: list[Progress] = []
    for size in (4, 2, 1):
        assert until(lambda: bench.calls and len(bench.calls[-1]) == size and 2 in bench.calls[-1])
        [running] = pool.running()
        looks.append(running.look(time.monotonic()))
        [job] = looks[-1].running
        assert 2 in (job.offset, *job.others) and "in_" in pool.stack_of(running, job.offset)
        assert pool.cancel(running, timed_out_attempt(job.offset, 1, 5.0, ""))
    looks += ends(pool)
    assert settled(looks) == [0, 1, 3] and {at: one.kind for at, one in failed(looks).items()} == {2: "timeout"}
    assert bench.calls == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]


@pytest.mark.parametrize("bench", [ASYNCIO, GREENLETS], indirect=True)
def test_a_call_that_ignores_its_cancellation_is_to_blame(bench: Bench) -> None:
    stop = threading.Event()

    async def deaf(jobs: list[int]) -> None:
        while not stop.is_set():
            try:
                await asyncio.sleep(STEP)
            except asyncio.CancelledError:
                pass

    def deaf_too(jobs: list[int]) -> None:
        while not stop.is_set():
            try:
                gevent.sleep(STEP)
            except BaseException:
                pass

    pool = make_pool(PoolChoice(bench.kind, 1), deaf if bench.kind == ASYNCIO else deaf_too, time.monotonic,
                     lambda: None)
    pool.put(batch((0, 2)))
    assert until(lambda: pool.running() and pool.idle == 0)
    [running] = pool.running()
    pool.cancel(running, timed_out_attempt(0, 1, 5.0, ""))
    assert until(lambda: running.has_timed_out(0)) and pool.is_to_blame(running, 0)  # type: ignore[attr-defined]
    stop.set()
    assert settled(ends(pool)) == [0, 1], "it returned too late, and was called again with halves"
    pool.close()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """A collection in the thread would call what others have hung up there, such as hypothesis, and be interrupted."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_exceptions_raised_into_its_threads_lose_no_job() -> None:
    """As timeouts for functions raise them: late, so that they hit whatever the thread is doing by then."""
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    bench, ran = Bench(THREADS), Counter[int]()
    bench.act = ran.update
    pool = bench.pool(2)
    idents: list[int] = []
    for first in range(0, 20_000, 20):
        pool.put(batch((first, 12), (first + 12, 8)))
        idents = list(pool._running) or idents  # type: ignore[attr-defined]
        for ident in idents[:1]:
            raise_in(ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt))
    looks = ends(pool)
    assert sorted([*settled(looks), *failed(looks)]) == list(range(20_000))
    assert set(settled(looks)) <= set(ran) and pool.idle == 2
    pool.close()


def test_a_batch_that_is_taken_back_before_it_is_open_is_taken_whole() -> None:
    work = BatchExecution(batch((0, 3), (9, 1)))
    rest = work.take_back()
    assert rest is not None and rest.count == 4 and work.count == 0
    work.run(lambda jobs: pytest.fail("it was called"), time.monotonic)
    assert work.look(0.0).ended == 0 and work.over


def test_what_a_call_took_counts_for_each_of_its_jobs() -> None:
    """As if each had a slot of its own: what a raised call took is its jobs' time as well."""
    work = BatchExecution(batch((0, 4)))
    times = iter([0.0, 1.0, 1.0, 3.0, 3.0, 3.5, 3.5, 4.0, 4.0, 5.0, 9.0])
    work.run(raise_for(3), lambda: next(times))
    look = work.look(9.0)
    assert look.ended == 4 and look.seconds == 4 * 1.0 + 2 * 2.0 + 2 * 0.5 + 0.5 + 1.0
