"""Messages to frames and back: a JSON header and one blob, versioned and total.

Bad bytes are an error value, never an exception, for they come from anybody. Nothing here is unpickled: a slave's
blob is JSON (its failures), a master's blob is the leases' batches one after the other, decoded by the slave.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from taskmaster import defaults
from taskmaster.core.codec import FORMS, Bytes
from taskmaster.core.runs import Run

VERSION = 1
_MOST = 1 << 62  # of any number on the wire
_RUNS_MOST = 20_000  # of any list of runs: what fits in a header anyway

POLL_STATES = ("run", "drain", "bye")
REPLY_KINDS = ("jobs", "wait", "stop", "reset", "error")


@dataclass(frozen=True)
class WireError:
    """Why frames are not a message."""

    reason: str


@dataclass(frozen=True)
class FailedAttempt:
    """A slave's word that one attempt at one job failed."""

    offset: int
    attempt: int
    kind: str
    error: str
    message: str
    traceback: str


@dataclass(frozen=True)
class Poll:
    """All a slave ever says: what it wants, holds, runs and has settled, in one request.

    `seq` grows by one with each new request and stays when one is sent again. `wait_ms` is how long the master may
    hold the request while it has no work. `held` is every job it has neither settled nor dropped: it renews the
    leases of those, and gives the others back.
    """

    run: str
    epoch: int
    slave_id: str
    seq: int
    want: int = 0
    wait_ms: int = 0
    state: str = "run"
    held: tuple[Run, ...] = ()
    done: tuple[Run, ...] = ()
    failed: tuple[FailedAttempt, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lease:
    """A slave's right to a run of jobs: their attempt number, and their batch."""

    first: int
    count: int
    attempt: int
    form: str
    blob: Bytes


@dataclass(frozen=True)
class Reply:
    """All a master ever says, in answer to the poll of the same `slave_id` and `seq`.

    It also says, by being there, that everything reported in that poll is settled and may be forgotten.
    """

    run: str
    epoch: int
    slave_id: str
    seq: int
    kind: str
    leases: tuple[Lease, ...] = ()
    drop: tuple[Run, ...] = ()
    wait_ms: int = 0
    heartbeat_ms: int = int(defaults.HEARTBEAT_SECONDS * 1000)
    reason: str = ""


Frames = list[bytes]


def encode_poll(poll: Poll) -> Frames:
    header = {
        "v": VERSION, "run": poll.run, "epoch": poll.epoch, "sid": poll.slave_id, "n": poll.seq, "want": poll.want,
        "wait": poll.wait_ms, "state": poll.state, "held": poll.held, "done": poll.done,
    }
    if poll.info:
        header["info"] = poll.info
    failures = [[f.offset, f.attempt, f.kind, f.error, f.message, f.traceback] for f in poll.failed]
    return [_dump(header), _dump(failures) if failures else b""]


def encode_reply(reply: Reply) -> Frames:
    # Written out, for a master with a thousand slaves writes 15,000 a second: a third of what a dict and dumps take.
    header = (f'{{"v":{VERSION},"run":{_quoted(reply.run)},"epoch":{reply.epoch},"sid":{_quoted(reply.slave_id)},'
              f'"n":{reply.seq},"kind":"{reply.kind}","hb":{reply.heartbeat_ms}')
    if reply.leases:
        rows = [f'[{one.first},{one.count},{one.attempt},"{one.form}",{len(one.blob)}]' for one in reply.leases]
        header += f',"leases":[{",".join(rows)}]'
    if reply.drop:
        header += f',"drop":{_quoted(reply.drop)}'
    if reply.wait_ms:
        header += f',"wait":{reply.wait_ms}'
    if reply.reason:
        header += f',"reason":{_quoted(reply.reason)}'
    blobs = [bytes(one.blob) for one in reply.leases]  # the very same: a view is only ever received
    return [_utf8(header + "}"), blobs[0] if len(blobs) == 1 else b"".join(blobs)]


def decode_poll(frames: Sequence[Bytes]) -> Poll | WireError:
    """What a slave said, or why these frames are not it."""
    return _total(_poll, frames, defaults.REPORT_BYTES)


def decode_reply(frames: Sequence[Bytes]) -> Reply | WireError:
    """What a master said, or why these frames are not it."""
    return _total(_reply, frames, defaults.BLOB_BYTES)


class _Bad(Exception):
    """Leaves the parsing at the first thing that is wrong; never leaves this module."""


_Message = TypeVar("_Message")


def _total(parse: Callable[[dict[str, Any], Bytes], _Message], frames: Sequence[Bytes],
           most: int) -> _Message | WireError:
    try:
        return parse(_header(frames, most), frames[1])
    except _Bad as bad:
        return WireError(str(bad))
    except RecursionError:
        return WireError("nested too deeply")


def _header(frames: Sequence[Bytes], most: int) -> dict[str, Any]:
    if len(frames) != defaults.FRAMES:
        raise _Bad(f"{len(frames)} frames, not {defaults.FRAMES}")
    header, blob = frames
    if len(header) > defaults.HEADER_BYTES or len(blob) > most:
        raise _Bad(f"a header of {len(header):,} and a blob of {len(blob):,} bytes")
    fields = _load(header)
    if not isinstance(fields, dict):
        raise _Bad("the header is no object")
    if fields.get("v") != VERSION:
        raise _Bad(f"protocol version {fields.get('v')!r}, this side speaks {VERSION}")
    return fields


def _poll(header: dict[str, Any], blob: Bytes) -> Poll:
    state, info = header.get("state", "run"), header.get("info")
    if state not in POLL_STATES:
        raise _Bad("unknown state")
    run, slave_id = _texts(header, "run", "sid")
    epoch, seq, want, wait = _numbers(header, "epoch", "n", "want", "wait")
    return Poll(run, epoch, slave_id, seq, want, wait, state, _runs(header, "held"), _runs(header, "done"),
                _failed(blob) if blob else (), _info(info) if info is not None else {})


def _info(info: Any) -> dict[str, str]:
    if not isinstance(info, dict):
        raise _Bad("info is no object")
    return {_shown(key, 40): _shown(value, 200) for key, value in list(info.items())[:20]}


def _shown(value: Any, most: int) -> str:
    """As it may stand in a log, and so on a terminal: a slave's name does not move the cursor there."""
    text = str(value)[:most]
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def _reply(header: dict[str, Any], blob: Bytes) -> Reply:
    kind = header.get("kind")
    _need(kind in REPLY_KINDS, "unknown kind")
    run, slave_id = _texts(header, "run", "sid")
    epoch, seq, wait, heartbeat = _numbers(header, "epoch", "n", "wait", "hb")
    return Reply(run, epoch, slave_id, seq, str(kind), _leases(header, blob), _runs(header, "drop"), wait, heartbeat,
                 str(header.get("reason", ""))[:2000])


def _leases(header: dict[str, Any], blob: Bytes) -> tuple[Lease, ...]:
    rows = header.get("leases", [])
    _need(isinstance(rows, list), "leases is no list")
    leases, at = [], 0
    for row in rows:
        _need(isinstance(row, list) and len(row) == 5, "a lease is five values")
        first, count, attempt, form, size = row
        _need(_offset(first) and all(map(_natural, (count, attempt, size))) and count > 0, "a lease with a bad number")
        _need(isinstance(form, str) and form in FORMS, "a lease of an unknown form")
        leases.append(Lease(first, count, attempt, form, blob if size == len(blob) else blob[at:at + size]))
        at += size
    _need(at == len(blob), f"leases of {at:,} bytes and a blob of {len(blob):,}")
    return tuple(leases)


def _failed(blob: Bytes) -> tuple[FailedAttempt, ...]:
    rows = _load(blob)
    _need(isinstance(rows, list), "failures are no list")
    failed = []
    for row in rows:
        _need(isinstance(row, list) and len(row) == 6, "a failure is six values")
        _need(_offset(row[0]) and _natural(row[1]), "a failure with a bad number")
        _need(all(isinstance(text, str) for text in row[2:]), "a failure with no text")
        failed.append(FailedAttempt(*row))
    return tuple(failed)


def _runs(header: dict[str, Any], key: str) -> tuple[Run, ...]:
    rows = header.get(key)
    if not rows:
        return ()
    _need(isinstance(rows, list) and len(rows) <= _RUNS_MOST, f"{key} is no list of runs")
    return tuple([_run(row) for row in rows])


def _run(row: Any) -> Run:
    if type(row) is not list or len(row) != 2 or not _offset(row[0]) or not _natural(row[1]):
        raise _Bad("not two numbers")
    if row[1] == 0:
        raise _Bad("an empty run")
    return row[0], row[1]


def _numbers(header: dict[str, Any], *keys: str) -> list[int]:
    values = [header.get(key, 0) for key in keys]
    for value, key in zip(values, keys):
        if type(value) is not int or not 0 <= value <= _MOST:
            raise _Bad(f"{key} is no natural number")
    return values


def _texts(header: dict[str, Any], *keys: str) -> list[str]:
    values = [header.get(key, "") for key in keys]
    for value, key in zip(values, keys):
        if not isinstance(value, str) or len(value) > 200:
            raise _Bad(f"{key} is no short text")
    return values


def _offset(value: Any) -> bool:
    """Offsets begin at the default of the source's `last`, which may be -1 for "before the first row"."""
    return type(value) is int and -_MOST <= value <= _MOST


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _need(fact: bool, otherwise: str) -> None:
    if not fact:
        raise _Bad(otherwise)


# Made once: json.dumps makes an encoder for each call that is not by default, and loads looks for UTF-16.
_quoted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_unquoted = json.JSONDecoder().decode


def _dump(value: Any) -> bytes:
    return _utf8(_quoted(value))


def _utf8(text: str) -> bytes:
    # "replace" for the lone surrogates that a file name in an error text may hold: the text is for reading
    return text.encode("utf-8", "replace")


def _load(data: Bytes) -> Any:
    try:
        return _unquoted(str(data, "utf-8"))  # a view of bytes has no decode()
    except ValueError as error:
        raise _Bad(f"no JSON: {error}") from error
