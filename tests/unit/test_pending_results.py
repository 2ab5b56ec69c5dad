"""Results behind a slow job: in order, saved for as long as they wait, and read back by the next run."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster.core.pending_results import PendingResults, ResultsToSave
from taskmaster.core.results import Results
from taskmaster.core.waiting_results import newest_of, record_of, records_in


def of(first: int, count: int = 1, text: str = "", cursors: Any = None, failed: bool = False) -> Results:
    lines = b"".join(b'"%d%s"\n' % (at, text.encode()) for at in range(first, first + count))
    return Results(first, count, lines, cursors, failed)


def offsets(results: Iterable[Results]) -> list[int]:
    return [at for one in results for at in range(one.first, one.first + one.count)]


def saved(pending: PendingResults, watermark: int, head: int = 100, whole: bool = True) -> tuple[list[int], list[int]]:
    found = pending.to_save(watermark, head, whole)
    return offsets(found.written), offsets(found.waiting)


# -- what waits


def test_results_are_written_in_order_once_the_watermark_has_passed_their_jobs() -> None:
    pending = PendingResults()
    pending.add([of(5, 2), of(1), of(3)])
    assert saved(pending, 1, whole=False) == ([], [])
    assert saved(pending, 4, whole=False) == ([1, 3], [])
    pending.add([of(4)])
    assert saved(pending, 7, whole=False) == ([4, 5, 6], []) and pending.bytes == 0


def test_without_an_order_they_are_written_as_they_come() -> None:
    pending = PendingResults(in_order=False)
    pending.add([of(5, 2), of(1)])
    found = pending.to_save(0, 9, whole=True)
    assert offsets(found.written) == [1, 5, 6] and not found.counts and found.since == 9


def test_what_waits_goes_to_its_file_once() -> None:
    pending = PendingResults()
    pending.add([of(1), of(3)])
    found = pending.to_save(0, 9, whole=True)
    assert found == ResultsToSave((), (of(1), of(3)), 0, counts=True, anew=True)
    pending.add([of(5)])
    assert pending.to_save(0, 9, whole=True) == ResultsToSave((), (of(5),), 0, counts=True)
    assert pending.to_save(2, 9, whole=True) == ResultsToSave((of(1),), (), 2, counts=True)


def test_a_checkpoint_that_does_not_count_on_the_file_ends_it() -> None:
    pending = PendingResults()
    pending.add([of(3)])
    assert pending.to_save(0, 9, whole=True).anew
    assert pending.to_save(1, 9, whole=False) == ResultsToSave(since=1)
    pending.add([of(5)])
    assert pending.to_save(1, 9, whole=True) == ResultsToSave((), (of(3), of(5)), 1, counts=True, anew=True)


def test_the_file_begins_anew_when_most_of_it_is_obsolete() -> None:
    pending = PendingResults()
    pending.slack_bytes = 0
    pending.add([of(at) for at in range(1, 9)])
    assert pending.to_save(0, 9, whole=True).anew
    assert not pending.to_save(4, 9, whole=True).anew
    assert pending.to_save(7, 9, whole=True) == ResultsToSave(tuple(of(at) for at in (4, 5, 6)), (of(7), of(8)), 7,
                                                              counts=True, anew=True)


@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 40), max_size=6), st.integers(0, 8)), max_size=12),
       st.lists(st.booleans()))
def test_however_long_the_disk_refuses_all_is_where_the_checkpoint_says(
    steps: list[tuple[bool, set[int], int]], refused: list[bool],
) -> None:
    """Offers that could not be saved are saved together with the next one."""
    pending, sink, file, watermark = PendingResults(), list[int](), list[int](), 0
    pending.slack_bytes = 10
    settled: set[int] = set()
    unsaved: list[ResultsToSave] = []
    for number, (whole, new, step) in enumerate(steps):
        pending.add([of(at) for at in sorted(new - settled) if at >= watermark])
        settled |= {at for at in new if at >= watermark}
        watermark += step
        unsaved.append(pending.to_save(watermark, 50, whole))
        if number < len(refused) and refused[number]:
            continue
        given = unsaved[0]
        for later in unsaved[1:]:
            given = given.then(later)
        unsaved = []
        sink += offsets(given.written)
        file = offsets(given.waiting) if given.anew else file + offsets(given.waiting)
        assert sink == sorted(at for at in settled if at < watermark)
        if given.counts:
            assert {at for at in settled if at >= watermark} == {at for at in file if at >= given.since}
        assert whole is given.counts or settled == set(sink)


# -- the next run


def test_a_job_that_is_passed_over_has_the_result_that_waited() -> None:
    pending = PendingResults(before=[of(3, 4), of(8, 1, failed=True)])
    size = pending.bytes
    pending.pass_over(4, 2, ["a", "b"])
    assert pending.bytes == size - len(b'"3"\n')  # it runs again
    pending.pass_over(8, 1, None)
    assert pending.take(100) == [of(4, 2, cursors=["a", "b"]), of(8, failed=True)]
    assert pending.bytes == 0


def test_what_is_not_read_again_yet_is_saved_again() -> None:
    pending = PendingResults(before=[of(3, 4), of(8)])
    pending.pass_over(3, 1, None)
    pending.add([of(2)])
    found = pending.to_save(0, 5, whole=True)  # 4 has come, and runs again
    assert sorted(offsets(found.waiting)) == [2, 3, 5, 6, 8] and found.anew


def test_unordered_after_a_run_in_order_they_count_up_to_the_head() -> None:
    pending = PendingResults(in_order=False, before=[of(3, 4)])
    pending.pass_over(3, 2, None)
    pending.add([of(20)])
    found = pending.to_save(0, 5, whole=True)
    assert (offsets(found.written), offsets(found.waiting), found.since) == ([3, 4, 20], [5, 6], 5)


# -- the file


def test_records_are_read_as_they_were_written() -> None:
    records = [of(3, 2), of(9, failed=True), of(4, text="x")]
    data = b"".join(map(record_of, records))
    assert records_in(BytesIO(data + b"rest"), len(data)) == records


@pytest.mark.parametrize("data", [b"1 1 4 0\n\"1\"", b"1 2 4 0\n\"1\"\n", b"1 1 4\n\"1\"\n", b"\0" * 20,
                                  b"x 1 4 0\n\"1\"\n", b"1 1 4 0\n\"1\"x\n", b"1 1 -4 0\n\"1\"\n"])
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        records_in(BytesIO(data), len(data))


def test_the_last_result_of_a_job_counts() -> None:
    records = [of(1, 6), of(3, 1, "again"), of(5, 2, "later"), of(20)]
    assert newest_of(records, [(2, 4), (6, 1), (9, 1)]) == [
        of(2), of(3, 1, "again"), of(4), of(5, 2, "later")]
