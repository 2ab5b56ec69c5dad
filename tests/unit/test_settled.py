"""What is settled above the watermark: kept, identified, written down, and passed over by the next run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster.core.codec import BadJob, Batch, GoodJobs, encode
from taskmaster.core.identity import IDENTITY_BYTES, identities, of_bad
from taskmaster.core.settled import Above, Entry, SettledAbove, SettledBefore
from taskmaster.job import NO_CURSOR
from taskmaster.master.pulled import PassedOver, Pulled, sifted


class Mine:
    """A payload of the user's own class."""

    def __init__(self, number: int) -> None:
        self.number = number


def batch_of(payloads: list[Any], codec: str = "pickle") -> Batch:
    (good,) = encode(payloads, codec, 1 << 20)
    assert isinstance(good, GoodJobs)
    return good.batch


def parts(data: bytes) -> list[bytes]:
    return [data[at:at + IDENTITY_BYTES] for at in range(0, len(data), IDENTITY_BYTES)]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6)


@given(st.lists(PLAIN, min_size=1, max_size=20), st.data())
def test_a_job_has_one_identity_however_it_was_sliced(payloads: list[Any], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(payloads) - 1))
    whole = parts(identities(batch_of(payloads), 0, len(payloads)))
    assert whole == [identities(batch_of([payload]), 0, 1) for payload in payloads]
    assert whole[cut:] == parts(identities(batch_of(payloads), cut, len(payloads) - cut))


@given(PLAIN)
def test_a_job_has_one_identity_whatever_its_neighbours_are(payload: Any) -> None:
    """Beside an object of a class each job is pickled by itself: it counted as another job and was repeated."""
    beside = batch_of([payload, Mine(1)])
    assert beside.form == "pickles"
    assert identities(beside, 0, 1) == identities(batch_of([payload]), 0, 1)


@pytest.mark.parametrize("one, other", [
    (1, True), (1, 1.0), (1, "1"), ("1", b"1"), ([1], (1,)), ({"a": 1}, {"a": 2}), ("", None), ({1}, {2}), ({1}, [1]),
])
def test_other_payloads_have_other_identities(one: Any, other: Any) -> None:
    assert identities(batch_of([one]), 0, 1) != identities(batch_of([other]), 0, 1)


def test_equal_parts_that_are_one_object_count_like_equal_parts_that_are_two() -> None:
    one = "x" * 50
    other = "".join(["x"] * 50)
    assert one is not other
    assert identities(batch_of([[one, one]]), 0, 1) == identities(batch_of([[one, other]]), 0, 1)


def test_a_cursor_is_an_identity_whatever_the_payload() -> None:
    batch = batch_of(["old", "new"])
    first, second = parts(identities(batch, 0, 2, [7, 7]))
    assert first == second != identities(batch, 0, 1)
    assert parts(identities(batch, 0, 2, [7, NO_CURSOR]))[1] == identities(batch, 1, 1)
    assert identities(batch_of([7]), 0, 1) != identities(batch, 0, 1, [7])  # a cursor is no payload


PROGRAM = """
from taskmaster.core.codec import encode
from taskmaster.core.identity import identities
payloads = [{"a", "b", "c", "d"}, {"k": frozenset("abcdef")}, ("x", {"y", "z"}), {"plain": [1, 2.5, None]}]
(good,) = encode(payloads, "pickle", 1 << 20)
print(identities(good.batch, 0, len(payloads)).hex())
"""


def test_sets_have_the_same_identity_in_every_process() -> None:
    """Their order is another in each: a resume would repeat every job that holds one."""
    seen = {subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
                           capture_output=True, text=True).stdout for seed in ("1", "2", "3")}
    assert len(seen) == 1 and len(seen.pop().strip()) == 4 * 2 * IDENTITY_BYTES


# -- above the watermark


def entry(first: int, payloads: list[Any], cursors: list[Any] | None = None) -> Entry:
    return Entry(first, len(payloads), batch_of(payloads), 0, cursors)


def test_a_snapshot_joins_neighbours_and_leaves_out_what_the_watermark_passed() -> None:
    settled = SettledAbove()
    for first in (20, 10, 12, 5):
        settled.add(entry(first, [first, first + 1]))
    assert settled.snapshot(3).above().runs == ((5, 2), (10, 4), (20, 2))
    assert settled.snapshot(11).above().runs == ((11, 3), (20, 2))
    assert settled.snapshot(13).above() == Above(((13, 1), (20, 2)), identities(batch_of([13, 20, 21]), 0, 3))
    assert settled.snapshot(22).above() == Above()


def test_an_entry_that_was_identified_keeps_no_payload() -> None:
    settled = SettledAbove()
    settled.add(entry(5, ["x" * 1000] * 3))
    assert settled.bytes > 2900
    settled.snapshot(0).above()
    assert settled.snapshot(0).entries[0].is_identified and settled.bytes == 0
    assert settled.snapshot(6).above().runs == ((6, 2),)


def test_what_is_settled_job_by_job_becomes_one_entry_once_it_is_identified() -> None:
    """100,000 jobs that a slow source gave, above a job that takes long, took 38 MiB."""
    settled = SettledAbove()
    for first in (7, 5, 6, 20, 9, 21):
        settled.add(entry(first, [first]))
    one_by_one = settled.snapshot(0).above()
    assert settled.snapshot(0).above() == one_by_one and one_by_one.runs == ((5, 3), (9, 1), (20, 2))
    assert (len(settled), settled.bytes) == (3, 0)
    settled.add(entry(8, [8]))
    settled.snapshot(0).above()
    assert settled.snapshot(6).above() == Above(((6, 4), (20, 2)), identities(batch_of([6, 7, 8, 9, 20, 21]), 0, 6))
    settled.passed(10)
    assert len(settled) == 1


def test_what_the_watermark_passed_does_not_pile_up() -> None:
    """Straggler after straggler: what one of them held back must be gone when the next one is reached."""
    settled = SettledAbove()
    for step in range(100):
        settled.add(entry(2 * step + 1, ["y" * 100]))
    settled.passed(101)
    assert len(settled) == 50 and 5000 <= settled.bytes < 10_000
    settled.passed(200)
    assert len(settled) == settled.bytes == 0


@pytest.mark.parametrize("runs, count", [(((0, 0),), 0), (((5, 2), (6, 1)), 3), (((9, 1), (5, 1)), 2), (((5, 2),), 1)])
def test_what_is_no_set_of_settled_jobs_is_refused(runs: tuple[tuple[int, int], ...], count: int) -> None:
    with pytest.raises(ValueError):
        Above(runs, bytes(count * IDENTITY_BYTES))


# -- the next run


OFFSETS = st.sets(st.integers(10, 60), max_size=40)


@given(OFFSETS, st.sets(st.integers(10, 60)), st.integers(1, 17), st.booleans())
def test_a_resume_passes_over_what_was_settled_and_is_the_same_job(settled: set[int], changed: set[int], step: int,
                                                                   own: bool) -> None:
    above = SettledAbove()
    for offset in settled:
        above.add(entry(offset, [f"job {offset}"], [offset * 3] if own else None))
    before = SettledBefore(above.snapshot(10).above())
    passed: set[int] = set()
    for first in range(10, 70, step):
        offsets = range(first, first + step)
        cursors = [at * 3 + (at in changed) for at in offsets] if own else None
        batch = batch_of([f"job {at}" + ("!" if at in changed else "") for at in offsets])
        for found in before.matches(first, batch, cursors):
            passed.update(range(found.first, found.first + found.count))
            assert found.is_identified
    assert passed == settled - changed


@pytest.mark.parametrize("bad, cursor, passed", [
    (BadJob(1, "unpicklable", "TypeError", "cannot pickle <Lock at 0x7F00>"), NO_CURSOR, True),
    (BadJob(1, "unpicklable", "TypeError", "cannot pickle <File at 0x7f01>"), NO_CURSOR, False),
    (BadJob(1, "too large", "JobTooLarge", "20 MB"), "id-5", True),
    (BadJob(1, "too large", "JobTooLarge", "20 MB"), "id-6", False),
])
def test_a_job_that_cannot_be_sent_fails_once_and_not_in_each_run(bad: BadJob, cursor: Any, passed: bool) -> None:
    """It has no payload to tell it by, so each resume behind a slow job added its failure to unordered results."""
    lock = BadJob(1, "unpicklable", "TypeError", "cannot pickle <Lock at 0x7f01>")
    before = SettledBefore(Above(((5, 1), (7, 2)), of_bad(lock, "id-5" if cursor is not NO_CURSOR else NO_CURSOR)
                                 + bytes(2 * IDENTITY_BYTES)))
    pulled = Pulled([GoodJobs(0, batch_of([1])), bad, GoodJobs(2, batch_of([2]))], 3,
                    None if cursor is NO_CURSOR else [1, cursor, 2], 10)

    pieces = list(sifted(pulled, 4, before))

    assert [type(piece) for piece in pieces] == [GoodJobs, PassedOver if passed else BadJob, GoodJobs]
    assert all(piece.entry.first == 5 for piece in pieces if isinstance(piece, PassedOver))


def test_offsets_are_in_or_not() -> None:
    above = Above(((5, 2), (9, 1)), bytes(3 * IDENTITY_BYTES))
    assert [at for at in range(12) if at in above] == [5, 6, 9]
    assert SettledBefore(above).over(10) and not SettledBefore(above).over(9) and SettledBefore(Above()).over(0)
