"""What a slave sends: one message that asks for jobs, reports outcomes and renews leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from taskmaster import defaults
from taskmaster.core.codec import Bytes
from taskmaster.core.results import Results
from taskmaster.core.runs import Run
from taskmaster.core.wire.frames import (VERSION, Frames, Header, Malformed, WireError, decode, dump, is_natural,
                                         is_offset, load, numbers, other_version, printable, request_id, require, runs,
                                         text)

POLL_STATES = ("run", "drain", "bye")
INFO_ENTRIES = 20  # what a slave tells about itself is kept while it is connected: 5 kB at most
INFO_KEY_CHARACTERS = 40
INFO_VALUE_CHARACTERS = 200
MOST_DEATHS = 100  # in one poll: the slaves of a large machine that end at once


NEVER = -1


@dataclass(frozen=True)
class FailedAttempt:
    """A slave's report that one attempt at one job failed.

    `retry_ms` is when it asks for the next one, in milliseconds, NEVER for none, 0 to leave that to the master;
    `attempts` how many the handler wants, 0 if it does not say.
    """

    offset: int
    attempt: int
    kind: str
    error: str
    message: str
    traceback: str
    retry_ms: int = 0
    attempts: int = 0


class DeathReport(NamedTuple):
    """A fleet's report that a slave process ended: `how`, in words, and whether a job that it ran may be to `blame`."""

    host: str
    pid: int
    how: str
    blame: bool


@dataclass(frozen=True)
class Poll:
    """A slave's request: what it wants, what it holds, and what it has settled since the last answer.

    `seq` grows by one with each new request and stays the same when a request is repeated. `wait_ms` is how long the
    master may hold the request while it has no work. `held` lists every job that the slave has neither settled nor
    dropped: leases of listed jobs are renewed, all others go back to the master. `results` are those of jobs that are
    `done`. A fleet, which is no slave, reports `deaths` and nothing else.
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
    deaths: tuple[DeathReport, ...] = ()
    results: tuple[Results, ...] = ()


@dataclass(frozen=True)
class OtherVersion(WireError):
    """A poll of another protocol version: the part that is the same in all versions, which is enough to refuse it."""

    version: int
    slave_id: str
    seq: int
    info: dict[str, str]


def encode_poll(poll: Poll) -> Frames:
    header = {
        "v": VERSION, "run": poll.run, "epoch": poll.epoch, "sid": poll.slave_id, "n": poll.seq, "want": poll.want,
        "wait": poll.wait_ms, "state": poll.state, "held": poll.held, "done": poll.done,
    }
    if poll.info:
        header["info"] = poll.info
    if poll.deaths:
        header["deaths"] = poll.deaths
    rows = [list(vars(failure).values()) for failure in poll.failed]
    failures = dump(rows) if rows else b""
    if not poll.results:
        return [dump(header), failures]
    header["results"] = [[one.first, one.count, len(one.lines)] for one in poll.results]
    return [dump(header), b"".join([*(one.lines for one in poll.results), failures])]


def decode_poll(frames: Sequence[Bytes]) -> Poll | WireError:
    """Decode a poll, or say why these frames are not one; OtherVersion if only the version is wrong."""
    return decode(frames, defaults.REPORT_BYTES, _poll, _other)


def _other(header: Header) -> OtherVersion:
    version, info = header.get("v"), header.get("info")
    if not is_natural(version):
        raise Malformed(other_version(header))
    slave_id, seq = request_id(header)
    return OtherVersion(other_version(header), version, slave_id, seq, _info(info) if isinstance(info, dict) else {})


def _poll(header: Header, blob: Bytes) -> Poll:
    state, info = header.get("state", "run"), header.get("info")
    if state not in POLL_STATES:
        raise Malformed("unknown state")
    slave_id, seq = request_id(header)
    run = text(header, "run")
    epoch, want, wait = numbers(header, "epoch", "want", "wait")
    results, failures = _results(header.get("results"), blob)
    return Poll(run, epoch, slave_id, seq, want, wait, state, runs(header, "held"), runs(header, "done"),
                _failed(failures) if failures else (), _info(info) if info is not None else {},
                _deaths(header.get("deaths")), results)


def _info(info: Any) -> dict[str, str]:
    if not isinstance(info, dict):
        raise Malformed("info is not an object")
    return {printable(key, INFO_KEY_CHARACTERS): printable(value, INFO_VALUE_CHARACTERS)
            for key, value in list(info.items())[:INFO_ENTRIES]}


def _deaths(rows: Any) -> tuple[DeathReport, ...]:
    if not rows:
        return ()
    require(isinstance(rows, list) and len(rows) <= MOST_DEATHS, "deaths is not a short list")
    return tuple([_death(row) for row in rows])


def _death(row: Any) -> DeathReport:
    require(isinstance(row, list) and len(row) >= 4, "a death of fewer than four values")
    host, pid, how, blame = row[:4]
    require(isinstance(host, str) and is_natural(pid) and isinstance(how, str) and isinstance(blame, bool),
            "a death with a value of another type")
    return DeathReport(printable(host, INFO_VALUE_CHARACTERS), pid, printable(how, INFO_VALUE_CHARACTERS), blame)


def _results(rows: Any, blob: Bytes) -> tuple[tuple[Results, ...], Bytes]:
    """The results, which come first in the blob, and the rest of it."""
    if not rows:
        return (), blob
    require(isinstance(rows, list) and len(rows) <= defaults.REPORT_RUNS, "the results are not a short list")
    found, at = [], 0
    for row in rows:
        require(isinstance(row, list) and len(row) >= 3 and is_offset(row[0]) and is_natural(row[1])
                and is_natural(row[2]), "results with a bad number")
        first, count, size = row[:3]
        lines = bytes(blob[at:at + size])
        require(0 < count == lines.count(b"\n") and lines.endswith(b"\n") and len(lines) == size,
                "results that are not a line for each job")
        found.append(Results(first, count, lines))
        at += size
    return tuple(found), blob[at:]


def _failed(blob: Bytes) -> tuple[FailedAttempt, ...]:
    rows = load(blob)
    require(isinstance(rows, list), "the failures are not a list")
    failed = []
    for row in rows:
        require(isinstance(row, list) and len(row) >= 6, "a failure of fewer than six values")
        require(is_offset(row[0]) and is_natural(row[1]), "a failure with a bad number")
        require(all(isinstance(value, str) for value in row[2:6]), "a failure with a value that is not text")
        require(all(is_offset(value) and value >= NEVER for value in row[6:7]) and all(map(is_natural, row[7:8])),
                "a failure with a bad number")
        failed.append(FailedAttempt(*row[:8]))
    return tuple(failed)
