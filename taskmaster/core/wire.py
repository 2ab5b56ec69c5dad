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
from taskmaster.core.codec import FORMS
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

    `n` grows by one with each new request and stays when one is sent again. `wait_ms` is how long the master may
    hold the request while it has no work. `held` is every job it has neither settled nor dropped: it renews the
    leases of those, and gives the others back.
    """

    run: str
    epoch: int
    sid: str
    n: int
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
    blob: bytes


@dataclass(frozen=True)
class Reply:
    """All a master ever says, in answer to the poll of the same `sid` and `n`.

    It also says, by being there, that everything reported in that poll is settled and may be forgotten.
    """

    run: str
    epoch: int
    sid: str
    n: int
    kind: str
    leases: tuple[Lease, ...] = ()
    drop: tuple[Run, ...] = ()
    wait_ms: int = 0
    heartbeat_ms: int = int(defaults.HEARTBEAT_SECONDS * 1000)
    reason: str = ""


Frames = list[bytes]


def encode_poll(poll: Poll) -> Frames:
    header = {
        "v": VERSION, "run": poll.run, "epoch": poll.epoch, "sid": poll.sid, "n": poll.n, "want": poll.want,
        "wait": poll.wait_ms, "state": poll.state, "held": poll.held, "done": poll.done,
    }
    if poll.info:
        header["info"] = poll.info
    failures = [[f.offset, f.attempt, f.kind, f.error, f.message, f.traceback] for f in poll.failed]
    return [_dump(header), _dump(failures) if failures else b""]


def encode_reply(reply: Reply) -> Frames:
    header: dict[str, Any] = {
        "v": VERSION, "run": reply.run, "epoch": reply.epoch, "sid": reply.sid, "n": reply.n, "kind": reply.kind,
        "hb": reply.heartbeat_ms,
    }
    if reply.leases:
        header["leases"] = [[one.first, one.count, one.attempt, one.form, len(one.blob)] for one in reply.leases]
    if reply.drop:
        header["drop"] = reply.drop
    if reply.wait_ms:
        header["wait"] = reply.wait_ms
    if reply.reason:
        header["reason"] = reply.reason
    blobs = [one.blob for one in reply.leases]
    return [_dump(header), blobs[0] if len(blobs) == 1 else b"".join(blobs)]


def decode_poll(frames: Sequence[bytes]) -> Poll | WireError:
    """What a slave said, or why these frames are not it."""
    return _total(_poll, frames, defaults.REPORT_BYTES)


def decode_reply(frames: Sequence[bytes]) -> Reply | WireError:
    """What a master said, or why these frames are not it."""
    return _total(_reply, frames, defaults.BLOB_BYTES)


class _Bad(Exception):
    """Leaves the parsing at the first thing that is wrong; never leaves this module."""


_Message = TypeVar("_Message")


def _total(parse: Callable[[dict[str, Any], bytes], _Message], frames: Sequence[bytes],
           most: int) -> _Message | WireError:
    try:
        return parse(_header(frames, most), frames[1])
    except _Bad as bad:
        return WireError(str(bad))
    except RecursionError:
        return WireError("nested too deeply")


def _header(frames: Sequence[bytes], most: int) -> dict[str, Any]:
    _need(len(frames) == defaults.FRAMES, f"{len(frames)} frames, not {defaults.FRAMES}")
    _need(len(frames[0]) <= defaults.HEADER_BYTES, f"a header of {len(frames[0]):,} bytes")
    _need(len(frames[1]) <= most, f"a blob of {len(frames[1]):,} bytes")
    header: dict[str, Any] = _load(frames[0])
    _need(isinstance(header, dict), "the header is no object")
    version = header.get("v")
    _need(version == VERSION, f"protocol version {version!r}, this side speaks {VERSION}")
    return header


def _poll(header: dict[str, Any], blob: bytes) -> Poll:
    state = header.get("state", "run")
    _need(state in POLL_STATES, "unknown state")
    info = header.get("info", {})
    _need(isinstance(info, dict), "info is no object")
    return Poll(
        _text(header, "run"), _number(header, "epoch"), _text(header, "sid"), _number(header, "n"),
        _number(header, "want"), _number(header, "wait"), state,
        _runs(header, "held"), _runs(header, "done"), _failed(blob) if blob else (),
        {_shown(key, 40): _shown(value, 200) for key, value in list(info.items())[:20]} if info else {},
    )


def _shown(value: Any, most: int) -> str:
    """As it may stand in a log, and so on a terminal: a slave's name does not move the cursor there."""
    text = str(value)[:most]
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def _reply(header: dict[str, Any], blob: bytes) -> Reply:
    kind = header.get("kind")
    _need(kind in REPLY_KINDS, "unknown kind")
    return Reply(
        _text(header, "run"), _number(header, "epoch"), _text(header, "sid"), _number(header, "n"), str(kind),
        _leases(header, blob), _runs(header, "drop"), _number(header, "wait"), _number(header, "hb"),
        str(header.get("reason", ""))[:2000],
    )


def _leases(header: dict[str, Any], blob: bytes) -> tuple[Lease, ...]:
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


def _failed(blob: bytes) -> tuple[FailedAttempt, ...]:
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
    runs = tuple(map(_pair, rows))
    _need(all(count > 0 for _, count in runs), f"an empty run in {key}")
    return runs


def _pair(row: Any) -> Run:
    _need(isinstance(row, list) and len(row) == 2 and _offset(row[0]) and _natural(row[1]), "not two numbers")
    return row[0], row[1]


def _number(header: dict[str, Any], key: str) -> int:
    value = header.get(key, 0)
    _need(_natural(value), f"{key} is no natural number")
    return int(value)


def _text(header: dict[str, Any], key: str) -> str:
    value = header.get(key, "")
    _need(isinstance(value, str) and len(value) <= 200, f"{key} is no short text")
    return str(value)


def _offset(value: Any) -> bool:
    """Offsets begin at the default of the source's `last`, which may be -1 for "before the first row"."""
    return type(value) is int and -_MOST <= value <= _MOST


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _need(fact: bool, otherwise: str) -> None:
    if not fact:
        raise _Bad(otherwise)


def _dump(value: Any) -> bytes:
    # "replace" for the lone surrogates that a file name in an error text may hold: the text is for reading
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _load(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise _Bad(f"no JSON: {error}") from error
