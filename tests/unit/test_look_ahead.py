"""How far the source is read ahead, played with plain numbers."""

from __future__ import annotations

from taskmaster import defaults
from taskmaster.core.look_ahead import FIRST_GROWTH, LookAhead


def test_hungry_slaves_have_it_grow_up_to_the_window() -> None:
    ahead = LookAhead(1_000_000)
    steps = 0
    while ahead.jobs < 1_000_000:
        ahead.starved()
        steps += 1
    assert steps == 2
    ahead.starved()
    assert ahead.jobs == 1_000_000


def test_a_small_window_is_not_exceeded() -> None:
    ahead = LookAhead(20)
    ahead.starved()
    ahead.roll(100, 0.0)
    ahead.roll(100, 5.0)
    assert ahead.jobs == 20


def test_slow_handlers_have_little_read_ahead_of_them() -> None:
    ahead = LookAhead(1_000_000)
    for _ in range(20):
        ahead.starved()
    ahead.roll(20, 0.0)
    ahead.handed_out(30)
    ahead.roll(20, 1.5)
    assert ahead.jobs == defaults.LOOK_AHEAD_LEAST_JOBS
    ahead.roll(5000, 3.0)
    assert ahead.jobs <= 10_000


def test_it_is_a_second_of_what_is_handed_out() -> None:
    ahead = LookAhead(1_000_000)
    for _ in range(20):
        ahead.starved()
    ahead.roll(20, 0.0)
    for tenth in range(1, 41):
        ahead.handed_out(500)
        ahead.roll(20, tenth / 10)
    assert 4500 <= ahead.jobs <= 5500


def test_before_a_second_has_been_measured_it_is_left_alone() -> None:
    ahead = LookAhead(1_000_000)
    ahead.starved()
    ahead.roll(20, 0.0)
    ahead.roll(20, 0.5)
    assert ahead.jobs == FIRST_GROWTH * defaults.LOOK_AHEAD_JOBS


def test_once_a_rate_is_known_it_only_doubles() -> None:
    ahead = LookAhead(1_000_000)
    ahead.roll(20, 0.0)
    ahead.handed_out(5000)
    ahead.roll(20, 1.0)
    before = ahead.jobs
    ahead.starved()
    assert ahead.jobs == 2 * before
