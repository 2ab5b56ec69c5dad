"""pack and unpack give the same value back; digest tells values apart and never raises."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import fractions
import functools
import json
import math
import pathlib
import threading
from collections import Counter, OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster.core.portable import digest, freeze, pack, thaw, unpack


class Colour(enum.IntEnum):
    RED = 1


class Label(str):
    pass


Point = namedtuple("Point", "x y")


@dataclass
class Customer:
    name: str
    tags: Any = None


class Moody:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise KeyError("not today")


class Boxed:
    def __init__(self, content: int) -> None:
        self.content = content

    def __reduce__(self) -> Any:
        return Boxed, (self.content,)


class Loud(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise LookupError("no items")


def kind(value: object) -> str:
    return type(value).__name__


def nested(depth: int) -> Any:
    value: Any = "end"
    for _ in range(depth):
        value = [value]
    return value


def looped() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [
    None, True, False, 0, 1, -(10 ** 30), 1.5, -0.0, "", "é\0\ud800", [], {}, [1, [2, {"a": None}]],
    {"b": 1, "a": 2},
    nested(90),
], ids=kind)
def test_plain_values_travel_as_json(value: Any) -> None:
    assert pack(value) == {"json": value}
    assert unpack(json.loads(json.dumps(pack(value)))) == value


@pytest.mark.parametrize("value", [
    (1, 2), [(1, 2)], {"a": (1,)}, {1: "a"}, {True: 1}, {None: 1}, {1.5: 1}, b"x", {1, 2}, Colour.RED,
    [Colour.RED], Label("x"),
    {Label("x"): 1}, OrderedDict(a=1), Point(1, 2), math.inf, [-math.inf], "\ud800\udc00", 10 ** 5000,
    datetime.date(2024, 2, 29), Customer("Ann", {1}), nested(200),
], ids=kind)
def test_other_values_travel_as_pickles_and_keep_their_types(value: Any) -> None:
    packed = pack(value)
    assert list(packed) == ["pickle"]
    back = unpack(json.loads(json.dumps(packed)))
    assert back == value and type(back) is type(value)


def test_nan_comes_back_as_nan() -> None:
    assert math.isnan(unpack(pack(math.nan)))
    assert math.isnan(unpack(pack({"a": [math.nan]}))["a"][0])


def test_order_of_keys_is_kept() -> None:
    assert list(unpack(json.loads(json.dumps(pack({"b": 1, "a": 2}))))) == ["b", "a"]


def test_a_cycle_travels() -> None:
    back = unpack(pack(looped()))
    assert back[0] is back


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner)
    | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


def typed(value: Any) -> Any:
    """The value with the type of every part beside it, so that 1, True and 1.0 differ."""
    if isinstance(value, (list, tuple)):
        return type(value), [typed(part) for part in value]
    if isinstance(value, dict):
        return dict, [(typed(key), typed(part)) for key, part in value.items()]
    return type(value), repr(value)


@given(json_values)
def test_any_value_comes_back_with_its_types(value: Any) -> None:
    assert typed(unpack(json.loads(json.dumps(pack(value))))) == typed(value)


@pytest.mark.parametrize("value", [
    lambda: 1, threading.Lock(), Moody(), memoryview(b"x"), nested(100_000), [Loud(a=threading.Lock())],
], ids=kind)
def test_what_nothing_can_carry_is_refused_in_a_sentence(value: Any) -> None:
    with pytest.raises(ValueError, match="neither as JSON nor as a pickle"):
        pack(value)


@pytest.mark.parametrize("tagged", [
    None, 5, [], {}, "json", {"json": 1, "pickle": ""}, {"yaml": 1}, {"pickle": 5}, {"pickle": "!!"},
    {"pickle": ""}, {"pickle": "AAAA"},
    {"pickle": "Y25vd2hlcmUKdGhpbmcKLg=="}, {1: 2},
])
def test_nonsense_is_not_unpacked(tagged: Any) -> None:
    with pytest.raises(ValueError):
        unpack(tagged)


DISTINCT = [
    None, False, True, 0, 1, 0.0, 1.0, "", "1", b"", b"1", [], [1], [[1]], (), (1,), {}, {1: 2}, {2: 1}, {1},
    frozenset({1}), set(),
    [1, 2], [2, 1], {"a": 1, "b": 2}, {"a": 2, "b": 1}, "none:", -1, 255, 256, -128, 128, 10 ** 5000,
    "\ud800", "é", math.nan, math.inf,
    Colour.RED, Label("1"), Point(1, 2), (1, 2), Customer("a"), Customer("b"), Customer, Colour, nested, len,
    "ab".upper, [].append,
    OrderedDict(a=1), defaultdict(int, a=1), Counter("a"), datetime.date(2024, 1, 1),
    datetime.datetime(2024, 1, 1),
    decimal.Decimal("1.0"), decimal.Decimal("1.00"), fractions.Fraction(1, 2), complex(0, 1),
    pathlib.PurePosixPath("/a"), range(3),
    bytearray(b"1"), functools.partial(int, "1"), functools.partial(int, "2"), nested(90), nested(89),
]


def test_different_values_have_different_digests() -> None:
    found = [digest(value) for value in DISTINCT]
    assert None not in found
    assert len(set(found)) == len(DISTINCT)


@pytest.mark.parametrize("one, other", [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({3, 1, 2}, {2, 3, 1}),
    (0.0, -0.0),
    (math.nan, -math.nan),
    ([(1, 2)] * 2, [(1, 2), tuple([1, 2])]),
    (Customer("a", [1]), Customer("a", [1])),
    (defaultdict(int, a=1, b=2), defaultdict(int, b=2, a=1)),
])
def test_equal_values_have_equal_digests(one: Any, other: Any) -> None:
    assert digest(one) == digest(other) is not None


def test_a_digest_is_32_hex_digits() -> None:
    text = digest({"id": 7})
    assert text is not None and len(text) == 32 and int(text, 16) >= 0


def self_holding() -> Customer:
    customer = Customer("a")
    customer.tags = [customer]
    return customer


@pytest.mark.parametrize("value", [
    looped(), self_holding(), nested(101), nested(100_000), threading.Lock(), Moody(), [Moody()],
    {"a": (letter for letter in "ab")}, json,
    memoryview(b"x"), list(range(100_001)),
], ids=kind)
def test_where_no_digest_can_be_promised_there_is_none(value: Any) -> None:
    assert digest(value) is None


def test_parts_that_live_only_while_an_object_is_reduced_are_not_mixed_up() -> None:
    assert digest([fractions.Fraction(1, n) for n in range(2, 50)]) != digest([fractions.Fraction(1, 2)] * 48)
    assert digest([Boxed(n) for n in range(48)]) != digest([Boxed(0) for _ in range(48)])


def test_shared_parts_cost_once() -> None:
    value: Any = ["leaf"]
    for _ in range(60):  # 2 ** 60 paths
        value = [value, value]
    assert digest(value) is not None


@pytest.mark.parametrize("value", [0, "row", (1, 2), [3, {"a": None}], Customer("Eve", {1}), True, 2.5])
def test_what_is_frozen_comes_back_equal(value: Any) -> None:
    assert thaw(freeze(value)) == value and kind(thaw(freeze(value))) == kind(value)
    assert pack(freeze(value)) == pack(value)


@pytest.mark.parametrize("place, move", [
    ([1], lambda place: place.append(2)), ({"page": [1]}, lambda place: place["page"].append(2)),
    (Customer("Eve", [1]), lambda place: place.tags.append(2)),
])
def test_a_cursor_that_its_source_moves_along_stays_where_it_was(place: Any, move: Any) -> None:
    """Kept as the object itself, the checkpoint named the newest place: 14,918 of 20,000 jobs were lost."""
    frozen, before = freeze(place), copy.deepcopy(place)
    move(place)
    assert thaw(frozen) == before != place
