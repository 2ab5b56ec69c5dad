"""A failure as a line: trimmed on entry, one line whatever it holds, read back equal."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from taskmaster.core.failure import FailureRecord, from_line, show, to_line
from taskmaster.core.portable import pack

KINDS = ("raised", "timeout", "killed", "undecodable", "unpicklable", "too large")
FAILURE = FailureRecord(
    offset=7, cursor={"json": 8}, attempts=3, kind="raised", error="ValueError", message="no such row",
    traceback="Traceback ...",
    handler="jobs:handle_job", slave="box:123", time="2024-05-06T07:08:09Z", payload=pack(("a", 1)),
    shown="('a', 1)",
)


@pytest.mark.parametrize("failure", [
    FAILURE,
    replace(FAILURE, cursor=None, payload=None),
    replace(FAILURE, message="two\nlines\r\n\u2028 é \0 \U0001f600", shown="\x1b[31m"),
    replace(FAILURE, message="lone \ud800 and \udcff", traceback="\ud800\udc00", slave="\udc80"),
    replace(FAILURE, payload=pack({"name": "\ud800\0\n"})),
    *(replace(FAILURE, kind=kind) for kind in KINDS),
], ids=range(5 + len(KINDS)))
def test_a_failure_is_one_line_of_ascii_and_comes_back_equal(failure: FailureRecord) -> None:
    line = to_line(failure)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii() and b"\0" not in line
    assert from_line(line) == failure


def test_lone_surrogates_are_spelled_out_so_that_any_reader_takes_the_line() -> None:
    failure = replace(FAILURE, message="bad \udc80 name")
    assert failure.message == "bad \\udc80 name"
    json.loads(to_line(failure))["message"].encode("utf-8")


def test_a_long_message_keeps_its_start() -> None:
    message = replace(FAILURE, message="start" + "x" * 10_000).message
    assert len(message) == 2_000 and message.startswith("start") and message.endswith("...")


def test_a_long_traceback_keeps_its_end() -> None:
    text = replace(FAILURE, traceback="x" * 10_000 + "the end").traceback
    assert len(text) == 8_000 and text.startswith("...") and text.endswith("the end")


@pytest.mark.parametrize("name, most", [
    ("shown", 200), ("error", 500), ("handler", 500), ("slave", 500), ("kind", 500),
])
def test_no_text_is_unbounded(name: str, most: int) -> None:
    assert len(getattr(replace(FAILURE, **{name: "x" * 5_000_000}), name)) == most  # type: ignore[arg-type]


@pytest.mark.parametrize("name, most", [("message", 2_000), ("traceback", 8_000), ("shown", 200)])
def test_a_text_of_just_the_length_is_left_alone(name: str, most: int) -> None:
    text = "ab" * (most // 2)
    assert getattr(replace(FAILURE, **{name: text}), name) == text  # type: ignore[arg-type]


def without(name: str) -> bytes:
    fields = json.loads(to_line(FAILURE))
    del fields[name]
    return json.dumps(fields).encode()


def having(**fields: Any) -> bytes:
    return json.dumps({**json.loads(to_line(FAILURE)), **fields}).encode()


@pytest.mark.parametrize("line", [
    b"", b"\n", b"{}", b"[]", b"null", b"5", b"\xff\xfe", b"{" * 100_000, b"[" * 100_000,
    to_line(FAILURE)[:-2], without("offset"),
    without("payload"), having(offset="7"), having(offset=True), having(offset=7.0), having(cursor=5),
    having(message=None),
], ids=range(17))
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        from_line(line)


def test_a_field_that_is_not_known_is_left_out() -> None:
    assert from_line(having(colour="red")) == FAILURE


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value, shown", [
    (("a", 1), "('a', 1)"),
    ("x" * 1000, "'" + "x" * 196 + "..."),
    (Shy(), "<Shy, whose repr raised RuntimeError>"),
    ("\ud800", "'\\ud800'"),
])
def test_a_payload_is_shown_in_at_most_200_characters(value: Any, shown: str) -> None:
    assert show(value) == shown and len(shown) <= 200
