"""Results as lines of JSON: what form each type takes, what is refused, the same bytes with orjson and without."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import json
import math
import uuid
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster import defaults
from taskmaster.core import result_codec
from taskmaster.core.result_codec import encode_result


class Colour(enum.Enum):
    RED = "red"
    DAY = datetime.date(2026, 1, 2)


class Level(enum.IntEnum):
    HIGH = 3


class Label(str, enum.Enum):
    NEW = "new"


@dataclasses.dataclass
class Point:
    x: int
    y: Any
    seen: dataclasses.InitVar[int] = 0


Pair = collections.namedtuple("Pair", "left right")
UTC = datetime.timezone.utc


@pytest.mark.parametrize("value, line", [
    (None, 'null'),
    (True, 'true'),
    (7, '7'),
    (-2 ** 70, '-1180591620717411303424'),
    (1.0, '1.0'),
    ("", '""'),
    ('a"\\\n\r\u2028\x00\x7fé', '"a\\"\\\\\\n\\r\u2028\\u0000\x7fé"'),
    ("\udc80", '"\\udc80"'),
    ({"id": 1, "tags": ["a", (2, None)]}, '{"id":1,"tags":["a",[2,null]]}'),
    (float("nan"), 'null'),
    ({"low": -math.inf, "at": [math.nan, 1.5]}, '{"low":null,"at":[null,1.5]}'),
    ({1: 2, None: 3, 1.5: 4, False: 5}, '{"1":2,"null":3,"1.5":4,"false":5}'),
    ({math.nan: 1, 2: math.nan}, '{"nan":1,"2":null}'),
    (datetime.datetime(2026, 1, 2, 3, 4, 5, 60), '"2026-01-02T03:04:05.000060"'),
    (datetime.datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00+00:00"'),
    ([datetime.date(2026, 1, 2), datetime.time(3, 4)], '["2026-01-02","03:04:00"]'),
    (datetime.timedelta(minutes=1.5), '90.0'),
    (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    ({uuid.UUID(int=1): Colour.RED}, '{"00000000-0000-0000-0000-000000000001":"red"}'),
    (Decimal("1.10"), '"1.10"'),
    (PurePosixPath("/a/é"), '"/a/é"'),
    (Path("b"), '"b"'),
    ([b"\xff\x00", bytearray(b"a"), memoryview(b"b")], '["/wA=","YQ==","Yg=="]'),
    ({"b", "a", "c"}, '["a","b","c"]'),
    (frozenset([10, 9.5]), '[9.5,10]'),
    ({"b", 2, None}, '["b",2,null]'),
    ([Colour.RED, Colour.DAY, Level.HIGH, Label.NEW], '["red","2026-01-02",3,"new"]'),
    ({Level.HIGH: 1, Label.NEW: 2, Colour.RED: 3}, '{"3":1,"new":2,"red":3}'),
    (Point(1, Point(2, math.nan)), '{"x":1,"y":{"x":2,"y":null}}'),
    (Pair(1, {"a": Pair(2, 3)}), '[1,{"a":[2,3]}]'),
    (collections.OrderedDict(z=1, a=collections.Counter("aa")), '{"z":1,"a":{"a":2}}'),
    ([1e16, 1e-5, 9.9e-5, 123456789012345680.0], '[1e+16,1e-05,9.9e-05,1.2345678901234568e+17]'),
])
def test_each_type_has_its_form(value: Any, line: str) -> None:
    assert encode_result(value) == line.encode() + b"\n"


def test_numpy_scalars_and_arrays_become_plain_values() -> None:
    numpy = pytest.importorskip("numpy")
    value = {
        "scalars": [numpy.int64(1), numpy.float32(0.5), numpy.float64(1.5), numpy.bool_(True), numpy.str_("s"),
                    numpy.uint8(255), numpy.float64("nan"), numpy.longdouble(2)],
        "array": numpy.array([[1, 2], [3, 4]]), "at": numpy.datetime64("2026-01-02"),
        numpy.int64(5): numpy.bytes_(b"a"),
    }

    assert json.loads(encode_result(value)) == {
        "scalars": [1, 0.5, 1.5, True, "s", 255, None, 2.0],
        "array": [[1, 2], [3, 4]], "at": "2026-01-02", "5": "YQ==",
    }
    assert encode_result(numpy.int64(7)) == b"7\n"


class Custom:
    pass


@pytest.mark.parametrize("value, name", [
    (Custom(), "Custom"), ([1, {"a": 3j}], "complex"), (Custom, "type"), (object(), "object"), ({(1, 2): 3}, "tuple"),
    ({"a": {Custom(): 1}}, "Custom"), ({b"a": math.nan, frozenset([1]): 1}, "frozenset"), (range(3), "range"),
])
def test_a_type_without_a_form_is_named(value: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"of type {name}\b.* Return "):
        encode_result(value)


def test_a_result_that_contains_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append({"ring": ring})
    loop = Point(1, None)
    loop.y = [math.nan, loop]

    for value in (ring, loop):
        with pytest.raises(TypeError, match="nested too deeply, or contains itself"):
            encode_result(value)


def test_a_result_that_is_too_large_is_refused() -> None:
    most = defaults.RESULT_BYTES

    assert len(encode_result("x" * (most - 3))) == most
    with pytest.raises(ValueError, match="Write it to a file and return the name"):
        encode_result("x" * (most - 2))
    with pytest.raises(ValueError, match=rf"takes {most + 1:,} bytes"):
        encode_result(["x" * (most - 4)])


def test_an_error_in_the_user_s_own_class_is_raised_unchanged() -> None:
    class Broken:
        def __fspath__(self) -> str:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        encode_result([Broken()])


plain_keys = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.floats())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.text(st.characters()), st.binary(),
              st.datetimes(), st.dates(), st.uuids(), st.decimals(), st.sampled_from([Colour.RED, Level.HIGH])),
    lambda inner: st.one_of(st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.text(), inner),
                            st.dictionaries(plain_keys, inner), st.builds(Point, st.integers(), inner)))


@given(values)
def test_any_value_is_one_line_of_json(value: Any) -> None:
    line = encode_result(value)

    assert line.endswith(b"\n") and line.count(b"\n") == 1
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@given(values)
def test_orjson_makes_the_same_bytes(value: Any) -> None:
    pytest.importorskip("orjson")
    with_orjson, with_json = result_codec._encode_with_orjson, result_codec._encode_with_json

    assert result_codec._encode is with_orjson
    assert with_orjson(value) == with_json(value)


@given(st.lists(st.floats() | st.floats(1e-7, 1e-3) | st.floats(1e14, 1e19)))
def test_orjson_writes_the_same_numbers(numbers: list[float]) -> None:
    pytest.importorskip("orjson")

    assert result_codec._encode_with_orjson(numbers) == result_codec._encode_with_json(numbers)


@given(values)
def test_without_the_encoder_in_c_the_bytes_are_the_same(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json.encoder, "c_make_encoder", None)
        in_python = result_codec._chunk_maker()
        patch.setattr(result_codec, "_chunks", in_python)
        line = result_codec._encode_with_json(value)

    assert line == result_codec._encode_with_json(value)
