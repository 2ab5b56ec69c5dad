"""The number of jobs at once while it changes: pool, agent and log follow the policy."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from taskmaster.core.agent import Agent, Patience
from taskmaster.core.auto_limit import AutoLimit
from taskmaster.core.concurrency import Reading
from taskmaster.core.lock_limit import LockLimit
from taskmaster.core.lowest_limit import LowestLimit
from taskmaster.errors import LimitReached
from taskmaster.slave.outcomes import Outcomes
from taskmaster.slave.pools.make import make_policy
from taskmaster.slave.pools.threads import ThreadPool
from taskmaster.slave.slice import Slice
from taskmaster.slave.slots import Slots, handlers_cpu
from taskmaster.targets.pool_choice import ASYNCIO, GREENLETS, THREADS, PoolChoice

SECONDS = 10.0


class Policy:
    """Wants what the test says, each second."""

    def __init__(self, slots: int) -> None:
        self.limit = self.slots = slots
        self.due = 0.0
        self.readings: list[Reading] = []

    def observe(self, reading: Reading) -> None:
        self.readings.append(reading)
        self.due = reading.now + 1.0


class Parts:
    """An agent and the slots of a real pool."""

    def __init__(self, handler: Any, slots: int = 2) -> None:
        self.agent = Agent("s", slots, {}, Patience(), 0.0)
        self.outcomes = Outcomes(self.agent)
        self.pool = ThreadPool(handler, slots, time.monotonic, lambda: None)
        self.policy = Policy(slots)
        self.slots = Slots(self.agent, self.pool, self.outcomes, self.policy, lambda: 7.0)


@pytest.fixture
def parts() -> Any:
    go = threading.Event()
    parts = Parts(lambda job: go.wait(SECONDS))
    yield parts
    go.set()
    parts.pool.close()


def test_the_policy_reads_what_the_pool_and_its_jobs_do(parts: Parts) -> None:
    for offset in range(5):
        parts.pool.put(Slice(1, offset, 1, [offset]))
    end = time.monotonic() + SECONDS
    while parts.pool.busy < 2 and time.monotonic() < end:
        time.sleep(0.005)
    parts.outcomes.handled, parts.outcomes.failed, parts.outcomes.seconds = 30, 4, 1.5
    parts.slots.look(0.0)
    parts.slots.look(0.5)
    assert parts.policy.readings == [Reading(0.0, 7.0, 2, 3, 30, 4, 1.5)] and parts.slots.due == 1.0


def test_a_trial_changes_the_pool_alone_and_what_stays_goes_to_the_master(parts: Parts) -> None:
    parts.policy.limit = 1
    parts.slots.look(0.0)
    assert (parts.pool.slots, parts.agent.prefetch.slots) == (1, 2)
    parts.policy.limit = parts.policy.slots = 6
    parts.slots.look(1.0)
    assert (parts.pool.slots, parts.agent.prefetch.slots) == (6, 6)
    assert parts.agent.prefetch.new_slots == 6


def test_a_slave_that_gets_no_more_threads_stays_as_it_is(parts: Parts, caplog: pytest.LogCaptureFixture,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    def resize(slots: int) -> None:
        parts.pool.slots = 3
        raise LimitReached("No more threads can be started.")

    monkeypatch.setattr(parts.pool, "resize", resize)
    parts.policy.limit = parts.policy.slots = 900
    with caplog.at_level(logging.WARNING):
        parts.slots.look(0.0)
        parts.slots.look(5.0)
    assert [record.getMessage() for record in caplog.records] == [
        "This slave stays at 3 jobs at once. No more threads can be started."]
    assert parts.agent.prefetch.slots == 3 and len(parts.policy.readings) == 1
    monkeypatch.undo()


def test_a_pool_that_gets_only_some_of_its_threads_uses_those(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    from gevent.threadpool import ThreadPool as Native  # here: it is replaced in part

    spawn, left = Native.spawn, iter([True] * 3)

    def spawn_three(self: Any, function: Any) -> Any:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        return spawn(self, function)

    monkeypatch.setattr(Native, "spawn", spawn_three)
    with pytest.raises(LimitReached):
        parts.pool.resize(10)
    assert parts.pool.slots == 5
    for offset in range(8):
        parts.pool.put(Slice(1, offset, 1, [offset]))
    end = time.monotonic() + SECONDS
    while parts.pool.busy < 5 and time.monotonic() < end:
        time.sleep(0.005)
    assert (parts.pool.busy, parts.pool.waiting) == (5, 3)


def test_the_cpu_time_of_handlers_is_that_of_the_process_without_this_thread() -> None:
    def compute() -> None:
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass

    before = handlers_cpu()
    compute()
    assert handlers_cpu() - before < 0.1
    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert handlers_cpu() - before >= 0.2


@pytest.mark.parametrize("choice, slots", [
    (PoolChoice(THREADS, 10), 10), (PoolChoice(THREADS, 1), None), (PoolChoice(ASYNCIO, 100), None),
    (PoolChoice(GREENLETS, 100), None), (PoolChoice(THREADS, 500, auto=True), 10),
    (PoolChoice(ASYNCIO, 4, auto=True), 4),
    (PoolChoice(GREENLETS, 500, auto=True), 10),
], ids=str)
def test_threads_have_a_lock_and_auto_begins_with_ten(choice: PoolChoice, slots: int | None) -> None:
    policy = make_policy(choice, 0.0)
    assert slots == (None if policy is None else policy.slots)


class Jobs:
    """Readings of jobs that compute for a millisecond, or wait for a tenth of a second."""

    def __init__(self, policy: LowestLimit) -> None:
        self.policy = policy
        self.now = self.cpu = self.seconds = self.ended = 0.0

    def run(self, seconds: float, compute: bool) -> int:
        """The slots after that."""
        end = self.now + seconds
        while self.now < end:
            step, jobs = max(self.policy.due - self.now, 0.001), self.policy.limit
            self.now += step
            self.cpu += step if compute else 0.0
            self.seconds += step * jobs
            self.ended += step * (1000 if compute else jobs / 0.1)
            self.policy.observe(Reading(self.now, self.cpu, jobs, 5, int(self.ended), 0, self.seconds))
        return self.policy.slots


def test_of_auto_and_the_lock_the_lower_number_counts() -> None:
    """Handlers that compute run one at a time, and `auto` finds no reason for more."""
    jobs = Jobs(LowestLimit(AutoLimit(500, 0.0), LockLimit(10, 0.0)))
    assert jobs.run(20.0, compute=True) <= 2
    assert jobs.run(0.5, compute=False) >= 5 and jobs.run(40.0, compute=False) == 500
    assert jobs.run(1.0, compute=True) <= 2
