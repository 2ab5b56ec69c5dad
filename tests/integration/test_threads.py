"""The pool of threads: it runs what it is given, in as many threads as it has slots, which may change."""

from __future__ import annotations

import ctypes
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskmaster.slave.pools.threads import ThreadPool
from taskmaster.slave.slice import Slice

SECONDS = 10.0


def until(fact: Callable[[], Any]) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + SECONDS
    while not fact() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(fact())


class Gate:
    """A handler whose calls are counted and held until they are let go."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.woken = threading.Semaphore(0)
        self.calls: Counter[Any] = Counter()
        self.threads: set[int] = set()
        self.pools: list[ThreadPool] = []

    def handle(self, job: Any) -> None:
        self.calls[job] += 1
        self.threads.add(threading.get_ident())
        self.began.release()
        self.go.acquire(timeout=SECONDS)

    def pool(self, slots: int) -> ThreadPool:
        pool = ThreadPool(self.handle, slots, time.monotonic, self.woken.release)
        self.pools.append(pool)
        return pool

    def has_begun(self, jobs: int) -> bool:
        """Whether so many more jobs begin."""
        return all(self.began.acquire(timeout=SECONDS) for _ in range(jobs))

    def let_go(self, jobs: int) -> None:
        for _ in range(jobs):
            self.go.release()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    for pool in gate.pools:
        pool.close()
    gate.let_go(1000)


def put(pool: ThreadPool, *offsets: int) -> None:
    for offset in offsets:
        pool.put(Slice(1, offset, 1, [offset]))


def test_it_runs_what_it_is_given_and_gives_back_what_it_has_not_begun(gate: Gate) -> None:
    pool = gate.pool(1)
    pool.put(Slice(1, 0, 1, [0]))
    pool.put(Slice(1, 1, 1, [1, 2]))
    assert gate.has_begun(1) and (pool.idle, pool.waiting) == (0, 1)
    [running] = pool.running()
    assert running.first == 0 and "self.go.acquire" in pool.stack_of(running, 0)
    assert pool.take_back() == [Slice(1, 1, 1, [1, 2])] and pool.waiting == 0
    gate.let_go(1)
    assert gate.woken.acquire(timeout=SECONDS)
    assert [work.first for work in pool.ended()] == [0] and pool.stack_of(running, 0) == ""
    assert until(lambda: pool.idle == 1) and gate.calls == {0: 1}


def test_it_wakes_at_the_end_of_a_slice_when_so_few_wait(gate: Gate) -> None:
    pool = gate.pool(1)
    pool.wake_below = 1
    put(pool, 0, 1)
    assert gate.has_begun(1)
    gate.let_go(1)
    assert gate.has_begun(1)  # the thread is at the second, so it is done with the first
    assert not gate.woken.acquire(blocking=False) and [work.first for work in pool.ended()] == [0]
    gate.let_go(1)
    assert gate.woken.acquire(timeout=SECONDS) and [work.first for work in pool.ended()] == [1]
    pool.wake_below = 0
    put(pool, 2, 3)
    gate.let_go(1)
    assert gate.has_begun(2)
    assert not gate.woken.acquire(blocking=False) and [work.first for work in pool.ended()] == [2]


def test_closed_it_starts_nothing_more(gate: Gate) -> None:
    pool = gate.pool(2)
    put(pool, 0, 1, 2, 3)
    assert gate.has_begun(2)
    pool.close()
    gate.let_go(4)
    assert until(lambda: not pool.running())
    assert gate.calls == {0: 1, 1: 1} and [work.first for work in pool.take_back()] == [2, 3]


def test_payloads_that_were_handled_are_let_go_of() -> None:
    """Each idle thread kept those of its last slice, up to a lease's bytes, until it took another."""
    class Payload:
        pass

    pool = ThreadPool(lambda job: None, 1, time.monotonic, lambda: None)
    payload = Payload()
    reference = weakref.ref(payload)
    pool.put(Slice(1, 0, 1, [payload]))
    del payload
    assert until(lambda: reference() is None)
    pool.close()


def test_more_threads_run_more_jobs_at_once(gate: Gate) -> None:
    pool = gate.pool(1)
    put(pool, *range(4))
    assert gate.has_begun(1) and pool.waiting == 3
    grower = threading.Thread(target=pool.resize, args=(4,))  # as the control thread does, which did not make the pool
    grower.start()
    grower.join()
    assert pool.slots == 4 and gate.has_begun(3) and len(pool.running()) == len(gate.threads) == 4
    assert pool.idle == 0


def test_fewer_threads_finish_what_they_run_and_take_nothing_new(gate: Gate) -> None:
    pool = gate.pool(4)
    put(pool, *range(8))
    assert gate.has_begun(4)
    pool.resize(1)
    assert pool.slots == 1 and pool.idle == 0 and len(pool.running()) == 4, "none is stopped"
    gate.let_go(3)
    assert until(lambda: len(pool.running()) == 1)
    for _ in range(4):
        gate.let_go(1)
        assert gate.has_begun(1) and len(pool.running()) == 1
    assert pool.waiting == 0 and set(gate.calls.values()) == {1}


def test_idle_threads_too_are_surplus(gate: Gate) -> None:
    pool = gate.pool(4)
    pool.resize(1)
    assert until(lambda: pool.waiting == 0), "nobody looked whether it is surplus"
    put(pool, *range(3))
    assert gate.has_begun(1)
    assert not gate.began.acquire(timeout=0.1) and pool.idle == 0


def test_threads_are_used_again_when_the_pool_grows_again(gate: Gate) -> None:
    """A thread of gevent's cannot be ended from another: a pool that breathes must not add some each time."""
    pool = gate.pool(3)
    for _ in range(20):
        pool.resize(1)
        pool.resize(3)
        put(pool, 0, 1, 2)
        assert gate.has_begun(3)
        gate.let_go(3)
        assert until(lambda: len(pool.running()) == 0)
    assert len(gate.threads) == 3
    assert gate.calls == {0: 20, 1: 20, 2: 20} and pool.idle == 3


def test_threads_that_are_not_needed_for_now_keep_what_is_theirs_until_the_pool_is_closed() -> None:
    """A connection of each thread was closed whenever fewer ran for a moment."""
    left: list[int] = []
    pool = ThreadPool(lambda job: None, 3, time.monotonic, lambda: None, lambda: left.append(threading.get_ident()))
    pool.resize(1)
    assert until(lambda: pool._parked == 2)
    pool.resize(3)
    pool.resize(1)
    assert until(lambda: pool._parked == 2) and not left
    pool.close()
    assert until(lambda: len(set(left)) == 3)


def test_no_slice_is_lost_while_the_number_of_threads_changes() -> None:
    ran: list[int] = []
    pool = ThreadPool(ran.append, 2, time.monotonic, lambda: None)
    offsets = iter(range(2000))
    for step in range(200):
        put(pool, *(next(offsets) for _ in range(10)))
        pool.resize(1 + step % 7)
        if step % 3 == 0:
            put(pool, *(work.first for work in pool.take_back()))
    assert until(lambda: len(ran) == 2000) and sorted(ran) == list(range(2000))
    pool.close()


def test_exceptions_raised_into_its_threads_lose_no_slice() -> None:
    """As timeouts for functions raise them: late, so that they hit whatever the thread is doing by then."""
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    ran: Counter[int] = Counter()
    pool = ThreadPool(lambda job: ran.update([job]), 2, time.monotonic, lambda: None)
    idents = threads_of(pool)
    ended = failed = put_ = 0
    for first in range(0, 20_000, 10):
        pool.put(Slice(1, first, 1, list(range(first, first + 10))))
        put_ += 10
        raise_in(ctypes.c_ulong(idents[first // 10 % 2]), ctypes.py_object(KeyboardInterrupt))
    end = time.monotonic() + SECONDS
    while ended < put_ and time.monotonic() < end:
        for execution in pool.ended():
            progress = execution.look(time.monotonic())
            ended += progress.ended
            failed += len(progress.failed)
        time.sleep(0.01)
    assert ended == put_ and set(ran.values()) == {1}
    assert pool.idle == 2 and pool.waiting == 0 and failed <= 2000
    pool.close()


def threads_of(pool: ThreadPool) -> list[int]:
    """The identities of its two threads."""
    both = threading.Barrier(2)
    found: list[int] = []
    handle, pool._handler = pool._handler, lambda job: (both.wait(SECONDS), found.append(threading.get_ident()))
    put(pool, -1, -2)
    assert until(lambda: len(found) == 2 and pool.idle == 2)
    pool.ended()
    pool._handler = handle
    return found
