"""What both messages share: a JSON header and a blob, their limits, and the checks on what arrives.

Decoding is total: a malformed message is a value, never an exception, because anyone may have sent it. Nothing here
is unpickled. Unknown fields and further values in a row are ignored, so that a later release may add some.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from taskmaster import defaults
from taskmaster.core.codec import Bytes
from taskmaster.core.runs import Run

Frames = list[bytes]

# Limits that belong to the format: changing one takes a new version.
VERSION = 1
LARGEST = 1 << 62  # of any number: fits a signed 64-bit integer, and so does the sum of two
MOST_RUNS = 20_000  # in one list: more would not fit into a header
ID_CHARACTERS = 200  # of a run's or a slave's id


@dataclass(frozen=True)
class WireError:
    """Why the frames are not a message."""

    reason: str


class Malformed(Exception):
    """Ends the parsing at the first mistake; never leaves this package."""


_Message = TypeVar("_Message")
Header = dict[str, Any]


def decode(frames: Sequence[Bytes], most_bytes: int, parse: Callable[[Header, Bytes], _Message],
           parse_other: Callable[[Header], _Message | WireError]) -> _Message | WireError:
    """The message that `parse` makes of the header and of a blob of at most `most_bytes`, or what is wrong with it.

    The header of another version goes to `parse_other`; its further frames may be anything and are ignored.
    """
    try:
        header = _header(frames)
        if header.get("v") != VERSION:
            return parse_other(header)
        return parse(header, _blob(frames, most_bytes))
    except Malformed as malformed:
        return WireError(str(malformed))
    except RecursionError:
        return WireError("nested too deeply")


def _header(frames: Sequence[Bytes]) -> Header:
    if not frames or len(frames[0]) > defaults.HEADER_BYTES:
        raise Malformed(f"a header of {len(frames[0]):,} bytes" if frames else "no frames")
    fields = load(frames[0])
    if not isinstance(fields, dict):
        raise Malformed("the header is not an object")
    return fields


def _blob(frames: Sequence[Bytes], most_bytes: int) -> Bytes:
    if len(frames) != defaults.FRAMES:
        raise Malformed(f"{len(frames)} frames, not {defaults.FRAMES}")
    if len(frames[1]) > most_bytes:
        raise Malformed(f"a blob of {len(frames[1]):,} bytes")
    return frames[1]


# -- the fields of a header


def request_id(header: Header) -> tuple[str, int]:
    """`sid` and `n`, which every version has: the slave, and the number of its request."""
    seq = header.get("n")
    if not is_natural(seq):
        raise Malformed("n is not a natural number")
    return text(header, "sid", None), seq


def other_version(header: Header) -> str:
    """What is wrong with the version of this header."""
    return f"protocol version {printable(header.get('v'), 40)}, not {VERSION}"


def text(header: Header, key: str, absent: str | None = "") -> str:
    """A text field of at most ID_CHARACTERS; required if `absent` is None."""
    value = header.get(key, absent)
    if not isinstance(value, str) or len(value) > ID_CHARACTERS:
        raise Malformed(f"{key} is not a short text")
    return value


def numbers(header: Header, *keys: str) -> list[int]:
    """These fields, each a natural number; 0 where absent."""
    values = [header.get(key, 0) for key in keys]
    for value, key in zip(values, keys):
        if type(value) is not int or not 0 <= value <= LARGEST:
            raise Malformed(f"{key} is not a natural number")
    return values


def runs(header: Header, key: str) -> tuple[Run, ...]:
    """A field that lists runs of jobs; empty where absent."""
    rows = header.get(key)
    if not rows:
        return ()
    require(isinstance(rows, list) and len(rows) <= MOST_RUNS, f"{key} is not a list of runs")
    return tuple([_run(row) for row in rows])


def _run(row: Any) -> Run:
    if type(row) is not list or len(row) < 2 or not is_offset(row[0]) or not is_natural(row[1]):
        raise Malformed("a run is not two numbers")
    if row[1] == 0:
        raise Malformed("an empty run")
    return row[0], row[1]


# -- single values


def is_offset(value: Any) -> bool:
    """Offsets start at the default of the source's `last`, which may be -1 for "before the first row"."""
    return type(value) is int and -LARGEST <= value <= LARGEST


def is_natural(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= LARGEST


def printable(value: Any, most: int) -> str:
    """At most `most` characters, safe to log: no control character from a peer reaches a terminal."""
    cut = str(value)[:most]
    return cut if cut.isprintable() else "".join(one if one.isprintable() else "?" for one in cut)


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


def utf8(json_text: str) -> bytes:
    # "replace" for lone surrogates, as in an error text that quotes a file's name: the text is only read by people.
    return json_text.encode("utf-8", "replace")


def load(data: Bytes) -> Any:
    try:
        return _unquoted(str(data, "utf-8"))  # a memoryview has no decode()
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from error
