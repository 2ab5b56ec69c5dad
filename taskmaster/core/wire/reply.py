"""What a master sends: the answer to one poll."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskmaster import defaults
from taskmaster.core.codec import FORMS, Bytes
from taskmaster.core.runs import Run
from taskmaster.core.wire.frames import (VERSION, Frames, Header, WireError, decode, dump, is_natural, is_offset,
                                         numbers, other_version, printable, quoted, request_id, require, runs, text,
                                         utf8)

REPLY_KINDS = ("jobs", "wait", "stop", "reset", "error")
REASON_CHARACTERS = 2000  # about twenty lines of a terminal


@dataclass(frozen=True)
class Lease:
    """A slave's right to run `count` jobs from offset `first` on, with their attempt number, their encoded batch, and
    their cursors as `encode_cursors` made them."""

    first: int
    count: int
    attempt: int
    form: str
    blob: Bytes
    cursors: Bytes = b""


@dataclass(frozen=True)
class Reply:
    """A master's answer to the poll of the same `slave_id` and `seq`.

    Any answer but `reset` and `error` confirms that everything the poll reported is settled: the slave may forget it.
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
    results: bool = False  # whether the slave is to report what the handler returns for these jobs


def encode_reply(reply: Reply) -> Frames:
    # By hand: a master with a thousand slaves writes 15,000 a second, and a dict and dumps take three times as long.
    header = (f'{{"v":{VERSION},"run":{quoted(reply.run)},"epoch":{reply.epoch},"sid":{quoted(reply.slave_id)},'
              f'"n":{reply.seq},"kind":"{reply.kind}","hb":{reply.heartbeat_ms}')
    if reply.leases:
        rows = [f'[{one.first},{one.count},{one.attempt},"{one.form}",{len(one.blob)},{len(one.cursors)}]'
                for one in reply.leases]
        header += f',"leases":[{",".join(rows)}]'
    if reply.results:
        header += ',"results":true'
    if reply.drop:
        header += f',"drop":{quoted(reply.drop)}'
    if reply.wait_ms:
        header += f',"wait":{reply.wait_ms}'
    if reply.reason:
        header += f',"reason":{quoted(reply.reason)}'
    blobs = [bytes(one.blob) for one in reply.leases]  # copies nothing: only received blobs are views
    blobs += [bytes(one.cursors) for one in reply.leases if one.cursors]
    return [utf8(header + "}"), blobs[0] if len(blobs) == 1 else b"".join(blobs)]


def encode_error(slave_id: str, seq: int, reason: str) -> Frames:
    """The reply of kind `error`, in the one form that slaves of every version can read. It must never change."""
    return [dump({"v": VERSION, "sid": slave_id, "n": seq, "kind": "error", "reason": reason}), b""]


def decode_reply(frames: Sequence[Bytes]) -> Reply | WireError:
    """Decode a reply, or say why these frames are not one. An `error` is read whatever its version."""
    return decode(frames, defaults.BLOB_BYTES, _reply, _error)


def _error(header: Header) -> Reply:
    require(header.get("kind") == "error", other_version(header))
    slave_id, seq = request_id(header)
    return Reply("", 0, slave_id, seq, "error", reason=_reason(header))


def _reason(header: Header) -> str:
    return printable(header.get("reason", ""), REASON_CHARACTERS)


def _reply(header: Header, blob: Bytes) -> Reply:
    kind = header.get("kind")
    require(kind in REPLY_KINDS, "unknown kind")
    slave_id, seq = request_id(header)
    run = text(header, "run")
    epoch, wait, heartbeat = numbers(header, "epoch", "wait", "hb")
    results = header.get("results", False)
    require(isinstance(results, bool), "results is not a boolean")
    return Reply(run, epoch, slave_id, seq, str(kind), _leases(header, blob), runs(header, "drop"), wait, heartbeat,
                 _reason(header), results)


def _leases(header: Header, blob: Bytes) -> tuple[Lease, ...]:
    """Row by row, each with its parts of the blob: the batches one after the other, and then the cursors."""
    rows = header.get("leases", [])
    require(isinstance(rows, list), "leases is not a list")
    for row in rows:
        require(isinstance(row, list) and len(row) >= 6, "a lease of fewer than six values")
        first, count, attempt, form, size, cursors = row[:6]
        require(is_offset(first) and all(map(is_natural, (count, attempt, size, cursors))) and count > 0,
                "a lease with a bad number")
        require(isinstance(form, str) and form in FORMS, "a lease of an unknown form")
    total = sum([row[4] + row[5] for row in rows])
    require(total == len(blob), f"leases of {total:,} bytes and a blob of {len(blob):,}")
    parts = _cut(blob, [row[4] for row in rows] + [row[5] for row in rows])
    return tuple([Lease(row[0], row[1], row[2], row[3], batch, cursors)
                  for row, batch, cursors in zip(rows, parts, parts[len(rows):])])


def _cut(blob: Bytes, sizes: Sequence[int]) -> list[Bytes]:
    parts, at = [], 0
    for size in sizes:
        parts.append(blob if size == len(blob) else blob[at:at + size])
        at += size
    return parts
