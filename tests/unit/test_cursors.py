"""Which cursor a checkpoint may name, and how long cursors are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskmaster.core.cursors import Cursors
from taskmaster.job import NO_CURSOR


def test_a_cursor_that_equals_the_count_is_a_cursor() -> None:
    """Told by its value it counted as none: after the next row was deleted, a resume refused to start."""
    cursors = Cursors()
    cursors.add(0, [1, 2, NO_CURSOR], 0)
    assert [cursors.own(at) for at in range(4)] == [1, 2, NO_CURSOR, NO_CURSOR]


def test_a_page_that_shares_a_cursor_is_behind_it_or_not() -> None:
    """Stopped within the page, a resume began behind it: 50 of 100 jobs were lost."""
    cursors = Cursors()
    cursors.add(0, ["a", "b", "b"], 0)
    cursors.add(3, ["b", "c"], 0)
    assert [cursors.boundary(at, 5, False) for at in range(5)] == [0, 1, 1, 1, 4]


def test_the_newest_jobs_cursor_may_be_the_next_ones_too() -> None:
    cursors = Cursors()
    cursors.add(0, ["a", "b"], 0)
    assert cursors.boundary(2, 2, exhausted=False) == 1
    assert cursors.boundary(2, 2, exhausted=True) == 2
    assert Cursors().boundary(2, 2, exhausted=False) == 2  # a plain job: counting needs no look ahead


CURSORS = st.lists(st.sampled_from(["a", "b", "c", NO_CURSOR]), min_size=1, max_size=30)


@given(CURSORS, st.lists(st.integers(1, 5), min_size=30, max_size=30), st.data())
def test_as_a_list_of_cursors_would_have_it(cursors: list[object], cuts: list[int], data: st.DataObject) -> None:
    kept, at = Cursors(), 0
    kept.TRIM = data.draw(st.integers(0, 3))  # type: ignore[misc]
    for cut in cuts:
        if cursors[at:at + cut]:
            kept.add(at, cursors[at:at + cut], 10)
        at += cut
    low = 0
    for offset in sorted(data.draw(st.lists(st.integers(0, len(cursors)), max_size=6))):
        start = offset
        if offset == len(cursors) and cursors[-1] is not NO_CURSOR:
            start -= 1
        while 0 < start < len(cursors) and cursors[start] == cursors[start - 1] is not NO_CURSOR:
            start -= 1
        assert kept.boundary(offset, len(cursors), False) == start
        low = max(low, start)
        kept.trim(low)
        assert [kept.own(one) for one in range(max(0, low - 1), len(cursors))] == cursors[max(0, low - 1):]
        rest = cursors[low:]
        found = kept.of(low, len(rest)) if rest else None
        assert found is None or found == rest


def test_cursors_that_are_behind_are_not_kept() -> None:
    """They were kept for a thousand slices and counted nowhere: 1.1 GiB with cursors of 1 kB."""
    cursors = Cursors()
    for first in range(0, 100_000, 100):
        cursors.add(first, [f"{at:01000}" for at in range(first, first + 100)], 100_000)
        cursors.trim(first)
        assert cursors.bytes < 2_000_000
