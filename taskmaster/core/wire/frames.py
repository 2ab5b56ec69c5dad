"""What both messages share: a JSON header and a blob, their limits, and the checks on what arrives.

Decoding is total: a malformed message is a value, never an exception, because anyone may have sent it. Nothing here
is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from taskmaster import defaults
from taskmaster.core.codec import Bytes
from taskmaster.core.runs import Run

Frames = list[bytes]

# Limits that belong to the format: to change one, change the version.
VERSION = 1
LARGEST = 1 << 62  # of any number: fits a signed 64-bit integer, and so does the sum of two
MOST_RUNS = 20_000  # in one list: more would not fit in a header
ID_CHARACTERS = 200  # of a run's or a slave's id


@dataclass(frozen=True)
class WireError:
    """Why the frames are not a message."""

    reason: str


class Malformed(Exception):
    """Ends the parsing at the first mistake; never leaves this package."""


_Message = TypeVar("_Message")


def decode(frames: Sequence[Bytes], most_bytes: int,
           parse: Callable[[dict[str, Any], Bytes], _Message]) -> _Message | WireError:
    """The message that `parse` makes of the header and of a blob of at most `most_bytes`, or what is wrong with it."""
    try:
        return parse(_header(frames, most_bytes), frames[1])
    except Malformed as malformed:
        return WireError(str(malformed))
    except RecursionError:
        return WireError("nested too deeply")


def _header(frames: Sequence[Bytes], most_bytes: int) -> dict[str, Any]:
    if len(frames) != defaults.FRAMES:
        raise Malformed(f"{len(frames)} frames, not {defaults.FRAMES}")
    header, blob = frames
    if len(header) > defaults.HEADER_BYTES or len(blob) > most_bytes:
        raise Malformed(f"a header of {len(header):,} and a blob of {len(blob):,} bytes")
    fields = load(header)
    if not isinstance(fields, dict):
        raise Malformed("the header is not an object")
    if fields.get("v") != VERSION:
        raise Malformed(f"protocol version {fields.get('v')!r}, not {VERSION}")
    return fields


# -- the fields of a header


def texts(header: dict[str, Any], *keys: str) -> list[str]:
    """These fields, each a text of at most ID_CHARACTERS; empty where absent."""
    values = [header.get(key, "") for key in keys]
    for value, key in zip(values, keys):
        if not isinstance(value, str) or len(value) > ID_CHARACTERS:
            raise Malformed(f"{key} is not a short text")
    return values


def numbers(header: dict[str, Any], *keys: str) -> list[int]:
    """These fields, each a natural number; 0 where absent."""
    values = [header.get(key, 0) for key in keys]
    for value, key in zip(values, keys):
        if type(value) is not int or not 0 <= value <= LARGEST:
            raise Malformed(f"{key} is not a natural number")
    return values


def runs(header: dict[str, Any], key: str) -> tuple[Run, ...]:
    """A field that lists runs of jobs; empty where absent."""
    rows = header.get(key)
    if not rows:
        return ()
    require(isinstance(rows, list) and len(rows) <= MOST_RUNS, f"{key} is not a list of runs")
    return tuple([_run(row) for row in rows])


def _run(row: Any) -> Run:
    if type(row) is not list or len(row) != 2 or not is_offset(row[0]) or not is_natural(row[1]):
        raise Malformed("a run is not two numbers")
    if row[1] == 0:
        raise Malformed("an empty run")
    return row[0], row[1]


# -- single values


def is_offset(value: Any) -> bool:
    """Offsets start at the default of the source's `last`, which may be -1 for "before the first row"."""
    return type(value) is int and -LARGEST <= value <= LARGEST


def is_natural(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def printable(value: Any, most: int) -> str:
    """At most `most` characters, safe to log: no control character of a peer's reaches a terminal."""
    text = str(value)[:most]
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def require(fact: bool, otherwise: str) -> None:
    if not fact:
        raise Malformed(otherwise)


# -- JSON


# Made once: json.dumps makes an encoder at each call with other than its default options, and json.loads first looks
# for UTF-16.
quoted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_unquoted = json.JSONDecoder().decode


def dump(value: Any) -> bytes:
    return utf8(quoted(value))


def utf8(text: str) -> bytes:
    # "replace" for lone surrogates, as in an error text that quotes a file's name: the text is only read by people.
    return text.encode("utf-8", "replace")


def load(data: Bytes) -> Any:
    try:
        return _unquoted(str(data, "utf-8"))  # a memoryview has no decode()
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from error
