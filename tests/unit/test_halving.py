"""Which calls a batch comes to when some of its jobs raise: each job is settled or fails alone, at a bounded cost."""

from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster.core.halving import Halving, most_together
from taskmaster.core.runs import Run, Runs


def play(runs: list[Run], bad: set[int]) -> tuple[list[Run], Runs, list[int]]:
    """All calls, what was settled, and what failed."""
    halving, calls, settled, failed = Halving(runs), [], Runs(), []
    while (jobs := halving.next()) is not None:
        calls.append(jobs)
        if bad.isdisjoint(range(jobs[0], sum(jobs))):
            assert settled.add(*jobs) == jobs[1], "settled twice"
        elif not halving.halve(jobs):
            failed.append(jobs[0])
    assert not halving
    return calls, settled, failed


def further_calls(jobs: int, bad: set[int]) -> int:
    return len(play([(0, jobs)], bad)[0]) - 1


@given(st.integers(1, 300), st.data())
def test_each_good_job_is_settled_once_and_each_bad_one_fails_once_alone(jobs: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, jobs - 1)))
    calls, settled, failed = play([(0, jobs)], bad)
    assert settled == Runs((at, 1) for at in sorted(set(range(jobs)) - bad))
    assert failed == sorted(bad)
    assert calls[0] == (0, jobs) and all((at, 1) in calls for at in bad)


@given(st.integers(1, 2000), st.data())
def test_one_bad_job_costs_two_calls_for_each_halving(jobs: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, jobs - 1))
    assert further_calls(jobs, {bad}) <= 2 * ceil(log2(jobs))


@pytest.mark.parametrize("bad", [0, 1, 511, 512, 777, 1023])
def test_one_bad_row_in_1024_costs_at_most_21_further_calls(bad: int) -> None:
    assert further_calls(1024, {bad}) <= 2 * log2(1024) + 1


@given(st.integers(1, 300), st.data())
def test_however_many_are_bad_it_is_two_calls_for_each_job(jobs: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, jobs - 1), min_size=1))
    further = further_calls(jobs, bad)
    assert further <= min(2 * jobs - 2, 2 * len(bad) * ceil(log2(jobs)))


@given(st.integers(1, 300), st.integers(0, 600), st.data())
def test_what_is_left_at_any_time_is_all_that_no_call_has_ended(jobs: int, steps: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, jobs - 1)))
    halving, ended = Halving([(0, jobs)]), Runs()
    for _ in range(steps):
        call = halving.next()
        if call is None:
            break
        if bad.isdisjoint(range(call[0], sum(call))) or not halving.halve(call):
            ended.add(*call)
    left = halving.take()
    assert left == sorted(left) and list(Runs(left)) == ended.outside(0, jobs)
    assert not halving and halving.next() is None


def test_runs_that_are_apart_are_called_apart() -> None:
    calls, settled, failed = play([(0, 2), (5, 3)], {6})
    assert calls[0] == (0, 2) and calls[1] == (5, 3)
    assert list(settled) == [(0, 2), (5, 1), (7, 1)] and failed == [6]


@pytest.mark.parametrize("batch, sizes", [
    (1, [1, 1, 1]), (2, [2, 1, 1]), (100, [100, 10, 1, 1]), (1000, [1000, 31, 1])])
def test_at_further_attempts_fewer_jobs_share_a_call(batch: int, sizes: list[int]) -> None:
    assert [most_together(batch, attempt) for attempt in range(1, len(sizes) + 1)] == sizes
