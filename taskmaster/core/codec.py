"""Batches of payloads to bytes and back.

Three forms. ``pickle`` is one pickle of a list of plain values, that is of built-in types all through: C code does
all the work, no code of the user's runs, and nothing in it can fail to decode. ``pickles`` is a pickled list of one
pickle per job, for everything else: a job that does not encode or decode spoils nobody. ``json`` is one JSON list,
for slaves that are not Python.

A payload is encoded when it is pulled, so that what the source does to the object afterwards changes nothing.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

# A larger slice becomes several batches, so that a lease, which is cut by a batch's mean, fits its frame.
BATCH_BYTES = 4 << 20
PROTOCOL = 5  # the newest that Python 3.10 to 3.13 all read and write

Bytes = bytes | memoryview
"""As they may be received: a large frame is not copied out of the socket's memory."""


@dataclass(frozen=True)
class BadJob:
    """One job of a slice that cannot be sent: its index there, a kind of failure, an error type and its message."""

    index: int
    kind: str
    error: str
    message: str


@dataclass(frozen=True)
class GoodJobs:
    """A stretch of a slice that can be sent: the index of its first job, and the batch."""

    index: int
    batch: Batch


class Batch:
    """An encoded stretch of jobs that can be cut; decoded into its parts only once, and only if it is cut."""

    __slots__ = ("_blob", "_first", "_parts", "count", "form", "size")

    def __init__(self, form: str, count: int, blob: bytes | None, parts: list[Any] | None = None,
                 first: int = 0, size: int = 0) -> None:
        self.form = form
        self.count = count
        self.size = len(blob) if blob is not None else size
        self._blob = blob
        self._parts = parts
        self._first = first

    @property
    def plain(self) -> bool:
        """Whether it is of plain values, so that decoding it runs none of the user's code."""
        return self.form != "pickles"

    def blob(self) -> bytes:
        """The batch as it goes over the wire."""
        if self._blob is not None:
            return self._blob
        assert self._parts is not None
        return _CONTAINERS[self.form].dump(self._parts[self._first:self._first + self.count])

    def slice(self, index: int, count: int) -> Batch:
        """The `count` jobs from `index` on; its size is its share of this batch's."""
        if count == self.count:
            return self
        self._open()
        size = max(1, self.size * count // self.count)
        if count == 1:  # a failed job may be kept for long, and must not keep its neighbours
            return Batch(self.form, 1, None, [self.encoded(index)], 0, size)
        return Batch(self.form, count, None, self._parts, self._first + index, size)

    def encoded(self, index: int) -> Any:
        """One job as it stands in the container: its pickle for `pickles`, else the value itself."""
        self._open()
        assert self._parts is not None
        return self._parts[self._first + index]

    def payload(self, index: int) -> Any:
        """One job's payload, decoded; raises whatever decoding it raises."""
        part = self.encoded(index)
        return pickle.loads(part) if self.form == "pickles" else part

    def reader(self, index: int) -> Callable[[], Any]:
        """Does the same when called, in any thread and whatever becomes of this batch meanwhile."""
        copy = Batch(self.form, self.count, self._blob, self._parts, self._first, self.size)
        return partial(copy.payload, index)

    def _open(self) -> None:
        if self._parts is None:
            assert self._blob is not None
            self._parts = _CONTAINERS[self.form].load(self._blob)
            self._blob = None  # the parts are kept instead: a batch that was cut once will be cut again


def encode(payloads: list[Any], codec: str, limit: int) -> list[GoodJobs | BadJob]:
    """Encode a slice as few batches as its bad jobs allow; `limit` is one job's largest size in bytes."""
    whole = encode_plain(payloads, codec, limit)
    if whole is not None:
        return [GoodJobs(0, whole)]
    return list(_encode_singly(payloads, codec, limit))


def encode_plain(payloads: list[Any], codec: str, limit: int) -> Batch | None:
    """A slice of plain values as one batch; None where something else is among them, or it is too large for one.

    To look at the types first would take longer than to pickle a number.
    """
    form = "json" if codec == "json" else "pickle"
    try:
        batch = Batch(form, len(payloads), _CONTAINERS[form].dump(payloads))
    except BaseException:  # JSON runs code of the user's; which job it was is seen when they are encoded one by one
        return None
    return batch if batch.size <= min(limit, BATCH_BYTES) else None


def decode(form: str, blob: Bytes) -> tuple[list[Any], dict[int, BaseException]]:
    """Payloads in order, and what was raised for each index that does not decode (its payload is None).

    Raises ValueError when the container itself is not what `form` says.
    """
    try:
        parts = _CONTAINERS[form].load(blob)
    except Exception as error:
        raise ValueError(f"{len(blob)} bytes are not a batch of form {form!r}: {error}") from error
    if not isinstance(parts, list):
        raise ValueError(f"a batch of form {form!r} holds a {type(parts).__name__}, not a list")
    return (parts, {}) if form != "pickles" else _loads_each(parts)


def _loads_each(parts: list[bytes]) -> tuple[list[Any], dict[int, BaseException]]:
    try:
        return list(map(pickle.loads, parts)), {}
    except BaseException:  # some job's own code raised: go one by one, so that only that job is blamed
        pass
    payloads: list[Any] = []
    bad: dict[int, BaseException] = {}
    for index, part in enumerate(parts):
        try:
            payloads.append(pickle.loads(part))
        except BaseException as error:
            payloads.append(None)
            bad[index] = error
    return payloads, bad


@dataclass(frozen=True)
class _Container:
    dump: Callable[[Sequence[Any]], bytes]
    load: Callable[[Bytes], Any]


def _dump_pickle(value: Any) -> bytes:
    return pickle.dumps(value, PROTOCOL)


class _PlainPickler(pickle.Pickler):
    """Raises PicklingError at the first object that is not of a built-in type."""

    def reducer_override(self, found: Any) -> Any:
        raise pickle.PicklingError(f"{type(found).__name__} is no built-in type")


class _BatchFile:
    """What the pickler writes, in steps of 64 KiB; raises PicklingError where it would grow larger than a batch.

    The steps are joined at the end: a BytesIO grows by an eighth, and copying at each growth was a quarter of the time
    that jobs of 5,000 bytes took to encode.
    """

    def __init__(self) -> None:
        self._steps: list[bytes] = []
        self._size = 0

    def write(self, step: bytes) -> None:
        self._size += len(step)
        if self._size > 2 * BATCH_BYTES:
            raise pickle.PicklingError("larger than a batch")
        self._steps.append(step)

    def joined(self) -> bytes:
        return b"".join(self._steps)


def _dump_plain(values: Any) -> bytes:
    file = _BatchFile()
    pickler = _PlainPickler(file, PROTOCOL)
    # Without the memo, so that of two jobs which hold one list each gets its own. A list that holds another ten
    # times over, and so on, is then written out ten times over at each step: hence the file with an end.
    pickler.fast = True
    pickler.dump(values)
    return file.joined()


def _dump_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _load_json(blob: Bytes) -> Any:
    return json.loads(bytes(blob))  # no copy, unless it is a view


_CONTAINERS = {
    "pickle": _Container(_dump_plain, pickle.loads),
    "pickles": _Container(_dump_pickle, pickle.loads),
    "json": _Container(_dump_json, _load_json),
}
FORMS = frozenset(_CONTAINERS)
HARMLESS_FORMS = frozenset({"json"})  # decoding the others runs whatever code their maker wants
CODECS = ("pickle", "json")


def _encode_singly(payloads: list[Any], codec: str, limit: int) -> Iterator[GoodJobs | BadJob]:
    """Job by job; good neighbours go into one batch again, up to BATCH_BYTES."""
    stretch: list[bytes] = []
    size = 0
    for index, payload in enumerate(payloads):
        result = _encode_one(index, payload, codec, limit)
        if stretch and (isinstance(result, BadJob) or size + len(result) > BATCH_BYTES):
            yield GoodJobs(index - len(stretch), _joined(stretch, codec))
            stretch, size = [], 0
        if isinstance(result, BadJob):
            yield result
        else:
            stretch.append(result)
            size += len(result)
    if stretch:
        yield GoodJobs(len(payloads) - len(stretch), _joined(stretch, codec))


def _encode_one(index: int, payload: Any, codec: str, limit: int) -> bytes | BadJob:
    try:
        data = _dump_json(payload) if codec == "json" else _dump_pickle(payload)
    except BaseException as error:
        return BadJob(index, "unpicklable", type(error).__name__, f"cannot be encoded as {codec}: {error}")
    if len(data) > limit:
        return BadJob(index, "too large", "JobTooLarge", f"{len(data):,} bytes encoded, the most is {limit:,}: "
                      "store the data in a file and let the job be its name")
    return data


def _joined(encoded: list[bytes], codec: str) -> Batch:
    if codec == "json":
        return Batch("json", len(encoded), b"[" + b",".join(encoded) + b"]")
    return Batch("pickles", len(encoded), None, encoded, size=sum(map(len, encoded)))
