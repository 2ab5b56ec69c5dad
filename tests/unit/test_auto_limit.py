"""`auto` finds how many requests a service can take at once, whatever the service, and however many slaves look."""

from __future__ import annotations

from math import inf

import pytest

from support.services import Service, World

from taskmaster.core.auto_limit import AutoLimit
from taskmaster.core.concurrency import Reading

SERVICES = {
    "two hundred at once": Service(200),
    "twenty": Service(20),
    "five": Service(5),
    "one": Service(1, 0.05),
    "quick": Service(50, 0.005),
    "requests that differ": Service(50, sigma=0.5),
    "requests that differ very much": Service(200, sigma=1.0),
    "one in a hundred is a hundred times as long": Service(50, 0.005, long=0.01),
    "a tenth fails, always": Service(100, errors=0.1),
}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_after_ten_seconds_the_rate_is_nine_tenths_of_the_best(service: Service) -> None:
    world = World(service)
    world.run(10.0)
    found = world.run(40.0)
    assert found.rate >= 0.9 * service.best * (1 - service.errors)


@pytest.mark.parametrize("capacity", [200, 20])
def test_requests_wait_little_for_one_another(capacity: int) -> None:
    world = World(Service(capacity))
    world.run(10.0)
    assert world.run(100.0).latency <= 1.75 * 0.2 and capacity <= world.limits[0] <= 1.75 * capacity


@pytest.mark.parametrize("most, seconds", [(1000, 0.2), (100, 0.2), (3, 0.2), (1, 0.2), (300, 2.0)])
def test_without_a_bound_it_goes_up_to_the_most(most: int, seconds: float) -> None:
    world = World(Service(inf, seconds), most=most)
    world.run(100 * seconds)
    assert world.run(200 * seconds).rate >= 0.9 * most / seconds
    assert max(world.limits) == most


@pytest.mark.parametrize("starts", [(0.0, 0.0), (0.0, 0.1, 0.2, 0.3), (0.0,) * 20], ids=len)
def test_slaves_share_a_service_and_do_not_crowd_it(starts: tuple[float, ...]) -> None:
    world = World(Service(200), *starts)
    world.run(10.0)
    assert world.run(30.0).rate >= 0.9 * 1000
    world.run(130.0)
    late = world.run(300.0)
    assert late.rate >= 0.9 * 1000 and late.latency <= 0.8


def test_slaves_that_come_one_by_one_to_a_service_that_is_busy_do_not_crowd_it_for_ever() -> None:
    """A late one has never seen how quick the service is when it is not busy: all measure that at the same moments."""
    world = World(Service(200), *(float(at) for at in range(10)))
    world.run(30.0)
    crowded = world.run(60.0)
    assert crowded.rate >= 0.9 * 1000
    late = world.run(600.0)
    assert late.rate >= 0.9 * 1000 and sum(world.limits) < 2000 < 10 * 1000


@pytest.mark.parametrize("capacity, slaves", [(50, 1), (200, 1), (100, 2)])
def test_a_service_that_fails_when_overloaded_is_not_overloaded_for_long(capacity: int, slaves: int) -> None:
    world = World(Service(capacity, fails=True), *(0.0,) * slaves)
    world.run(10.0)
    found = world.run(60.0)
    assert found.rate >= 0.9 * capacity / 0.2
    assert found.failed < 0.01 * found.handled


def test_failures_that_have_nothing_to_do_with_the_load_do_not_slow_it_down() -> None:
    world = World(Service(100))
    world.run(20.0)
    world.service.errors = 0.3
    world.run(60.0)
    assert world.run(90.0).rate >= 0.9 * 0.7 * 500


def test_a_service_that_loses_capacity_is_crowded_for_some_seconds() -> None:
    world = World(Service(200))
    world.run(20.0)
    world.service.capacity = 50
    assert world.run(50.0).rate >= 0.9 * 250
    found = world.run(80.0)
    assert found.rate >= 0.9 * 250 and found.latency <= 0.6


def test_a_service_that_gains_capacity_is_used_within_ten_seconds() -> None:
    world = World(Service(50))
    world.run(20.0)
    world.service.capacity = 200
    world.run(30.0)
    assert world.run(50.0).rate >= 0.9 * 1000


@pytest.mark.parametrize("capacity", [100, inf])
def test_requests_that_take_longer_by_nature_are_no_reason_for_fewer(capacity: float) -> None:
    world = World(Service(capacity))
    world.run(20.0)
    world.service.seconds = 0.8
    world.run(100.0)
    assert world.run(160.0).rate >= 0.9 * min(capacity, 1000) / 0.8


def test_a_service_that_slows_down_is_loaded_until_requests_take_twice_as_long() -> None:
    world = World(Service(100, slows=True))
    world.run(10.0)
    found = world.run(60.0)
    assert 0.3 <= found.latency <= 0.6 and found.rate >= 0.4 * 500, "three times as long is two thirds of 500"


def test_jobs_of_twenty_seconds_take_some_minutes() -> None:
    world = World(Service(100, 20.0))
    world.run(400.0)
    assert world.run(1500.0).rate >= 0.9 * 5


def test_too_few_jobs_are_no_reason_for_more_slots() -> None:
    world = World(Service())
    world.slaves[0].jobs = 0
    for at in range(1, 100):
        world.slaves[0].jobs += 10
        world.run(at * 1.0)
    assert world.limits[0] <= 20


def test_it_begins_with_ten_and_looks_when_a_real_slave_does() -> None:
    assert AutoLimit(1000, 5.0).limit == 10 and AutoLimit(4, 5.0).limit == 4
    limit = AutoLimit(1000, 5.0)
    assert limit.due == 5.0
    limit.observe(Reading(5.1))
    assert limit.due == pytest.approx(5.15) and limit.slots == 10
