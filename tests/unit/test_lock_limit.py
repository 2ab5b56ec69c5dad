"""Fewer threads where they would only wait for the interpreter lock: handlers that compute, that wait, or do both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from taskmaster import defaults
from taskmaster.core.concurrency import Reading
from taskmaster.core.lock_limit import LockLimit

TEN = 10


@dataclass
class Handlers:
    """`computes` is the share of its time that a job would compute if it had the lock; without `lock` it needs none.

    `noise` is how much of a reading others may take away, and with a job of `seconds` it takes a while until surplus
    jobs have ended.
    """

    computes: float = 1.0
    lock: bool = True
    cores: float = 2.0
    noise: float = 0.0
    seconds: float = 0.001
    chance: Random = field(default_factory=lambda: Random(1))

    def cpu(self, jobs: float, seconds: float) -> float:
        """What so many jobs at once use in so many seconds."""
        most = 1.0 if self.lock else self.cores
        return seconds * min(most, jobs * self.computes) * (1.0 - self.noise * self.chance.random())


class Slave:
    """Readings of handlers, with enough jobs for all slots unless there are `jobs`."""

    def __init__(self, handlers: Handlers, most: int = TEN) -> None:
        self.handlers = handlers
        self.limit = LockLimit(most, 0.0)
        self.now = self.cpu = self.lost = 0.0
        self.running = float(most)
        self.jobs: int | None = None
        self.changes: list[int] = [most]

    def step(self) -> None:
        seconds = max(self.limit.due - self.now, 0.001)
        most = self.limit.limit if self.jobs is None else min(self.limit.limit, self.jobs)
        self.running = max(most, self.running - self.running * seconds / self.handlers.seconds)
        self.now += seconds
        used, all_slots = (self.handlers.cpu(jobs, seconds) for jobs in (self.running, TEN))
        self.cpu += used
        self.lost += all_slots - used
        self.limit.observe(Reading(self.now, self.cpu, round(self.running), 0 if self.jobs is not None else 5))
        if self.limit.limit != self.changes[-1]:
            self.changes.append(self.limit.limit)

    def run(self, seconds: float) -> Iterator[int]:
        """The limits meanwhile, one for each reading."""
        end = self.now + seconds
        while self.now < end:
            self.step()
            yield self.limit.limit

    def after(self, seconds: float) -> int:
        """Its slots then."""
        list(self.run(seconds))
        return self.limit.slots


def test_handlers_that_compute_run_one_at_a_time() -> None:
    slave = Slave(Handlers())
    assert slave.after(0.5) == 1
    assert slave.changes == [10, 1]
    assert slave.after(60.0) == 1 and set(slave.changes) == {10, 1, 2}, "one more is tried now and then"


def test_trials_of_more_become_rare() -> None:
    slave = Slave(Handlers())
    slave.after(300.0)
    assert slave.changes.count(2) <= 12


@pytest.mark.parametrize("handlers", [
    Handlers(computes=0.001), Handlers(computes=0.03), Handlers(computes=0.055),
    Handlers(lock=False), Handlers(lock=False, computes=0.5), Handlers(lock=False, computes=0.15, cores=8.0),
], ids=str)
def test_handlers_that_wait_or_release_the_lock_keep_all_slots_all_the_time(handlers: Handlers) -> None:
    slave = Slave(handlers)
    assert set(slave.run(100.0)) == {10}


@pytest.mark.parametrize("computes, enough", [(0.95, 2), (0.7, 2), (0.5, 2), (0.3, 4)])
def test_handlers_that_do_both_get_as_many_slots_as_use_a_core(computes: float, enough: int) -> None:
    slave = Slave(Handlers(computes))
    slots = slave.after(20.0)
    assert slots <= enough + 1 and slots * computes >= 0.85
    assert slave.lost < 0.05 * slave.now, "seconds of CPU time that all slots would have used"


@pytest.mark.parametrize("computes", [0.07, 0.1, 0.15, 0.19])
def test_handlers_that_need_most_slots_to_use_a_core_lose_nothing_worth_mentioning(computes: float) -> None:
    slave = Slave(Handlers(computes))
    assert slave.after(30.0) == 10
    assert slave.lost < 0.005 * slave.now


def test_long_jobs_that_need_all_slots_are_not_waited_for_one_by_one() -> None:
    """While fewer may run, none begins; with jobs of a minute it would take that long until the trial is over."""
    slave = Slave(Handlers(0.1, seconds=60.0))
    slave.after(120.0)
    assert slave.lost < 0.05 * slave.now


def test_long_jobs_that_compute_end_before_others_begin() -> None:
    slave = Slave(Handlers(seconds=10.0))
    assert slave.after(2.0) == 10 and slave.limit.limit == 1
    assert slave.after(60.0) <= 2


def changed(first: Handlers, then: Handlers, seconds: float = 30.0) -> Slave:
    slave = Slave(first)
    slave.after(seconds)
    slave.handlers, slave.lost = then, 0.0
    return slave


@pytest.mark.parametrize("waits", [0.0, 0.01, 0.05])
def test_handlers_that_begin_to_wait_have_all_slots_within_a_fifth_of_a_second(waits: float) -> None:
    slave = changed(Handlers(), Handlers(waits))
    assert slave.limit.slots == 1 and slave.after(0.2) == 10


def test_handlers_that_begin_to_release_the_lock_have_all_slots_within_a_minute() -> None:
    slave = changed(Handlers(), Handlers(lock=False))
    assert slave.after(60.0) == 10


def test_handlers_that_begin_to_compute_run_one_at_a_time_soon() -> None:
    assert changed(Handlers(0.01), Handlers()).after(0.5) == 1


def test_handlers_that_compute_and_wait_by_turns_lose_little_by_it() -> None:
    slave = Slave(Handlers())
    for turn in range(120):
        slave.handlers = Handlers(1.0 if turn % 2 else 0.02)
        slave.after(0.5)
    assert slave.lost < 0.02 * slave.now


def test_jobs_of_a_minute_that_compute_first_and_then_wait_do_not_wait_for_each_other() -> None:
    """While as many run as may, a trial with more changes nothing, and says nothing."""
    slave = Slave(Handlers(seconds=60.0))
    slave.after(5.0)
    slave.handlers.computes = 0.01
    assert slave.after(1.0) == 10


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_on_a_busy_machine_handlers_that_compute_run_few_at_a_time_for_most_of_the_time(noise: float) -> None:
    slave = Slave(Handlers(noise=noise))
    slave.after(5.0)
    limits = list(slave.run(60.0))
    assert sum(limit <= 3 for limit in limits) >= 0.8 * len(limits)


def test_on_a_machine_without_a_free_core_nothing_is_limited() -> None:
    slave = Slave(Handlers(lock=True, cores=1.0, noise=0.0))
    slave.handlers.cpu = lambda jobs, seconds: 0.4 * seconds  # type: ignore[method-assign]
    assert set(slave.run(30.0)) == {10}


def test_too_few_jobs_say_nothing_about_the_limit() -> None:
    slave = Slave(Handlers(0.9))
    slave.jobs = 1
    assert set(slave.run(30.0)) == {10}
    slave.jobs = None
    assert slave.after(0.5) <= 2
    slave.jobs, before = 0, slave.limit.slots
    slave.handlers = Handlers(0.0)
    assert slave.after(5.0) == before, "nothing runs, so nothing is known"


@pytest.mark.parametrize("most", [2, 3, 4, 1000])
def test_any_number_of_slots_is_limited(most: int) -> None:
    slave = Slave(Handlers(), most)
    assert slave.after(1.0) == 1
    slave.handlers = Handlers(0.0)
    assert slave.after(0.5) == most


def test_readings_are_as_frequent_as_looks_and_more_frequent_in_a_trial() -> None:
    slave = Slave(Handlers())
    gaps = set()
    for _ in range(100):
        gaps.add(round(max(slave.limit.due - slave.now, 0.001), 3))
        slave.step()
    assert gaps == {0.001, LockLimit.TRIAL_SECONDS, defaults.WATCH_SECONDS}
