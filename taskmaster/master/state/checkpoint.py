"""How far a run got, as a value and as bytes. It knows nothing of files."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taskmaster.core.portable import pack, unpack
from taskmaster.core.runs import Run
from taskmaster.core.settled import Above, Snapshot
from taskmaster.errors import StateMismatch

# To change what a checkpoint holds: raise FORMAT by one; add to UPGRADES, under the old number, the function that
# turns the old fields into the new ones; add a line written by the old release to the tests. Never remove a step. A
# format newer than FORMAT is refused, never guessed. A field that readers may ignore needs no new number.
FORMAT = 2
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda fields: {**fields, "first_offset": None, "above": {"runs": [], "identities": ""}},
}

_RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Checkpoint:
    """Every job below `offset` is settled; `cursor` (when `has_cursor`) belongs to the job just below it.

    `run` is 32 hex digits, the same for all masters of one run; `epoch` counts those masters. `digest` belongs to the
    first unfinished job; it is None where it is not known. `first_offset` is the offset of the very first job, None in
    a checkpoint of format 1. `above` are the jobs at or above `offset` that are settled, too, with their identities; a
    Snapshot becomes an Above when it is written. `written_at` (Unix seconds) is for people only.

    `stopped`: --max-failures ended the run, so the next one tries the failed jobs again. `chances` are the offsets,
    below `offset`, of those that are still to be tried, since the epoch `chances_epoch`, and `tried` those that have
    been since the failures file was last rewritten.
    """

    run: str
    epoch: int
    offset: int
    cursor: Any = None
    has_cursor: bool = False
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    finished: bool = False
    written_at: float = 0.0
    first_offset: int | None = None
    above: Above | Snapshot = Above()
    stopped: bool = False
    chances: tuple[Run, ...] = ()
    chances_epoch: int = 0
    tried: tuple[Run, ...] = ()
    sink: Any = None  # where the results are, and the sink's mark; None where nobody wanted any


def encode(checkpoint: Checkpoint) -> bytes:
    """A line of JSON and a line with its CRC32. Raises ValueError for a cursor that cannot be written."""
    fields = {"format": FORMAT, **vars(checkpoint)}
    fields.update(arguments=dict(checkpoint.arguments), counters=dict(checkpoint.counters))
    fields["cursor"] = pack(checkpoint.cursor) if checkpoint.has_cursor else None
    fields["above"] = _packed_above(checkpoint.above)
    line = json.dumps(fields).encode("ascii")
    return line + b"\n" + _checksum(line)


def decode(data: bytes) -> Checkpoint:
    """Read what `encode` wrote. Raises StateMismatch when it is damaged or has a newer format."""
    try:
        return parse(data)
    except ValueError as error:
        raise StateMismatch(
            f"The checkpoint is damaged: it {error}. Restore a backup, or start over with --reset."
        ) from error


def _checksum(line: bytes) -> bytes:
    return b"%08x\n" % zlib.crc32(line)


def checked(data: bytes) -> bytes:
    """The line of JSON. Raises ValueError when it does not match its checksum."""
    line, _, rest = data.partition(b"\n")
    if rest != _checksum(line):
        raise ValueError("is cut short or does not match its checksum")
    return line


def parse(data: bytes) -> Checkpoint:
    """As `decode`, but raises ValueError when it is damaged: the checkpoint before may be intact."""
    fields = _upgraded(json.loads(checked(data)))
    try:
        has_cursor = _of(bool, fields["has_cursor"])
        return Checkpoint(
            run=_run(fields["run"]),
            epoch=_of(int, fields["epoch"]),
            offset=_of(int, fields["offset"]),
            cursor=_cursor(fields["cursor"]) if has_cursor else None,
            has_cursor=has_cursor,
            target=_of(str, fields["target"]),
            arguments=_mapping(str, fields["arguments"]),
            digest=None if fields["digest"] is None else _of(str, fields["digest"]),
            counters=_mapping(int, fields["counters"]),
            finished=_of(bool, fields["finished"]),
            written_at=float(fields["written_at"]),
            first_offset=None if fields["first_offset"] is None else _of(int, fields["first_offset"]),
            above=_above(fields["above"]),
            stopped=_of(bool, fields.get("stopped", False)),
            chances=_runs(fields.get("chances", [])),
            chances_epoch=_of(int, fields.get("chances_epoch", 0)),
            tried=_runs(fields.get("tried", [])),
            sink=_sink(fields.get("sink")),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks a field or has a wrong one ({error})") from error


def _upgraded(fields: Any) -> dict[str, Any]:
    found = fields.get("format") if isinstance(fields, dict) else None
    if type(found) is not int or found < 1:
        raise ValueError("does not say its format")
    if found > FORMAT:
        raise StateMismatch(
            f"The checkpoint has format {found}, and this taskmaster reads up to {FORMAT}. "
            f"Upgrade taskmaster, or start over with --reset."
        )
    for step in range(found, FORMAT):
        fields = UPGRADES[step](fields)
    return dict(fields)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def _run(value: Any) -> str:
    if not isinstance(value, str) or not _RUN.fullmatch(value):
        raise TypeError(f"{value!r} is not a run id")
    return value


def _mapping(kind: type, value: Any) -> dict[str, Any]:
    return {key: _of(kind, content) for key, content in _of(dict, value).items()}


def _packed_above(above: Above | Snapshot) -> dict[str, Any]:
    found = above.above() if isinstance(above, Snapshot) else above
    return {"runs": found.runs, "identities": base64.b64encode(found.identities).decode("ascii")}


def _sink(said: Any) -> Any:
    if said is not None:
        _of(str, _of(dict, said)["place"])
    return said


def _above(packed: Any) -> Above:
    return Above(_runs(packed["runs"]), base64.b64decode(_of(str, packed["identities"]), validate=True))


def _runs(found: Any) -> tuple[Run, ...]:
    return tuple([(_of(int, first), _of(int, count)) for first, count in _of(list, found)])


def _cursor(packed: Any) -> Any:
    try:
        return unpack(packed)
    except ValueError as error:
        # The checksum is right, so the file is intact, and the checkpoint before would fail for the same reason.
        raise StateMismatch(
            f"The cursor in the checkpoint cannot be read: {error} Make the code that defines it importable "
            f"as it was, or start over with --reset."
        ) from error
