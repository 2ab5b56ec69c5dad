"""Jobs wait for others of their batch, and not for long: no batch is too large, and no job is lost."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster import defaults
from taskmaster.slave.filling import Filling
from taskmaster.slave.job_batch import JobBatch
from taskmaster.slave.slice import Slice

FILL = defaults.BATCH_FILL_SECONDS


def jobs(first: int, count: int, attempt: int = 1) -> Slice:
    return Slice(1, first, attempt, list(range(first, first + count)))


def offsets(batch: JobBatch | None) -> list[int]:
    assert batch is not None
    found = batch.offsets((0, batch.count))
    assert found == [payload for one in batch.slices for payload in one.payloads]
    return found


def test_a_batch_may_span_leases_and_be_a_part_of_one() -> None:
    filling = Filling(10)
    assert filling.put(jobs(0, 6), 0.0) == []
    [one] = filling.put(jobs(20, 6), 0.0)
    assert offsets(one) == [*range(6), *range(20, 24)]
    two, three = filling.put(jobs(50, 19), 0.0)
    assert offsets(two) == [24, 25, *range(50, 58)] and offsets(three) == list(range(58, 68))
    assert offsets(filling.take_oldest()) == [68] and filling.take_oldest() is None


def test_what_is_not_full_is_due_a_while_after_its_first_job() -> None:
    filling = Filling(10)
    assert filling.due == inf
    filling.put(jobs(0, 3), 7.0)
    filling.put(jobs(3, 3), 7.04)
    assert filling.due == 7.0 + FILL
    filling.put(jobs(6, 5), 7.045)  # ten go, and one is left, which came just now
    assert filling.due == 7.045 + FILL
    assert offsets(filling.take_oldest()) == [10] and filling.due == inf


def test_a_batch_that_became_full_leaves_nothing_due() -> None:
    filling = Filling(3)
    assert len(filling.put(jobs(0, 6), 1.0)) == 2 and filling.due == inf


def test_jobs_that_failed_are_not_put_together_with_new_ones() -> None:
    filling = Filling(9)
    filling.put(jobs(100, 2, attempt=2), 1.0)
    assert len(filling.put(jobs(0, 9), 2.0)) == 1 and filling.due == 1.0 + FILL
    [full] = filling.put(jobs(200, 1, attempt=2), 3.0)
    assert offsets(full) == [100, 101, 200], "at the second attempt three of nine go together"
    assert [offsets(one) for one in filling.put(jobs(300, 2, attempt=3), 3.0)] == [[300], [301]]


def test_the_one_that_waited_longest_goes_first() -> None:
    filling = Filling(100)
    filling.put(jobs(5, 1, attempt=2), 1.0)
    filling.put(jobs(0, 1), 2.0)
    assert offsets(filling.take_oldest()) == [5] and offsets(filling.take_oldest()) == [0]


def test_what_is_taken_back_waits_no_more() -> None:
    filling = Filling(100)
    filling.put(jobs(0, 2), 1.0)
    filling.put(jobs(9, 2), 1.0)
    assert [one.first for one in filling.take_back()] == [0, 9]
    assert filling.due == inf and filling.take_oldest() is None


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(1, 100), st.integers(1, 3)), max_size=20))
def test_each_job_is_in_one_batch_and_none_is_too_large(size: int, leases: list[tuple[int, int]]) -> None:
    filling, first, batches, given_ = Filling(size), 0, [], []
    for count, attempt in leases:
        batches += filling.put(jobs(first, count, attempt), 0.0)
        given_ += [(offset, attempt) for offset in range(first, first + count)]
        first += count + 1
    while (batch := filling.take_oldest()) is not None:
        batches.append(batch)
    assert all(0 < one.count <= size for one in batches)
    found = [(offset, one.attempt) for one in batches for offset in offsets(one)]
    assert sorted(found) == sorted(given_)
    for attempt in (1, 2, 3):
        mine = [offset for offset, other in found if other == attempt]
        assert mine == sorted(mine), "they go out in order"


@pytest.mark.parametrize("run, parts", [
    ((0, 7), [(10, 3), (20, 4)]), ((1, 3), [(11, 2), (20, 1)]), ((3, 4), [(20, 4)]), ((2, 1), [(12, 1)])])
def test_parts_of_a_batch_are_its_jobs_by_number(run: tuple[int, int], parts: list[tuple[int, int]]) -> None:
    batch = JobBatch((jobs(10, 3), jobs(20, 4)))
    assert [(one.first, one.count) for one in batch.parts(run)] == parts
    assert all(one.payloads == list(range(one.first, one.first + one.count)) for one in batch.parts(run))
