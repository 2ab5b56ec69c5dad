"""Sizes, delays and rates, as tables."""

from __future__ import annotations

import pytest

from taskmaster import defaults
from taskmaster.core.job_duration import JobDuration
from taskmaster.core.lease_size import lease_size
from taskmaster.core.meter import Meter
from taskmaster.core.prefetch_target import PrefetchTarget
from taskmaster.core.pull_size import PullSize
from taskmaster.core.token_bucket import TokenBucket


def prefetch(threads: int, seconds: float | None, handled: int = 0, size: int = 1) -> PrefetchTarget:
    guess = JobDuration()
    if seconds is not None:
        guess.observe(1, seconds)
    wanted = PrefetchTarget(threads, guess)
    wanted.received(1, size, 1, 1e-4)
    wanted.handled(handled)
    return wanted


@pytest.mark.parametrize("threads, seconds, handled, target", [
    (10, None, 0, 10),          # nothing known: one each
    (10, 10.0, 1000, 10),       # ten-second jobs go out one at a time
    (10, 0.01, 1000, 60),       # 10 ms: 50 ms behind each thread
    (1, 0.05, 1000, 2),
    (32, 0.06, 1000, 32),       # nothing waits behind slow jobs
    (1000, 0.2, 5000, 1250),    # but behind a thousand that end at all times
    (100, 10.0, 1000, 100),
    (10, 1e-6, 0, 10),          # none handled: no more than one each yet
    (10, 1e-6, 10, 20),         # and then as many more as were
    (10, 1e-6, 1 << 20, 10 + int(defaults.HELD_BYTES / 40)),  # what that many small ones take
])
def test_a_slave_holds_one_job_a_thread_and_fifty_milliseconds_behind(threads, seconds, handled, target) -> None:
    assert prefetch(threads, seconds, handled).target() == target


@pytest.mark.parametrize("slots, batch, seconds, handled, target", [
    (1000, 1000, None, 0, 1000),         # a whole batch from the start
    (1000, 1000, 0.01, 10_000, 6000),    # calls of 10 ms: five wait
    (1000, 1000, 0.06, 10_000, 2000),    # one waits even behind calls that take a little longer than a lease
    (1000, 1000, 0.2, 10_000, 1000),     # nothing waits behind slow ones: the quarter of a batch would be of no use
    (20, 20, 0.04, 1000, 40),            # few jobs in a batch are no different
    (400, 100, 0.05, 10_000, 800),       # four calls at once
])
def test_a_slave_holds_whole_batches(slots, batch, seconds, handled, target) -> None:
    guess = JobDuration()
    if seconds is not None:
        guess.observe(1, seconds)
    wanted = PrefetchTarget(slots, guess, batch)
    wanted.handled(handled)
    assert wanted.target() == target


@pytest.mark.parametrize("trip, target", [(0.0, 60), (0.02, 100), (0.2, 460), (5.0, 460)])
def test_a_far_or_busy_master_is_made_up_for_by_more_work(trip, target) -> None:
    wanted = prefetch(10, 0.01, 1000)
    wanted.trip = trip
    assert wanted.target() == pytest.approx(target, abs=1)


@pytest.mark.parametrize("seconds, most", [(None, 10), (0.01, 110), (0.05, 30), (0.09, 21), (0.2, 10), (10.0, 10)])
def test_what_a_slave_need_not_give_back_is_its_target_if_jobs_took_half_as_long(seconds, most) -> None:
    assert prefetch(10, seconds, 1000).most() == most


def test_a_slave_holds_few_large_jobs_though_they_are_quick() -> None:
    assert prefetch(10, 1e-6, 1 << 20, size=5000).target() == 10 + defaults.HELD_BYTES // 5000
    assert prefetch(10, 1e-6, 1 << 20, size=100 << 20).target() == 10


@pytest.mark.parametrize("held, low", [(104, False), (64, False), (54, True), (14, True), (4, True)])
def test_a_slave_runs_low_when_half_of_what_waited_is_gone(held, low) -> None:
    wanted = prefetch(4, 0.002, 1000)
    assert wanted.target() == 104
    wanted.received(100, 100, 104, 1e-4)
    assert wanted.runs_low(held) is low and not wanted.cut_short


def test_a_lease_that_was_cut_by_its_bytes_is_not_all_there_is() -> None:
    wanted = prefetch(4, 0.002, 1000)
    wanted.received(20, 100, 20, 1e-4)
    assert not wanted.runs_low(19) and not wanted.cut_short
    wanted.received(20, defaults.LEASE_BYTES, 20, 1e-4)
    assert wanted.runs_low(12) and wanted.cut_short


def test_three_slow_jobs_outweigh_a_million_quick_ones() -> None:
    guess = JobDuration()
    guess.observe(1_000_000, 0.1)
    for _ in range(3):
        guess.still_running(0.05)
    assert guess.guess is not None and guess.guess > 0.03


def test_between_the_guess_and_the_mean_of_the_last_look_the_more_cautious_is_taken() -> None:
    """Eleven jobs of 0.4 ms and one of 45 ms are jobs of 4 ms: to hold as many as the last quick one promises is too
    many, and to give back what the slow one asks for is too early."""
    guess = JobDuration()
    for seconds in [0.0004] * 11 + [0.045]:
        guess.observe(1, seconds)
    guess.roll()
    mean = pytest.approx(0.0041, rel=0.02)
    assert guess.least == mean and guess.most == guess.guess and guess.guess > 0.01
    for _ in range(11):
        guess.observe(1, 0.0004)
    assert guess.most == mean and guess.least == guess.guess < 0.001


def test_a_look_that_saw_no_job_end_leaves_the_guess_alone() -> None:
    guess = JobDuration()
    guess.observe(1000, 0.001)
    guess.roll()
    guess.still_running(0.05)
    guess.roll()
    assert guess.most == guess.least == guess.guess


@pytest.mark.parametrize("want, ready, size, slaves, jobs", [
    (100, 0, 1000, 1, 1),            # asked only when there is something ready
    (10, 100, 1000, 1, 10),          # what is wanted
    (1000, 1000, 10_000, 2, 250),    # a quarter of the ready ones where there are two
    (1000, 4, 10_000, 2, 2),         # the tail, and quick jobs: not cut below a slave's whole part
    (1000, 90, 10_000, 2, 23),       # nor below a millisecond's worth
    (10_000_000, 100_000, 100_000, 2, 25_000),  # no-ops
    (10, 4, 10_000, 2, 1),           # the tail, and slow jobs: one each
    (100_000, 100_000, 100_000, 1, 25_000),
    (10, 100, 1000, 1000, 1),        # more slaves than jobs
])
def test_a_lease_leaves_the_others_their_share(want, ready, size, slaves, jobs) -> None:
    assert lease_size(want, ready, size, slaves) == jobs


def test_what_was_given_back_is_shared_however_much_is_wanted() -> None:
    assert lease_size(100_000, 160, 100_000, 10) == 16
    assert lease_size(100_000, 160, 100_000, 10, returned=True) == 8


@pytest.mark.parametrize("ready, size, slaves, jobs", [
    (100_000, 1_000_000, 2, 3000),   # all that is wanted
    (2400, 1_000_000, 2, 1000),      # not half of a share of 1,200, but a whole batch
    (1000, 1_000_000, 2, 500),       # too few for everyone: equal parts
    (10_000, 10_000, 10, 500),       # of the window nobody gets more than half of a part
])
def test_a_lease_has_a_whole_batch_as_long_as_there_is_one_for_each_slave(ready, size, slaves, jobs) -> None:
    assert lease_size(3000, ready, size, slaves, batch=1000) == jobs


def test_leases_shrink_towards_the_end_of_the_source() -> None:
    ready, sizes = 1000, []
    while ready:
        sizes.append(lease_size(40, ready, 10_000, 10))
        ready -= sizes[-1]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 40 and sizes[-1] == 1


def test_a_throttle_lets_through_its_rate_whatever_the_steps() -> None:
    for step in (0.001, 0.03, 0.09):
        throttle, gone, now = TokenBucket(200), 0, 0.0
        while now < 10:
            jobs = throttle.allowed(now)
            assert jobs is not None
            throttle.spent(jobs)
            gone += jobs
            now += step
        assert gone == pytest.approx(2000, abs=25)


def test_a_throttle_says_when_the_next_job_may_go() -> None:
    throttle = TokenBucket(2)
    assert throttle.allowed(5.0) == 1
    throttle.spent(1)
    assert throttle.allowed(5.0) == 0 and throttle.due(5.0) == pytest.approx(5.5)
    assert TokenBucket(None).allowed(1.0) is None and TokenBucket(None).due(1.0) is None


def test_the_meter_forgets_what_is_older_than_ten_seconds() -> None:
    meter = Meter()
    for tenth in range(400):
        now = tenth / 10
        count = int(min(now, 20) * 100 + max(0, now - 20) * 1000)
        meter.observe(now, count)
    assert meter.rate(40.0, 22_000) == pytest.approx(1000, rel=0.02)
    assert Meter().rate(1.0, 5) == 0


def test_pulls_double_while_quick_and_fall_to_one_when_slow() -> None:
    pull = PullSize()
    for _ in range(20):
        pull.took(pull.jobs, 1e-7 * pull.jobs, 10)
    assert pull.jobs == PullSize.MOST
    pull.took(4, 4.0, 10)
    assert pull.jobs == 1
    pull.took(1, 0.0001, 10)
    pull.took(2, 0.0001, 4 << 20)
    assert pull.jobs == 1, "large payloads are pulled a lease's bytes at a time"
