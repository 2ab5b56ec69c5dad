"""When a slave has lived long enough."""

from __future__ import annotations

import pytest

from taskmaster.slave.recycling import RecyclingLimits, resident_bytes


@pytest.mark.parametrize("limits, reached", [
    (RecyclingLimits(), ""),
    (RecyclingLimits(jobs=1001), ""),
    (RecyclingLimits(jobs=1000), "1,000 jobs"),
    (RecyclingLimits(memory_mib=201), ""),
    (RecyclingLimits(memory_mib=200), "200 MiB"),
    (RecyclingLimits(seconds=61), ""),
    (RecyclingLimits(seconds=60), "60 s"),
    (RecyclingLimits(9999, 100, 9999), "200 MiB"),
])
def test_a_limit_that_is_reached_is_named(limits: RecyclingLimits, reached: str) -> None:
    assert limits.exceeded(1000, 200 << 20, 60.0) == reached


def test_no_limits_are_false_so_that_nothing_is_measured() -> None:
    assert not RecyclingLimits() and RecyclingLimits(seconds=1)


def test_the_memory_of_this_process_is_some_megabytes_and_grows_with_what_it_holds() -> None:
    before = resident_bytes()
    held = b"x" * (64 << 20)
    assert 5 << 20 < before < before + (32 << 20) < resident_bytes() and held
