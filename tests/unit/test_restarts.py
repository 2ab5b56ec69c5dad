"""The restart policy as tables: exits and times in, the time of the next start out."""

from __future__ import annotations

import pytest

from taskmaster.fleet.base import READY
from taskmaster.fleet.exits import exit_of
from taskmaster.fleet.restarts import RestartPolicy

SIGSEGV = -11


def delays(lives: list[tuple[float, int]], slot: int = 0) -> list[float | None]:
    """The delay after each of a slot's lives, given as (seconds up, code), each started when it was due."""
    policy, now, seen = RestartPolicy(slot), 100.0, []
    for seconds, code in lives:
        policy.started(now)
        now += seconds
        due = policy.ended(exit_of(code, frozenset()), now)
        seen.append(None if due is None else due - now)
        now = now if due is None else due
    return seen


@pytest.mark.parametrize("code", [0, 2, 69, 77, 78])
def test_an_end_that_would_come_again_is_not_restarted(code: int) -> None:
    assert delays([(1.0, code)]) == [None]


@pytest.mark.parametrize("code", [1, 3, 127, SIGSEGV, -9, -15])
def test_a_crash_is_restarted_after_half_a_second(code: int) -> None:
    assert delays([(1.0, code)]) == [0.5]


def test_the_delay_doubles_up_to_half_a_minute() -> None:
    assert delays([(20.0, 1)] * 9) == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])


def test_no_number_of_crashes_is_too_large_for_the_delay() -> None:
    assert delays([(20.0, 1)] * 3000)[-1] == pytest.approx(30.0)


@pytest.mark.parametrize("steady, then", [(59.9, 2.0), (60.0, 0.5), (3600.0, 0.5)])
def test_a_minute_up_forgets_earlier_crashes(steady: float, then: float) -> None:
    assert delays([(20.0, 1), (20.0, 1), (steady, 1)])[-1] == pytest.approx(then)


@pytest.mark.parametrize("code", [1, SIGSEGV])
def test_the_fifth_crash_within_ten_seconds_of_its_start_is_the_last(code: int) -> None:
    seen = delays([(9.9, code)] * 5)
    assert None not in seen[:4] and seen[4] is None


def test_kills_from_outside_are_followed_by_short_delays_and_close_a_slot_only_after_thirty() -> None:
    """A job that sends its slave SIGKILL closed all slots after five deaths each, before it was found."""
    seen = delays([(1.0, -9)] * 30)
    assert seen[:6] == pytest.approx([0.5, 1, 2, 2, 2, 2])
    assert None not in seen[:29] and seen[29] is None


def test_one_longer_life_starts_the_count_of_young_crashes_anew() -> None:
    assert None not in delays([(1.0, 1)] * 4 + [(10.0, 1)] + [(1.0, 1)] * 4)


def test_a_slave_that_recycles_itself_is_replaced_at_once_and_for_ever() -> None:
    assert delays([(1.0, 75)] * 50) == [0.0] * 50


def test_a_recycling_between_crashes_neither_counts_nor_forgets() -> None:
    assert delays([(1.0, 1), (1.0, 75), (1.0, 1)]) == pytest.approx([0.5, 0.0, 1.0])


def test_slots_restart_at_different_times_but_each_always_at_the_same() -> None:
    first = [delays([(20.0, 1)], slot)[0] for slot in range(64)]
    again = [delays([(20.0, 1)], slot)[0] for slot in range(64)]
    assert first == again
    assert len(set(first)) == 64
    assert all(delay is not None and 0.375 <= delay <= 0.5 for delay in first)


def test_a_slot_whose_slave_found_nothing_to_do_is_in_no_crash_loop() -> None:
    policy = RestartPolicy(0)
    policy.started(0.0)
    assert policy.ended(exit_of(0, frozenset()), 1.0) is None and not policy.crash_loop
    for _ in range(5):
        policy.ended(exit_of(1, frozenset()), 1.0)
    assert policy.crash_loop


def test_a_slot_whose_slaves_die_of_a_job_stays_open_until_that_is_found() -> None:
    """One slave never got past a job among a thousand that killed it: five deaths were too few to single it out."""
    policy, now, seen = RestartPolicy(0), 0.0, []
    while None not in seen:
        policy.started(now)
        now += 1.0
        seen.append(policy.ended(exit_of(SIGSEGV, frozenset({READY})), now, ready=True))
        now = seen[-1] or now
    assert len(seen) == 15 and policy.crash_loop
    found_in_a_million = 2 + 7 + 3  # two deaths, one for each eighth of an eighth, and all attempts alone
    assert len(seen) > found_in_a_million and now < 45.0, "without growing delays: it is the job's fault"
