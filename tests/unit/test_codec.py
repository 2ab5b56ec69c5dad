"""Batches: what goes in comes out, cut anywhere, and a bad job spoils nobody."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.values import decoded as decode
from taskmaster.core.codec import BadJob, Batch, GoodJobs, encode

LIMIT = 10_000
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PAYLOAD = st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


class Explosive:
    """Encodes, but raises when it is decoded."""

    def __reduce__(self) -> Any:
        return (_explode, ())


def _explode() -> None:
    raise RuntimeError("boom")


def only_batch(payloads: list[Any], codec: str = "pickle") -> Batch:
    [good] = encode(payloads, codec, LIMIT)
    assert isinstance(good, GoodJobs) and good.index == 0
    return good.batch


@given(st.lists(PAYLOAD, min_size=1, max_size=12), st.data())
def test_every_part_of_every_batch_decodes_to_its_slice(payloads: list[Any], data: Any) -> None:
    batch = only_batch(payloads)
    assert decode(batch.form, batch.blob()) == decode(batch.form, memoryview(batch.blob())) == (payloads, {})
    first = data.draw(st.integers(0, len(payloads) - 1))
    count = data.draw(st.integers(1, len(payloads) - first))
    part = batch.slice(first, count)
    assert decode(part.form, part.blob()) == (payloads[first:first + count], {})
    assert [part.payload(index) for index in range(count)] == payloads[first:first + count]
    again = part.slice(count - 1, 1)
    assert decode(again.form, again.blob()) == ([payloads[first + count - 1]], {})


class Odd(int):
    """Of a type of the user's."""


@pytest.mark.parametrize("payloads, codec, form", [
    ([1, "a", None, 2.5, b"x", True], "pickle", "pickle"),
    ([1, (2, [3, {"a": {4}}])], "pickle", "pickle"),
    ([1, 2, Odd(3)], "pickle", "pickles"),
    ([1, (2, [Odd(3)])], "pickle", "pickles"),
    ([Explosive()], "pickle", "pickles"),
    ([print], "pickle", "pickles"),
    ([{"a": [1]}], "json", "json"),
])
def test_plain_values_are_one_pickle_and_others_one_each(payloads: list[Any], codec: str, form: str) -> None:
    assert only_batch(payloads, codec).form == form


def test_of_two_jobs_that_hold_one_list_each_gets_its_own() -> None:
    shared = [1]
    batch = only_batch([(1, shared), (2, shared)])
    for blob in (batch.blob(), batch.slice(0, 2).blob(), batch.slice(1, 1).blob()):
        payloads, _ = decode(batch.form, blob)
        payloads[0][1].append(2)
        assert payloads[-1][1] in ([1], [1, 2]) and (len(payloads) == 1 or payloads[-1][1] == [1])


def test_a_job_that_would_grow_without_bound_if_written_out_goes_as_it_is() -> None:
    nested: list[Any] = [1]
    for _ in range(40):  # 2**40 ones
        nested = [nested, nested]
    [good] = encode([nested], "pickle", LIMIT)
    assert isinstance(good, GoodJobs) and good.batch.form == "pickles" and good.batch.size < 1000
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    [good] = encode([cyclic], "pickle", LIMIT)
    assert isinstance(good, GoodJobs) and good.batch.form == "pickles"


@pytest.mark.parametrize("codec, bad", [("pickle", lambda: None), ("json", {1}), ("json", float("nan"))])
def test_a_job_that_does_not_encode_is_named_and_its_neighbours_go(codec: str, bad: Any) -> None:
    first, failure, last = encode([1, [2], bad, 4], codec, LIMIT)
    assert isinstance(failure, BadJob) and (failure.index, failure.kind) == (2, "unpicklable")
    assert isinstance(first, GoodJobs) and decode(first.batch.form, first.batch.blob()) == ([1, [2]], {})
    assert isinstance(last, GoodJobs) and (last.index, last.batch.count) == (3, 1)


@pytest.mark.parametrize("codec, large", [
    ("pickle", b"x" * 20_000), ("pickle", [b"x" * 20_000]), ("json", "x" * 20_000)])
def test_a_job_over_the_limit_is_named(codec: str, large: Any) -> None:
    first, failure = encode([1, large], codec, LIMIT)
    assert isinstance(failure, BadJob) and failure.kind == "too large" and "20,0" in failure.message
    assert isinstance(first, GoodJobs)


def test_many_small_scalars_over_the_limit_together_are_no_failure() -> None:
    [good] = encode(["x" * 100] * 1000, "pickle", LIMIT)
    assert isinstance(good, GoodJobs) and good.batch.count == 1000


def test_a_slice_of_one_job_keeps_no_neighbour_in_memory() -> None:
    whole = only_batch([[number] for number in range(1000)])
    one = whole.slice(700, 1)
    assert one._parts == [[700]] and one.reader(0)() == [700]
    assert decode(one.form, one.blob()) == ([[700]], {})


def test_a_reader_decodes_its_job_as_it_was_after_the_batch_was_cut() -> None:
    whole = only_batch([Odd(number) for number in range(10)])
    read = whole.reader(4)
    whole.slice(0, 3)
    assert read() == Odd(4) and whole.slice(4, 2).reader(1)() == Odd(5)


def test_a_job_that_does_not_decode_spoils_nobody() -> None:
    batch = only_batch([1, Explosive(), 3])
    payloads, bad = decode(batch.form, batch.blob())
    assert payloads == [1, None, 3] and list(bad) == [1] and str(bad[1]) == "boom"
    assert batch.slice(0, 1).payload(0) == 1, "cutting a batch decodes no job"


def test_what_the_source_does_to_an_object_afterwards_changes_nothing() -> None:
    row = {"id": 1}
    batch = only_batch([row])
    row["id"] = 2
    assert batch.payload(0) == {"id": 1}


@pytest.mark.parametrize("form, blob", [("pickle", b"junk"), ("json", b"{"), ("json", b"{}"), ("tar", b""),
                                        ("pickle", pickle.dumps(7))])
def test_what_is_no_batch_is_a_value_error(form: str, blob: bytes) -> None:
    with pytest.raises(ValueError, match="form"):
        decode(form, blob)


@pytest.mark.parametrize("codec", ["pickle", "json"])
def test_a_few_large_jobs_among_tiny_ones_do_not_share_a_batch(codec: str) -> None:
    payloads = ["x"] * 50 + ["y" * 3_000_000] * 4 + ["x"] * 50
    pieces = encode(payloads, codec, 16 << 20)
    batches = [piece.batch for piece in pieces if isinstance(piece, GoodJobs)]
    assert max(batch.size for batch in batches) < 5 << 20, "or a lease cut by the mean overflows its frame"
    assert [payload for batch in batches for payload in decode(batch.form, batch.blob())[0]] == payloads
