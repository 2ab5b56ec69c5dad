"""What every pool does, whatever runs the handlers: threads, an asyncio loop or greenlets."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import gevent
import pytest

from taskmaster import current_job
from taskmaster.slave.failed_attempt import timed_out_attempt
from taskmaster.slave.pools.base import Pool, Progress
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
    """Handlers that do the same in each kind of pool: they wait for a gate, in the way of their kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.open: Callable[[Any], bool] = lambda job: True  # whether a job may end
        self.act: Callable[[Any], Any] = lambda job: None  # what it does then
        self.began: Counter[Any] = Counter()
        self.ended: Counter[Any] = Counter()  # however they ended
        self.woken = threading.Semaphore(0)
        self.pools: list[Pool] = []

    def pool(self, slots: int) -> Pool:
        handlers = {THREADS: partial(self._wait_and_act, time.sleep), ASYNCIO: self._await_and_act,
                    GREENLETS: partial(self._wait_and_act, gevent.sleep)}
        pool = make_pool(PoolChoice(self.kind, slots), handlers[self.kind], time.monotonic, self.woken.release)
        self.pools.append(pool)
        return pool

    def _wait_and_act(self, sleep: Callable[[float], Any], job: Any) -> None:
        self.began[job] += 1
        try:
            while not self.open(job):
                sleep(STEP)
            self.act(job)
        finally:
            self.ended[job] += 1

    async def _await_and_act(self, job: Any) -> None:
        self.began[job] += 1
        try:
            while not self.open(job):
                await asyncio.sleep(STEP)
            self.act(job)
        finally:
            self.ended[job] += 1


@pytest.fixture(params=POOLS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    bench.open = lambda job: True
    for pool in bench.pools:
        pool.close()
        assert until(lambda: not pool.running())


def put(pool: Pool, *offsets: int) -> None:
    for offset in offsets:
        pool.put(Slice(1, offset, 1, [offset]))


def outcomes(pool: Pool, jobs: int) -> Progress:
    """What became of so many jobs, in one sum."""
    settled: list[int] = []
    failed = []

    def collect() -> bool:
        for progress in [one.look(time.monotonic()) for one in [*pool.running(), *pool.ended()]]:
            settled.extend(offset for first, count in progress.settled for offset in range(first, first + count))
            failed.extend(progress.failed)
        return len(settled) + len(failed) >= jobs

    assert until(collect), f"{len(settled)} settled, {len(failed)} failed"
    return Progress([(offset, 1) for offset in sorted(settled)], sorted(failed, key=lambda one: one.offset), 0.0, [])


def offsets(progress: Progress) -> list[int]:
    return [first for first, _ in progress.settled]


def test_it_runs_what_it_is_given_and_gives_back_what_it_has_not_begun(bench: Bench) -> None:
    bench.open = lambda job: False
    pool = bench.pool(1)
    pool.put(Slice(1, 0, 1, [0]))
    pool.put(Slice(1, 1, 1, [1, 2]))
    assert until(lambda: bench.began[0]) and (pool.idle, pool.waiting) == (0, 1)
    [running] = pool.running()
    assert [job.offset for job in running.look(0.0).running] == [0]
    assert until(lambda: "_and_act" in pool.stack_of(running, 0))
    assert pool.take_back() == [Slice(1, 1, 1, [1, 2])] and pool.waiting == 0
    bench.open = lambda job: True
    assert bench.woken.acquire(timeout=SECONDS)
    assert offsets(outcomes(pool, 1)) == [0] and pool.stack_of(running, 0) == ""
    assert until(lambda: pool.idle == 1) and bench.began == {0: 1}


def test_as_many_jobs_run_at_once_as_it_has_slots_and_the_looks_say_which(bench: Bench) -> None:
    bench.open = lambda job: False
    pool = bench.pool(3)
    put(pool, *range(5))
    assert until(lambda: len(bench.began) == 3) and pool.idle == 0 and pool.waiting == 2
    looks = [one.look(time.monotonic()) for one in pool.running()]
    assert sorted(job.offset for look in looks for job in look.running) == [0, 1, 2]
    assert sum(look.ended for look in looks) == 0
    bench.open = lambda job: job == 1
    assert until(lambda: bench.began[3]) and offsets(outcomes(pool, 1)) == [1]
    assert not bench.began[4]


def test_jobs_of_one_slice_that_wait_behind_a_slow_one_can_be_taken_back(bench: Bench) -> None:
    bench.open = lambda job: False
    pool = bench.pool(1)
    pool.put(Slice(1, 0, 1, [0, 1, 2]))
    assert until(lambda: bench.began[0])
    [running] = pool.running()
    assert (running.count, running.unstarted) == (3, 2)
    assert running.take_back() == Slice(1, 1, 1, [1, 2]) and running.take_back() is None
    bench.open = lambda job: True
    assert offsets(outcomes(pool, 1)) == [0] and until(lambda: not pool.running())
    assert running.count == 1 and bench.began == {0: 1}


class Unusual(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError,
                                   gevent.GreenletExit, Unusual])
def test_what_a_handler_raises_is_the_failure_of_its_job_alone(bench: Bench, error: type[BaseException]) -> None:
    def act(job: int) -> None:
        if job % 10 == 3:
            raise error(f"on purpose {job}")

    bench.act = act
    pool = bench.pool(4)
    pool.put(Slice(1, 0, 2, list(range(20))))
    put(pool, *range(20, 40))
    progress = outcomes(pool, 40)
    assert [(one.offset, one.attempt, one.error.rpartition(".")[2], one.message) for one in progress.failed] == [
        (job, 2 if job < 20 else 1, error.__name__, f"on purpose {job}") for job in (3, 13, 23, 33)]
    assert len(progress.settled) == 36 and set(bench.began.values()) == {1}
    assert all("in act" in one.traceback and "slave/pools" not in one.traceback for one in progress.failed)


def test_thousands_of_jobs_are_each_run_once_while_slots_change_and_slices_are_taken_back(bench: Bench) -> None:
    pool = bench.pool(2)
    firsts = iter(range(0, 20_000, 5))
    for step in range(400):
        for _ in range(10):
            first = next(firsts)
            pool.put(Slice(1, first, 1, list(range(first, first + 5))))
        pool.resize(1 + step % 7)
        if step % 3 == 0:
            for work in pool.take_back():
                pool.put(work)
        for execution in pool.running():
            rest = execution.take_back()
            if rest is not None:
                pool.put(rest)
    assert offsets(outcomes(pool, 20_000)) == list(range(20_000))
    assert set(bench.began.values()) == {1} and until(lambda: not pool.running()) and pool.waiting == 0


def test_closed_it_starts_nothing_more(bench: Bench) -> None:
    bench.open = lambda job: False
    pool = bench.pool(2)
    put(pool, 0, 1, 2, 3)
    assert until(lambda: len(bench.began) == 2)
    pool.close()
    bench.open = lambda job: True
    assert until(lambda: not pool.running())
    assert bench.began == {0: 1, 1: 1} and [work.first for work in pool.take_back()] == [2, 3]


def test_it_wakes_only_when_few_slices_wait(bench: Bench) -> None:
    bench.open = lambda job: False
    pool = bench.pool(1)
    pool.wake_below = 0
    put(pool, 0)
    assert until(lambda: bench.began[0])
    bench.open = lambda job: True
    assert offsets(outcomes(pool, 1)) == [0] and not bench.woken.acquire(blocking=False)


def test_sealed_jobs_are_opened_where_they_run_and_fail_alone(bench: Bench) -> None:
    pool = bench.pool(2)
    pool.put(Slice(1, 5, 1, [pickle.dumps(0), b"no pickle", pickle.dumps(2)], sealed=True))
    progress = outcomes(pool, 3)
    assert offsets(progress) == [5, 7] and bench.began == {0: 1, 2: 1}
    assert [(one.offset, one.kind, one.error) for one in progress.failed] == [(6, "undecodable", "UnpicklingError")]


def test_a_slice_whose_jobs_are_done_is_let_go_of(bench: Bench) -> None:
    pool = bench.pool(1)
    pool.put(Slice(1, 0, 1, [0, 1, 2]))
    outcomes(pool, 3)
    assert until(lambda: pool.idle == 1 and not pool.running()) and pool.ended() == []


def test_a_job_that_timed_out_is_cancelled_where_that_is_possible(bench: Bench) -> None:
    bench.open = lambda job: job != 1
    pool = bench.pool(3)
    put(pool, 0, 1, 2)
    assert offsets(outcomes(pool, 2)) == [0, 2]
    [running] = pool.running()
    failure = timed_out_attempt(1, 1, 5.0, pool.stack_of(running, 1))
    assert "_and_act" in failure.traceback
    if bench.kind == THREADS:
        assert not pool.cancel(running, failure) and pool.is_to_blame(running, 1)
        return
    assert pool.cancel(running, failure)
    assert outcomes(pool, 1).failed == [failure]
    assert until(lambda: bench.ended[1] and pool.idle == 3), "its finally did not run"
    put(pool, 3)
    assert offsets(outcomes(pool, 1)) == [3], "the loop runs on"


def test_a_job_that_ended_just_before_it_would_be_cancelled_has_not_failed(bench: Bench) -> None:
    pool = bench.pool(1)
    put(pool, 0)
    assert until(lambda: bench.ended[0] and not pool.running())
    [ended] = pool.ended()
    pool.cancel(ended, timed_out_attempt(0, 1, 5.0, ""))
    put(pool, 1)
    assert until(lambda: bench.ended[1])
    assert ended.look(0.0).settled == [(0, 1)]


@pytest.mark.parametrize("bench", [ASYNCIO, GREENLETS], indirect=True)
def test_of_jobs_that_do_not_end_the_one_that_keeps_the_thread_is_to_blame(bench: Bench) -> None:
    """Else one handler with a time.sleep in it would fail a hundred that wait for an answer."""
    go = threading.Event()

    def act(job: int) -> None:
        if job == 1:
            go.wait(SECONDS)

    bench.open = lambda job: job == 1
    bench.act = act
    pool = bench.pool(3)
    put(pool, 0, 2)
    assert until(lambda: len(bench.began) == 2)
    put(pool, 1)
    assert until(lambda: bench.began[1])
    running = {execution.first: execution for execution in pool.running()}  # type: ignore[attr-defined]
    for offset, execution in running.items():
        assert pool.cancel(execution, timed_out_attempt(offset, 1, 5.0, ""))
    assert until(lambda: not pool.is_to_blame(running[0], 0))
    assert [pool.is_to_blame(running[offset], offset) for offset in (0, 1, 2)] == [False, True, False]
    assert "go.wait" in pool.stack_of(running[1], 1)
    go.set()


@pytest.mark.parametrize("bench", [ASYNCIO, GREENLETS], indirect=True)
def test_a_job_that_ignores_its_cancellation_is_to_blame_and_its_end_does_not_count(bench: Bench) -> None:
    stop = threading.Event()

    async def deaf(job: int) -> None:
        while not stop.is_set():
            try:
                await asyncio.sleep(STEP)
            except asyncio.CancelledError:
                pass

    def deaf_too(job: int) -> None:
        while not stop.is_set():
            try:
                gevent.sleep(STEP)
            except BaseException:
                pass

    pool = make_pool(PoolChoice(bench.kind, 1), deaf if bench.kind == ASYNCIO else deaf_too, time.monotonic,
                     lambda: None)
    put(pool, 0)
    assert until(pool.running)
    [running] = pool.running()
    failure = timed_out_attempt(0, 1, 5.0, "")
    pool.cancel(running, failure)
    assert outcomes(pool, 1).failed == [failure] and pool.is_to_blame(running, 0)
    assert [job.offset for job in running.look(0.0).running] == [0] and pool.idle == 0
    stop.set()
    assert until(lambda: not pool.running()) and running.look(0.0).ended == 0
    pool.close()


@pytest.mark.parametrize("bench", [ASYNCIO, GREENLETS], indirect=True)
def test_an_exception_that_ends_loops_ends_only_the_job_that_waits_for_it(bench: Bench) -> None:
    """asyncio lets SystemExit of any task out of run_forever, gevent throws it into the thread's main greenlet."""
    async def exit() -> None:
        raise SystemExit(3)

    async def handle(job: int) -> None:
        await asyncio.sleep(STEP)
        if job == 2:
            await asyncio.create_task(exit())

    def handle_too(job: int) -> None:
        gevent.sleep(STEP)
        if job == 2:
            gevent.spawn(lambda: 1 / 0 if job != 2 else (_ for _ in ()).throw(SystemExit(3))).get()

    pool = make_pool(PoolChoice(bench.kind, 3), handle if bench.kind == ASYNCIO else handle_too, time.monotonic,
                     lambda: None)
    put(pool, *range(9))
    progress = outcomes(pool, 9)
    assert [(one.offset, one.error) for one in progress.failed] == [(2, "SystemExit")] and len(progress.settled) == 8
    pool.close()


def test_what_handlers_return_is_reported_where_it_is_wanted(bench: Bench) -> None:
    async def double(job: int) -> Any:
        return object() if job == 3 else {"twice": 2 * job}

    def double_too(job: int) -> Any:
        return object() if job == 3 else {"twice": 2 * job}

    pool = make_pool(PoolChoice(bench.kind, 2), double if bench.kind == ASYNCIO else double_too, time.monotonic,
                     lambda: None)
    pool.put(Slice(1, 0, 1, [0, 1, 2, 3, 4], results=True))
    pool.put(Slice(1, 5, 1, [5]))
    found: list[Any] = []
    assert until(lambda: found.extend(pool.ended()) or len(found) == 2)
    wanted, unwanted = sorted([one.look(0.0) for one in found], key=lambda look: -look.ended)
    assert list(wanted.settled) == [(0, 3), (4, 1)] and [failed.offset for failed in wanted.failed] == [3]
    assert [json.loads(line) for lines in wanted.results for line in lines.splitlines()] == [
        {"twice": 0}, {"twice": 2}, {"twice": 4}, {"twice": 8}]
    assert list(unwanted.settled) == [(5, 1)] and not unwanted.results
    pool.close()


@pytest.mark.parametrize("bench", [ASYNCIO, GREENLETS], indirect=True)
def test_a_job_does_not_see_what_an_earlier_one_put_into_its_context(bench: Bench) -> None:
    """It was started by the end of the one before it, in a copy of that one's context."""
    mine: ContextVar[int] = ContextVar("mine", default=-1)
    seen: list[int] = []

    def act(job: int) -> None:
        seen.append(mine.get())
        mine.set(job)

    bench.act = act
    pool = bench.pool(1)
    pool.put(Slice(1, 0, 1, [0, 1, 2]))
    put(pool, 3, 4)
    outcomes(pool, 5)
    assert seen == [-1] * 5


async def answer(job: int) -> None:
    await asyncio.sleep(0)


def test_a_handler_that_returns_an_awaitable_is_awaited_in_a_loop_and_refused_elsewhere(bench: Bench) -> None:
    pool = make_pool(PoolChoice(bench.kind, 1), lambda job: answer(job), time.monotonic, lambda: None)
    put(pool, 0)
    progress = outcomes(pool, 1)
    if bench.kind == ASYNCIO:
        assert offsets(progress) == [0]
    else:
        assert [one.error for one in progress.failed] == ["NothingRan"]
    pool.close()


def test_a_handler_can_ask_which_job_it_was_called_for(bench: Bench) -> None:
    found: dict[Any, tuple[int, int, str]] = {}
    bench.open = lambda job: len(bench.began) > 2 or job == "quick"  # so that several run while each asks

    def act(job: Any) -> None:
        now = current_job()
        found[job] = now.offset, now.attempt, now.token

    bench.act = act
    pool = bench.pool(3)
    pool.put(Slice(1, 7, 1, ["a"]))
    pool.put(Slice(1, 8, 2, ["b"]))
    pool.put(Slice(1, 9, 3, ["quick", "c", "d"]))
    outcomes(pool, 5)
    assert {job: values[:2] for job, values in found.items()} == {
        "a": (7, 1), "b": (8, 2), "quick": (9, 3), "c": (10, 3), "d": (11, 3)}
    assert len({token for _, _, token in found.values()}) == 5
    pool.put(Slice(2, 8, 5, [pickle.dumps("b")], sealed=True))
    before = found["b"]
    outcomes(pool, 1)
    assert found["b"] == (8, 5, before[2]), "the token is that of the job, whatever the attempt and the encoding"


def test_the_job_is_known_while_others_of_its_slice_are_taken_back(bench: Bench) -> None:
    """The list of payloads is emptied by that."""
    tokens: list[str] = []
    bench.open = lambda job: bool(taken)
    bench.act = lambda job: tokens.append(current_job().token)
    taken: list[Any] = []
    pool = bench.pool(1)
    pool.put(Slice(1, 0, 1, [0, 1, 2]))
    assert until(lambda: bench.began[0])
    taken.append(pool.running()[0].take_back())
    outcomes(pool, 1)
    assert len(tokens) == 1 and len(tokens[0]) == 32


def test_outside_of_a_handler_there_is_no_job() -> None:
    with pytest.raises(LookupError, match="where no handler runs"):
        current_job()


def test_the_lines_of_a_jobs_logger_carry_it(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.act = lambda job: current_job().logger.warning("%d is odd", job, extra={"mine": 1})
    pool = bench.pool(1)
    pool.put(Slice(1, 7, 2, [3]))
    outcomes(pool, 1)
    [record] = caplog.records
    values: Any = record
    assert record.getMessage() == f"job 7, attempt 2, {values.token}: 3 is odd"
    assert (values.offset, values.attempt, values.mine) == (7, 2, 1)
