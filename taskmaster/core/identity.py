"""What makes a job the same job in another run: eight bytes from its own cursor, else from its payload.

They are made from what is encoded already, so no code of the user's runs here. Equal payloads of built-in types have
equal identities in any process. A payload of a user's own class has the identity of its pickle, which may differ
between processes where it holds a set; the job then counts as another one, and is repeated.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from taskmaster.core.codec import PROTOCOL, BadJob, Batch, is_sealed, open_plain
from taskmaster.core.portable import Packed, digest
from taskmaster.job import NO_CURSOR

#: Two different jobs at one offset are taken for the same once in 2 ** 64 times.
IDENTITY_BYTES = 8

_ADDRESS = re.compile("0x[0-9A-Fa-f]+")  # of an object, as its repr has it; differs in each process
_SETS = (pickle.EMPTY_SET, pickle.FROZENSET)  # opcodes: without them a pickle of built-in types is the same everywhere


def identities(batch: Batch, index: int, count: int, cursors: Sequence[Any] | None = None) -> bytes:
    """The identities of `count` jobs from `index` on, one after the other.

    `cursors` are those of the same jobs, frozen, and NO_CURSOR where a job has none of its own.
    """
    of = _of_pickle if is_sealed(batch.form) else _of_value
    if cursors is None:
        return b"".join([of(batch.encoded(at)) for at in range(index, index + count)])
    return b"".join([of(batch.encoded(index + at)) if cursor is NO_CURSOR else of_cursor(cursor)
                     for at, cursor in enumerate(cursors)])


def of_bad(bad: BadJob, cursor: Any) -> bytes:
    """The identity of a job that cannot be encoded: by its own cursor, else by the reason."""
    if cursor is not NO_CURSOR:
        return of_cursor(cursor)
    reason = _ADDRESS.sub("", f"{bad.kind} {bad.error} {bad.message}")
    return _hash(b"bad:", reason.encode("utf-8", "surrogatepass"))


def of_payload(payload: Any, sealed: bool) -> bytes:
    """The identity of a job by its payload; `sealed` if that is a pickle."""
    return _of_pickle(payload) if sealed else _of_value(payload)


def of_cursor(cursor: Any) -> bytes:
    """The identity of a job by its own cursor, as `portable.freeze` gave it."""
    return _hash(b"cursor:", b"packed:" + cursor.text.encode() if type(cursor) is Packed else _bytes_of(cursor))


def _of_value(value: Any) -> bytes:
    """Of one job's payload, a value of built-in types."""
    return _hash(b"payload:", _bytes_of(value))


def _of_pickle(pickled: bytes) -> bytes:
    """Of one job's pickle, which may hold such a value, too: it has been pickled by itself for a neighbour's sake."""
    try:
        value = open_plain(pickled)
    except ValueError:  # it holds an object of a class
        return _hash(b"payload:", b"pickle:" + pickled)
    return _of_value(value)


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
