"""What becomes of waiting jobs, as tables of plain numbers."""

from __future__ import annotations

import pytest

from taskmaster import defaults
from taskmaster.core.backlog_policy import BacklogPolicy, Split
from taskmaster.core.job_duration import JobDuration
from taskmaster.core.prefetch_target import PrefetchTarget
from taskmaster.core.runs import Runs


def policy(slots: int, seconds: float | None, handled: int = 1000) -> BacklogPolicy:
    """The policy of a slave whose jobs have taken so many seconds; None where none has ended."""
    duration = JobDuration()
    if seconds is not None:
        duration.observe(1, seconds)
    prefetch = PrefetchTarget(slots, duration)
    prefetch.handled(handled)
    return BacklogPolicy(duration, prefetch)


@pytest.mark.parametrize("seconds, jobs, size", [
    (None, 100, 1),             # nothing known: one each
    (1.0, 100, 1),
    (0.0005, 100, 4),           # 2 ms of work
    (0.0005, 20, 2),            # its share of what there is
    (1e-7, 5000, 5000),         # no-ops are not shared out
    (1e-7, 50_000, 20_000),
])
def test_a_slice_is_two_milliseconds_of_work_or_a_slots_share(seconds, jobs, size) -> None:
    assert policy(10, seconds).slice_size(jobs) == pytest.approx(size, abs=1)


@pytest.mark.parametrize("seconds, unstarted, held_up", [
    (None, 1000, False),        # nothing known: nothing to say
    (0.001, 0, False),          # nothing waits
    (0.001, 49, False),
    (0.001, 51, True),          # more than 50 ms of work
    (1e-7, 100_000, False),
    (0.06, 1, True),
])
def test_jobs_behind_a_running_one_are_held_up_by_more_than_a_leases_work(seconds, unstarted, held_up) -> None:
    assert policy(10, seconds).is_held_up(unstarted) is held_up


@pytest.mark.parametrize("seconds, held, overfull", [
    (None, 10, False), (None, 11, True), (0.01, 110, False), (0.01, 111, True), (10.0, 10, False), (10.0, 11, True)])
def test_a_slave_is_overfull_above_its_target_for_jobs_half_as_long(seconds, held, overfull) -> None:
    assert policy(10, seconds).is_overfull(held) is overfull


def test_up_to_the_target_what_waits_is_kept_and_the_rest_goes_back() -> None:
    """Ten slots and jobs of 50 ms: 20 jobs, of which 8 are with the handlers already."""
    splits = policy(10, 0.05).split([(100, 5), (300, 10), (500, 3)], 8, Runs())
    assert splits == [Split([(100, 5)], []), Split([(300, 7)], [(307, 3)]), Split([], [(500, 3)])]


def test_cancelled_jobs_go_back_and_take_no_room() -> None:
    [split] = policy(10, 0.05).split([(100, 16)], 8, Runs([(90, 12), (105, 2)]))
    assert split == Split([(102, 3), (107, 9)], [(100, 2), (105, 2)])


def test_nothing_is_kept_while_more_runs_than_the_target() -> None:
    assert policy(2, 10.0).split([(0, 3)], 5, Runs()) == [Split([], [(0, 3)])]


def test_each_waiting_job_is_either_kept_or_returned() -> None:
    waiting, cancelled = [(0, 40), (50, 1), (70, 200)], Runs([(10, 5), (69, 2), (100, 100)])
    for running in range(0, 150, 7):
        splits = policy(10, 0.005).split(waiting, running, cancelled)
        runs = [run for split in splits for run in split.kept + split.returned]
        assert Runs(runs) == Runs(waiting) and sum(count for _, count in runs) == 241
        kept = Runs([run for split in splits for run in split.kept])
        assert not any(kept.inside(*run) for run in cancelled)
        assert len(kept) <= max(0, 10 + int(10 * defaults.LEASE_SECONDS / 0.005) - running)
