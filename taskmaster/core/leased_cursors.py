"""The cursors of leased jobs, encoded for the slave that gets the jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from taskmaster import defaults
from taskmaster.core.codec import encode_plain
from taskmaster.core.portable import Packed
from taskmaster.job import NO_CURSOR


def encode_cursors(cursors: Sequence[Any] | None, form: str) -> bytes:
    """Cursors, frozen, of all jobs of a batch of this form; empty if no job has its own.

    In a JSON list, with null for a job without one, other cursors than numbers and texts are objects as `portable.pack`
    makes them; in a pickle, these are their JSON as bytes. Those that are too large to send are an empty list.
    """
    if cursors is None:
        return b""
    codec = "json" if form == "json" else "pickle"
    values = [_json_value(one) if codec == "json" else _value(one) for one in cursors]
    return _encoded(values, codec) or _encoded([], codec)


def _encoded(values: list[Any], codec: str) -> bytes:
    batch = encode_plain(values, codec, defaults.CURSORS_BYTES)
    return b"" if batch is None else batch.blob()


def _value(cursor: Any) -> Any:
    return cursor.text.encode() if type(cursor) is Packed else None if cursor is NO_CURSOR else cursor


def _json_value(cursor: Any) -> Any:
    return json.loads(cursor.text) if type(cursor) is Packed else _value(cursor)
