"""What makes a job the same job in another run: eight bytes from its own cursor, else from its payload.

They are made from what is encoded already, so no code of the user's runs here. Equal payloads of built-in types have
equal identities in any process. A payload of a user's own class has the identity of its pickle, which may differ
between processes where it holds a set; the job then counts as another one, and is repeated.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from taskmaster.core.codec import PROTOCOL, Batch
from taskmaster.core.portable import digest
from taskmaster.job import NO_CURSOR

#: Two different jobs at one offset are taken for the same once in 2 ** 64 times.
IDENTITY_BYTES = 8

_SETS = (pickle.EMPTY_SET, pickle.FROZENSET)  # opcodes: without them a pickle of built-in types is the same everywhere


def identities(batch: Batch, index: int, count: int, cursors: Sequence[Any] | None = None) -> bytes:
    """The identities of `count` jobs from `index` on, one after the other.

    `cursors` are those of the same jobs, packed, and NO_CURSOR where a job has none of its own.
    """
    if cursors is None:
        return b"".join([_of(batch.encoded(at)) for at in range(index, index + count)])
    return b"".join([_of(batch.encoded(index + at)) if cursor is NO_CURSOR else of_cursor(cursor)
                     for at, cursor in enumerate(cursors)])


def of_cursor(cursor: Any) -> bytes:
    """The identity of a job by its own cursor, as `portable.pack` gave it, or plain where it is an int or a str."""
    return _hash(b"cursor:", _bytes_of(cursor))


def _of(encoded: Any) -> bytes:
    """Of one job as it stands in its batch: a pickle, or a value of built-in types."""
    return _hash(b"payload:", _bytes_of(encoded))


def _bytes_of(value: Any) -> bytes:
    kind = type(value)
    if kind is int:
        return b"int:%d" % value
    if kind is str:
        return b"str:" + str(value).encode("utf-8", "surrogatepass")
    if kind is bytes:
        return b"bytes:" + bytes(value)
    data = _dump(value)
    found = digest(value) if any(opcode in data for opcode in _SETS) else None  # a set's order is its process's
    return b"digest:" + found.encode() if found is not None else b"pickle:" + data


def _dump(value: Any) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, PROTOCOL)
    pickler.fast = True  # without the memo, whose entries depend on which equal parts are one object
    pickler.dump(value)
    return file.getvalue()


def _hash(tag: bytes, data: bytes) -> bytes:
    return blake2b(tag + data, digest_size=IDENTITY_BYTES).digest()
