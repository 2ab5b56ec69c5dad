"""Arbitrary values as text that a later process can read back, and as digests that it can compare.

It knows nothing of files or jobs; the caller decides what is a cursor and what a payload.
"""

from __future__ import annotations

import base64
import json
import pickle
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from types import FunctionType
from typing import Any

# Every Python since 3.4 reads protocol 4; a state folder may outlive an interpreter.
PICKLE_PROTOCOL = 4
# Well below the depth at which json, pickle or the recursion here fails: about 300 with a recursion limit of 1,000.
DEEPEST = 100
# A digest is made about once a second; one of 100,000 parts takes about 0.2 s.
MOST_PARTS = 100_000
_DIGEST_BYTES = 16


def pack(value: Any) -> dict[str, Any]:
    """Return `{"json": value}` if JSON restores it equal and with the same types, else `{"pickle": base64}`.

    Raises ValueError if neither can carry the value.
    """
    if type(value) is Packed:
        return dict(json.loads(value.text))
    if _survives_json(value):
        return {"json": value}
    try:
        data = pickle.dumps(value, protocol=PICKLE_PROTOCOL)
    except Exception as error:  # a user's __reduce__ may raise anything
        raise ValueError(
            f"A value of type {type(value).__name__} can be stored neither as JSON nor as a pickle "
            f"({error}). Use plain values (numbers, strings, lists, dicts) or objects of importable classes."
        ) from error
    return packed_pickle(data)


def packed_pickle(data: bytes) -> dict[str, Any]:
    """What `unpack` turns into the value that `data` is a pickle of, made without loading it."""
    return {"pickle": base64.b64encode(data).decode("ascii")}


@dataclass(frozen=True)
class Packed:
    """A value as it was when it was packed, whatever happens to the object since; `text` is JSON."""

    text: str

    def __repr__(self) -> str:
        return self.text


def freeze(value: Any) -> int | str | Packed:
    """The value as it is now: itself where it cannot change, else packed. Raises ValueError as `pack` does."""
    if type(value) in (int, str):
        return value  # type: ignore[no-any-return]
    return Packed(json.dumps(pack(value)))


def thaw(frozen: Any) -> Any:
    """A fresh object equal to the one that was given to `freeze`. Raises ValueError as `unpack` does."""
    return unpack(json.loads(frozen.text)) if type(frozen) is Packed else frozen


def unpack(tagged: Any) -> Any:
    """Return the value that was given to `pack`.

    Raises ValueError if `tagged` does not come from `pack`, or names classes that cannot be imported. Loading a pickle
    runs code: use this only on text from a folder that nobody else can write to.
    """
    if not isinstance(tagged, dict) or len(tagged) != 1:
        raise ValueError("A packed value must have exactly one key, \"json\" or \"pickle\".")
    [(kind, content)] = tagged.items()
    if kind == "json":
        return content
    if kind != "pickle" or not isinstance(content, str):
        raise ValueError(f"Unknown kind of packed value: {kind!r}.")
    try:
        return pickle.loads(base64.b64decode(content, validate=True))
    except Exception as error:  # unpickling imports and calls the user's code
        raise ValueError(f"A pickled value cannot be loaded ({type(error).__name__}: {error}).") from error


def _survives_json(value: Any) -> bool:
    try:
        # NaN and infinity are left to pickle: JSON readers of other languages refuse them.
        return _same(value, json.loads(json.dumps(value, allow_nan=False)), 0)
    except Exception:  # json's own errors, and whatever a user's subclass of dict or str raises
        return False


def _same(left: Any, right: Any, depth: int) -> bool:
    if type(left) is not type(right) or depth > DEEPEST:
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(_same(a, b, depth + 1) for a, b in zip(left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            _same(a, b, depth + 1) and _same(left[a], right[b], depth + 1) for a, b in zip(left, right)
        )
    return bool(left == right)


def digest(value: Any) -> str | None:
    """Return 32 hex digits, the same in every process for equal values of the same types, or None.

    None if that cannot be guaranteed: for cycles, more than 100 levels or 100,000 parts, and objects that pickle could
    not reduce. Functions and classes count by name only, not by their code.
    """
    try:
        return _Digester().of(value).hex()
    except Exception:  # a user's __reduce_ex__ may raise anything; such a value has no digest
        return None


def _hash(tag: bytes, parts: Iterable[bytes]) -> bytes:
    found = blake2b(tag, digest_size=_DIGEST_BYTES)
    for part in parts:
        found.update(part)
    return found.digest()


def _float_bytes(value: float) -> bytes:
    # 0.0 and -0.0 are equal, so adding 0.0 makes them one; every NaN is made the same.
    return struct.pack(">d", value + 0.0 if value == value else float("nan"))


def _int_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


_LEAVES: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"none:",
    bool: lambda value: b"bool:1" if value else b"bool:0",
    int: lambda value: b"int:" + _int_bytes(value),
    float: lambda value: b"float:" + _float_bytes(value),
    str: lambda value: b"str:" + value.encode("utf-8", "surrogatepass"),
    bytes: lambda value: b"bytes:" + value,
}


class _Digester:
    """Computes the digest of one value; tracks which objects enclose the current one, which are known, and how many."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        # Each digest with its object, to keep that alive: another object could get the id of a temporary one.
        # Without this, a value that shares its parts (a = [b, b], b = [c, c], ...) would cost 2 ** depth.
        self._known: dict[int, tuple[Any, bytes]] = {}
        self._spent = 0

    def of(self, value: Any) -> bytes:
        self._spent += 1
        if self._spent > MOST_PARTS:
            raise ValueError("too many parts")
        leaf = _LEAVES.get(type(value))
        if leaf is not None:
            return _hash(leaf(value), ())
        known = self._known.get(id(value))
        return known[1] if known is not None else self._go_into(value)

    def _go_into(self, value: Any) -> bytes:
        key = id(value)
        if key in self._open or len(self._open) >= DEEPEST:
            raise ValueError("a cycle, or too deep")
        self._open.add(key)
        found = self._branch(value)
        self._open.remove(key)
        self._known[key] = (value, found)
        return found

    def _branch(self, value: Any) -> bytes:
        kind = type(value)
        if kind is list or kind is tuple:
            return _hash(b"list:" if kind is list else b"tuple:", map(self.of, value))
        if kind is dict:
            return _hash(b"dict:", self._pairs(value.items()))
        if isinstance(value, (set, frozenset)):
            return self._set(value)
        if isinstance(value, (type, FunctionType)):
            return _hash(b"global:", [f"{value.__module__}.{value.__qualname__}".encode()])
        return self._reduced(value)

    def _pairs(self, pairs: Iterable[tuple[Any, Any]]) -> list[bytes]:
        return sorted(self.of(key) + self.of(value) for key, value in pairs)

    def _set(self, value: set[Any] | frozenset[Any]) -> bytes:
        # Subclasses too: their __reduce_ex__ lists the elements in hash order, which differs between processes.
        own = [self.of(type(value)), self.of(getattr(value, "__dict__", None))]
        return _hash(b"set:", own + sorted(map(self.of, value)))

    def _reduced(self, value: Any) -> bytes:
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):
            return _hash(b"global:", [f"{value.__module__}.{reduced}".encode()])
        function, arguments, state, items, pairs, setter = (*reduced, None, None, None, None)[:6]
        parts = [function, arguments, state, list(items or ()), setter]
        # The pairs of a dict subclass are sorted too: better to miss a changed order than to report a false change.
        return _hash(b"object:", [self.of(part) for part in parts] + self._pairs(pairs or ()))
