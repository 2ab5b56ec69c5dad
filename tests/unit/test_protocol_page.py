"""The protocol page tells the truth: its fields, rows, limits and its example are those of the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from protocol_page import TEXT, Row, examples, plain, table

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.codec import FORMS
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Send
from taskmaster.core.results import Results
from taskmaster.core.window import Window
from taskmaster.core.wire import DeathReport, FailedAttempt, Frames, Lease, Poll, Reply, WireError, frames, poll, reply

LARGEST = 1 << 62
FULL_POLL = Poll("r", 3, "s", 7, 10, 500, "drain", ((5, 2),), ((1, 4),), info={"host": "h"},
                 failed=(FailedAttempt(9, 1, "raised", "ValueError", "no", "Traceback"),),
                 deaths=(DeathReport("vm", 71, "killed by SIGSEGV", True),),
                 results=(Results(1, 2, b'{"n":1}\nnull\n'), Results(3, 1, b"3\n")), slots=12)
FULL_REPLY = Reply("r", 3, "s", 7, "jobs", (Lease(5, 2, 1, "json", b"[1,2]"),), ((1, 1),), 20, 4000, "because", True)
POLL_FIELDS, REPLY_FIELDS = table("Header of a poll"), table("Header of a reply")
BOTH = [(FULL_POLL, POLL_FIELDS), (FULL_REPLY, REPLY_FIELDS)]
ATTRIBUTES = {"sid": "slave_id", "n": "seq", "wait": "wait_ms", "hb": "heartbeat_ms"}


def encoded(message: Poll | Reply) -> Frames:
    return wire.encode_poll(message) if isinstance(message, Poll) else wire.encode_reply(message)


def decoded(message: Poll | Reply, parts: Sequence[bytes]) -> Poll | Reply | WireError:
    return wire.decode_poll(parts) if isinstance(message, Poll) else wire.decode_reply(parts)


def changed(message: Poll | Reply, name: str, value: Any) -> Poll | Reply | WireError:
    """The message with another value in one field of its header, and nothing beside that has a part of the blob."""
    header = {**without_blob(message), name: value}
    return decoded(message, [json.dumps(header).encode(), b""])


def without_blob(message: Poll | Reply) -> dict[str, Any]:
    return {**json.loads(encoded(message)[0]), **({"results": []} if isinstance(message, Poll) else {"leases": []})}


def field_of(message: Poll | Reply | WireError, name: str) -> Any:
    assert not isinstance(message, WireError), message
    return getattr(message, ATTRIBUTES.get(name, name))


def each(tables: Sequence[tuple[Poll | Reply, Sequence[Row]]]) -> list[Any]:
    return [pytest.param(message, row, id=f"{type(message).__name__} {plain(row['Field'])}")
            for message, rows in tables for row in rows]


# -- the fields


@pytest.mark.parametrize("message, rows", BOTH, ids=["poll", "reply"])
def test_the_tables_name_the_fields_that_are_written(message: Poll | Reply, rows: Sequence[Row]) -> None:
    assert {plain(row["Field"]) for row in rows} == set(json.loads(encoded(message)[0]))


class Spy(dict[str, Any]):
    """A header that notes which fields are asked for."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


@pytest.mark.parametrize("message, rows", BOTH, ids=["poll", "reply"])
def test_the_tables_name_the_fields_that_are_read(message: Poll | Reply, rows: Sequence[Row],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    parts = encoded(message)
    spy, load = Spy(json.loads(parts[0])), frames.load
    monkeypatch.setattr(frames, "load", lambda data: spy if data == parts[0] else load(data))
    assert decoded(message, parts) == message
    assert spy.asked == {plain(row["Field"]) for row in rows}


@pytest.mark.parametrize("message, row", each(BOTH))
def test_a_field_that_is_absent_has_its_default_or_is_missed(message: Poll | Reply, row: Row) -> None:
    name = plain(row["Field"])
    header = without_blob(message)
    del header[name]
    found = decoded(message, [json.dumps(header).encode(), b""])
    if row["If absent"] == "required":
        assert isinstance(found, WireError)
    else:
        value = field_of(found, name)
        assert (list(value) if isinstance(value, tuple) else value) == json.loads(plain(row["If absent"]))


ACCEPTED: dict[str, list[Any]] = {
    "0 to 2^62": [0, LARGEST], "200 characters": ["", "x" * 200], "1": [1], "20,000 runs": [[[5, 1]] * 20_000],
    "100 deaths": [[["h", 1, "", True]] * 100], "true, false": [True, False], "4,000 results": [[]],
    "20 entries kept": [{str(number): "x" for number in range(21)}, {"x" * 99: "y" * 999}],
    "2,000 characters kept": ["x" * 2001], "what fits": [[]]}
REFUSED: dict[str, list[Any]] = {
    "0 to 2^62": [-1, LARGEST + 1, "1", True, 1.0, None, []], "200 characters": ["x" * 201, 5, None, ["x"]],
    "1": [0, 2, "1", None], "20,000 runs": [[[5, 1]] * 20_001, 5, "x", [5], [[5]], [[5, 0]], [["5", 1]]],
    "100 deaths": [[["h", 1, "", True]] * 101, 5, "x", [5], [["h", 1, ""]], [["h", -1, "", True]], [["h", 1, "", 1]]],
    "true, false": [1, "true", None], "4,000 results": [[[1, 1, 0]] * 4001, 5, "x", [5], [[1, 1]], [[1, 0, 0]]],
    "20 entries kept": ["x", 5, [["x", "y"]]], "2,000 characters kept": [], "what fits": ["x", 5, {"x": 1}, [5]]}


@pytest.mark.parametrize("message, row", each(BOTH))
def test_a_field_is_taken_up_to_its_limit(message: Poll | Reply, row: Row) -> None:
    name, limit = plain(row["Field"]), row["Limit"]
    for value in ACCEPTED.get(limit, limit.split(", ")):
        assert not isinstance(changed(message, name, value), WireError), value
    for value in REFUSED.get(limit, ["another", 5, None, ""]):
        assert isinstance(changed(message, name, value), WireError), value


@pytest.mark.parametrize("row, blob", [
    ([1, 2, 4], b"1\n2\n"), ([1, 1, 2], b"1\n"), ([-5, 3, 6], b"1\n2\n3\n"),
])
def test_results_are_a_line_for_each_job(row: list[int], blob: bytes) -> None:
    header = {**without_blob(FULL_POLL), "results": [row]}
    assert isinstance(wire.decode_poll([json.dumps(header).encode(), blob]), Poll)
    for wrong in (blob[:-1], blob.replace(b"\n", b""), blob[:-1] + b"x"):
        assert isinstance(wire.decode_poll([json.dumps(header).encode(), wrong]), WireError)


def test_the_types_are_those_of_the_values_that_are_written() -> None:
    types = {"boolean": bool, "list of results": list, "integer": int, "text": str, "list of runs": list,
             "list of leases": list, "list of deaths": list, "object": dict}
    for message, rows in BOTH:
        header = json.loads(encoded(message)[0])
        assert all(type(header[plain(row["Field"])]) is types[row["Type"]] for row in rows)


def test_states_kinds_and_forms_are_all_there() -> None:
    limits = {(id(rows), plain(row["Field"])): tuple(row["Limit"].split(", ")) for _, rows in BOTH for row in rows}
    assert limits[id(POLL_FIELDS), "state"] == wire.POLL_STATES
    assert limits[id(REPLY_FIELDS), "kind"] == wire.REPLY_KINDS
    assert [plain(row["Kind"]) for row in table("Kinds of reply")] == list(wire.REPLY_KINDS)
    [form] = [row["Limit"].split(", ") for row in table("A lease") if plain(row["Value"]) == "form"]
    assert set(form) == FORMS and len(form) == len(FORMS)


# -- the rows in the lists


VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "-2^62 to 2^62": ([-LARGEST, LARGEST], [-LARGEST - 1, LARGEST + 1, "1", True, None]),
    "0 to 2^62": ([0, LARGEST], [-1, LARGEST + 1, "1", True, None]),
    "-1 to 2^62": ([-1, 0, LARGEST], [-2, LARGEST + 1, "1", True, None]),
    "1 to 2^62": ([1, LARGEST], [0, LARGEST + 1, "1", True, None]),
    "true, false": ([True, False], [1, 0, "true", None]),
    "any": (["", "x" * 100_000], [5, None, ["x"]])}


def failed(row: list[Any]) -> Any:
    found = wire.decode_poll([json.dumps(without_blob(FULL_POLL)).encode(), json.dumps([row]).encode()])
    return found.failed[0] if isinstance(found, Poll) else None


def death(row: list[Any]) -> Any:
    found = changed(FULL_POLL, "deaths", [row])
    return found.deaths[0] if isinstance(found, Poll) else None


BYTES = ("size", "cursors")  # of a lease, in the blob


def lease(row: list[Any]) -> Any:
    header = {**json.loads(wire.encode_reply(FULL_REPLY)[0]), "leases": [row]}
    size = row[4] if type(row[4]) is int and 0 <= row[4] < 99 else 5
    found = wire.decode_reply([json.dumps(header).encode(), b"x" * size])
    return found.leases[0] if isinstance(found, Reply) else None


@pytest.mark.parametrize("title, read, row", [
    ("A failed attempt", failed, [9, 1, "raised", "ValueError", "no", "Traceback", 500, 5]),
    ("A death", death, ["vm", 71, "killed by SIGSEGV", True]),
    ("A lease", lease, [5, 2, 1, "json", 5, 0])])
def test_the_values_of_a_row_come_in_this_order_within_these_limits(title: str, read: Any, row: list[Any]) -> None:
    described = table(title)
    assert len(described) == len(row)
    for at, (values, value) in enumerate(zip(described, row)):
        name = plain(values["Value"])
        found = getattr(read(row), "blob" if name == "size" else name)
        assert (len(found) if name in BYTES else found) == value
        assert type(value) is {"integer": int, "text": str, "true or false": bool}[values["Type"]]
        good, bad = VALUES.get(values["Limit"], (values["Limit"].split(", "), ["another", 5, None]))
        for other in good if name not in BYTES else []:
            assert read([*row[:at], other, *row[at + 1:]]) is not None, (name, other)
        for other in bad:
            assert read([*row[:at], other, *row[at + 1:]]) is None, (name, other)


# -- the limits


LIMITS: dict[str, int] = {
    "header": defaults.HEADER_BYTES, "blob of a poll": defaults.REPORT_BYTES, "blob of a reply": defaults.BLOB_BYTES,
    "frames of a message": defaults.FRAMES,
    "frames of a message that are read, with the envelope": defaults.FRAMES_KEPT,
    "an id": frames.ID_CHARACTERS, "runs in a list": frames.MOST_RUNS, "entries of info": poll.INFO_ENTRIES,
    "a name in info": poll.INFO_KEY_CHARACTERS, "a value in info": poll.INFO_VALUE_CHARACTERS,
    "reason": reply.REASON_CHARACTERS, "slaves of a master": defaults.SLAVES,
    "a poll is held for at most": int(1000 * defaults.PARK_SECONDS),
    "heartbeat": int(1000 * defaults.HEARTBEAT_SECONDS),
    "heartbeat once the source has no more jobs": int(1000 * defaults.HEARTBEAT_SECONDS_TAIL),
    "silence after which a slave is taken for dead": int(1000 * defaults.LEASE_LIFE_SECONDS),
    "the same after its connection dropped": int(1000 * defaults.RECONNECT_GRACE_SECONDS_LOCAL),
    "the same on another machine": int(1000 * defaults.RECONNECT_GRACE_SECONDS_REMOTE),
    "longer, to learn from its fleet how it died": int(1000 * defaults.DEATH_REPORT_SECONDS),
    "deaths in a poll": wire.MOST_DEATHS,
    "silence after which a slave repeats its poll": defaults.REPLY_TIMEOUT_MS,
}


def test_the_limits_are_those_of_the_code() -> None:
    found = {plain(row["What"]): int(re.sub(r"\D", "", row["Limit"])) for row in table("Sizes and times")}
    assert found == LIMITS and frames.LARGEST == LARGEST


def test_the_page_is_about_this_version() -> None:
    assert f"describes version {wire.VERSION} of the protocol" in " ".join(TEXT.split())


def test_the_example_is_a_conversation() -> None:
    """Its frames are decoded, and the master says what it says there."""
    lines = examples()
    blobs = {at - 1: line for at, line in enumerate(lines) if not line.startswith(("poll", "reply"))}
    messages = []
    for at, line in enumerate(lines):
        if at - 1 not in blobs:
            kind, header = line.split(maxsplit=1)
            read = {"poll": wire.decode_poll, "reply": wire.decode_reply}[kind]
            messages.append(read([header.encode(), blobs.get(at, "").encode()]))
    assert [type(message) for message in messages] == [Poll, Reply, Poll, Reply, Poll]
    taken = [(one.first, one.count, bytes(one.blob)) for one in field_of(messages[3], "leases")]
    assert taken == [(0, 3, b'["a","b","c"]'), (7, 1, b'["h"]')]
    master = Dispatcher(Window(0, 100, 1 << 20, 2), "5d0a", 1)
    [_, answer] = master.receive((b"p", b""), wire.encode_poll(messages[0]), 0.0)
    assert isinstance(answer, Send) and wire.decode_reply(answer.frames) == messages[1]
    assert [one.offset for one in field_of(messages[4], "failed")] == [1]
