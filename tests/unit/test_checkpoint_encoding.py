"""A checkpoint as bytes: it comes back whole or is refused, never half right."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

import pytest

from taskmaster.core.codec import GoodJobs, encode as encode_jobs
from taskmaster.core.settled import Above, Entry, Snapshot
from taskmaster.errors import StateMismatch
from taskmaster.master.state import checkpoint as module
from taskmaster.master.state.checkpoint import FORMAT, Checkpoint, decode, encode

FULL = Checkpoint(
    run="0123456789abcdef" * 2, epoch=3, offset=1000, cursor=("row", 7), has_cursor=True,
    target="jobs:get_jobs",
    arguments={"path": "/data/\udc80\0", "n": "5"}, digest="ab" * 16,
    counters={"settled": 1000, "failures": 2},
    finished=True, written_at=1700000000.25, first_offset=1,
    above=Above(((1003, 2), (1010, 1)), bytes(range(24))),
)
BARE = Checkpoint(run="f" * 32, epoch=0, offset=-5)


def sealed(line: bytes) -> bytes:
    return line + b"\n" + b"%08x\n" % zlib.crc32(line)


def changed(**fields: Any) -> bytes:
    found = json.loads(encode(FULL).split(b"\n")[0])
    found.update(fields)
    return sealed(json.dumps({key: value for key, value in found.items() if value is not ...}).encode())


@pytest.mark.parametrize("checkpoint", [
    FULL, BARE, replace(FULL, cursor=None), replace(FULL, cursor=[1, {"a": 2.5}]),
])
def test_a_checkpoint_comes_back_whole(checkpoint: Checkpoint) -> None:
    assert decode(encode(checkpoint)) == checkpoint


def test_no_cursor_and_a_cursor_of_none_are_different() -> None:
    assert decode(encode(BARE)).has_cursor is False
    assert decode(encode(replace(BARE, has_cursor=True))).has_cursor is True


def test_it_is_one_line_of_ascii_json_and_one_of_checksum() -> None:
    line, checksum, rest = encode(FULL).split(b"\n")
    assert json.loads(line.decode("ascii"))["format"] == FORMAT
    assert int(checksum, 16) == zlib.crc32(line) and rest == b""


def test_the_line_a_release_wrote_is_read_by_the_next() -> None:
    assert decode(sealed(
        b'{"format": 1, "run": "ffffffffffffffffffffffffffffffff", "epoch": 1, "offset": 12, '
        b'"cursor": {"json": 12}, "has_cursor": true, "target": "jobs", "arguments": {}, "digest": null, '
        b'"counters": {"settled": 12}, "finished": false, "written_at": 1.5}'
    )) == Checkpoint("f" * 32, 1, 12, 12, True, "jobs", {}, None, {"settled": 12}, False, 1.5)
    assert decode(sealed(
        b'{"format": 2, "run": "ffffffffffffffffffffffffffffffff", "epoch": 1, "offset": 12, '
        b'"cursor": {"json": 12}, "has_cursor": true, "target": "jobs", "arguments": {}, "digest": null, '
        b'"counters": {"settled": 12}, "finished": false, "written_at": 1.5, "first_offset": 0, '
        b'"above": {"runs": [[14, 1]], "identities": "AAAAAAAAAAA="}}'
    )) == Checkpoint("f" * 32, 1, 12, 12, True, "jobs", {}, None, {"settled": 12}, False, 1.5, 0,
                     Above(((14, 1),), bytes(8)))


def test_a_snapshot_is_written_as_what_was_settled_above() -> None:
    (good,) = encode_jobs([1, 2, 3], "pickle", 100)
    assert isinstance(good, GoodJobs)
    snapshot = Snapshot((Entry(1005, 2, good.batch, 1),))
    assert decode(encode(replace(FULL, above=snapshot))) == replace(FULL, above=snapshot.above())


def test_every_truncation_is_refused() -> None:
    whole = encode(FULL)
    for length in range(len(whole)):
        with pytest.raises(StateMismatch, match="damaged"):
            decode(whole[:length])


def test_every_flipped_bit_is_refused() -> None:
    whole = encode(FULL)
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            with pytest.raises(StateMismatch, match="damaged"):
                decode(bytes(flipped))


@pytest.mark.parametrize("data", [
    b"", b"\n", b"\n\n", b"\0" * 4096, sealed(b""), sealed(b"{}"), sealed(b"[1]"), sealed(b"\xff"),
    encode(FULL) * 2,
    encode(FULL) + b"\n", changed(run="xyz"), changed(run=5), changed(epoch="1"), changed(offset=True),
    changed(offset=1.0),
    changed(offset=...), changed(target=None), changed(arguments=[]), changed(arguments={"a": 1}),
    changed(counters={"a": "1"}),
    changed(finished=1), changed(written_at="x"), changed(written_at=None), changed(digest=5),
    changed(has_cursor=...), changed(first_offset="0"), changed(above=None), changed(above={"runs": []}),
    changed(above={"runs": [[5, 1]], "identities": ""}), changed(above={"runs": [[5]], "identities": ""}),
    changed(above={"runs": [], "identities": "?"}),
    changed(format=None), changed(format=True), changed(format=0), changed(format=-1),
], ids=range(35))
def test_nonsense_is_refused_as_damage(data: bytes) -> None:
    with pytest.raises(StateMismatch, match="damaged.*--reset"):
        decode(data)


def test_a_newer_format_is_refused_by_its_number() -> None:
    with pytest.raises(StateMismatch, match="format 3, and this taskmaster reads up to 2.*Upgrade.*--reset"):
        decode(changed(format=FORMAT + 1))


def test_a_field_that_is_not_known_is_passed_over() -> None:
    assert decode(changed(colour="red")) == FULL


def test_an_older_format_is_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORMAT", 4)
    monkeypatch.setitem(module.UPGRADES, 2, lambda fields: {**fields, "stop": fields["offset"]})
    monkeypatch.setitem(module.UPGRADES, 3, lambda fields: {**fields, "offset": fields["stop"] + 1})
    assert decode(changed(format=2)) == replace(FULL, offset=FULL.offset + 1)


def test_a_cursor_whose_class_is_gone_is_told_from_damage() -> None:
    with pytest.raises(StateMismatch, match="cursor in the checkpoint cannot be read.*nowhere.*importable"):
        decode(changed(cursor={"pickle": "Y25vd2hlcmUKdGhpbmcKLg=="}))


def test_a_cursor_that_nothing_can_carry_is_refused_on_the_way_out() -> None:
    with pytest.raises(ValueError, match="neither as JSON nor as a pickle"):
        encode(replace(BARE, has_cursor=True, cursor=lambda: 1))
