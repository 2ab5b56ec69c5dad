"""Batches of payloads to bytes and back.

There are three forms. ``pickle`` is one pickle of a list of plain values, meaning built-in types all the way down: C
code does all the work, none of the user's code runs, and decoding cannot fail. ``pickles`` is a pickled list of one
pickle per job, for everything else: a job that cannot be encoded or decoded affects no other. ``json`` is one JSON
list, for slaves that are not written in Python.

A payload is encoded when it is pulled, so later changes to the object have no effect.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from taskmaster.core.exceptions import message_of, type_name

# A larger slice becomes several batches: a lease is sized by the mean of a batch, and has to fit its frame.
BATCH_BYTES = 4 << 20
PROTOCOL = 5  # the newest one that all of Python 3.10 to 3.13 read and write

Bytes = bytes | memoryview
"""Received bytes: a large frame is a view rather than a copy of the socket's memory."""


@dataclass(frozen=True)
class BadJob:
    """A job of a slice that cannot be sent: its index in the slice, the kind of failure, error type and message."""

    index: int
    kind: str
    error: str
    message: str


@dataclass(frozen=True)
class GoodJobs:
    """Consecutive jobs of a slice that can be sent: the index of the first one, and the batch."""

    index: int
    batch: Batch


class Batch:
    """Encoded consecutive jobs, which can be cut; decoded into parts only once, and only when cut."""

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
        """The batch as it is sent."""
        if self._blob is not None:
            return self._blob
        assert self._parts is not None
        return _CONTAINERS[self.form].dump(self._parts[self._first:self._first + self.count])

    def slice(self, index: int, count: int) -> Batch:
        """The `count` jobs from `index` on; its size is estimated as its share of this batch's."""
        if count == self.count:
            return self
        self._open()
        size = max(1, self.size * count // self.count)
        if count == 1:  # a failed job may be kept for a long time, and must not keep its neighbours alive
            return Batch(self.form, 1, None, [self.encoded(index)], 0, size)
        return Batch(self.form, count, None, self._parts, self._first + index, size)

    def encoded(self, index: int) -> Any:
        """One job as the container holds it: its pickle for `pickles`, else the value itself."""
        self._open()
        assert self._parts is not None
        return self._parts[self._first + index]

    def payload(self, index: int) -> Any:
        """One job's payload, decoded. Raises whatever decoding it raises."""
        part = self.encoded(index)
        return pickle.loads(part) if self.form == "pickles" else part

    def reader(self, index: int) -> Callable[[], Any]:
        """Decodes the payload of one job when called, in any thread and whatever becomes of this batch meanwhile."""
        return partial(self.copy().payload, index)

    def copy(self) -> Batch:
        """The same jobs, to be read in another thread, or without opening this one."""
        return Batch(self.form, self.count, self._blob, self._parts, self._first, self.size)

    def _open(self) -> None:
        if self._parts is None:
            assert self._blob is not None
            self._parts = _CONTAINERS[self.form].load(self._blob)
            self._blob = None  # the parts replace it, because a batch that has been cut will be cut again


def encode(payloads: list[Any], codec: str, limit: int) -> list[GoodJobs | BadJob]:
    """Encode a slice in as few batches as possible; `limit` is the largest size of one encoded job in bytes."""
    whole = encode_plain(payloads, codec, limit)
    if whole is not None:
        return [GoodJobs(0, whole)]
    return list(_encode_singly(payloads, codec, limit))


def encode_plain(payloads: list[Any], codec: str, limit: int) -> Batch | None:
    """Encode a slice of plain values as one batch; None if it holds anything else, or is too large for one batch.

    Checking the types first would take longer than pickling a number.
    """
    form = "json" if codec == "json" else "pickle"
    try:
        batch = Batch(form, len(payloads), _CONTAINERS[form].dump(payloads))
    except BaseException:  # JSON runs user code; encoding the jobs one by one shows which of them it was
        return None
    return batch if batch.size <= min(limit, BATCH_BYTES) else None


def open_batch(form: str, blob: Bytes) -> list[Any]:
    """What a batch holds: for `pickles` a pickle for each job, which `open_part` decodes, else the payloads themselves.

    None of the user's code runs. Raises ValueError if the container is not of the given form.
    """
    try:
        parts = _CONTAINERS[form].load(blob)
    except Exception as error:
        raise ValueError(f"{len(blob)} bytes are not a batch of form {form!r}: {message_of(error)}") from error
    if not isinstance(parts, list):
        raise ValueError(f"a batch of form {form!r} holds a {type(parts).__name__}, not a list")
    return parts


def is_sealed(form: str) -> bool:
    """Whether the parts of such a batch are pickles, one per job, which run the user's code when they are decoded."""
    return form == "pickles"


def open_part(part: bytes) -> Any:
    """The payload in one pickle of a `pickles` batch. Raises whatever decoding it raises; it may take long."""
    return pickle.loads(part)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not a built-in value")


def open_plain(part: bytes) -> Any:
    """The same where it is of built-in types all the way down, else ValueError; none of the user's code runs."""
    try:
        return _PlainUnpickler(io.BytesIO(part)).load()
    except Exception as error:
        raise ValueError("not a plain value") from error


@dataclass(frozen=True)
class _Container:
    dump: Callable[[Sequence[Any]], bytes]
    load: Callable[[Bytes], Any]


def _dump_pickle(value: Any) -> bytes:
    return pickle.dumps(value, PROTOCOL)


class _PlainPickler(pickle.Pickler):
    """Raises PicklingError at the first object whose type is not built in."""

    def reducer_override(self, found: Any) -> Any:
        raise pickle.PicklingError(f"{type(found).__name__} is not a built-in type")


class _BatchFile:
    """Collects what the pickler writes, in steps of 64 KiB; raises PicklingError once it is too large for a batch.

    The steps are joined at the end: a BytesIO grows by an eighth at a time, and copying it at each growth was a quarter
    of the time it took to encode jobs of 5,000 bytes.
    """

    def __init__(self) -> None:
        self._steps: list[bytes] = []
        self._size = 0

    def write(self, step: bytes) -> None:
        self._size += len(step)
        if self._size > 2 * BATCH_BYTES:
            raise pickle.PicklingError("too large for a batch")
        self._steps.append(step)

    def joined(self) -> bytes:
        return b"".join(self._steps)


def _dump_plain(values: Any) -> bytes:
    file = _BatchFile()
    pickler = _PlainPickler(file, PROTOCOL)
    # Without the memo, so that two jobs that share a list get a copy each. Nested lists that repeat an object ten
    # times at each level then take ten times the bytes at each level: hence the limit on the file.
    pickler.fast = True
    pickler.dump(values)
    return file.joined()


def _dump_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _load_json(blob: Bytes) -> Any:
    return json.loads(bytes(blob))  # copies only a view


_CONTAINERS = {
    "pickle": _Container(_dump_plain, pickle.loads),
    "pickles": _Container(_dump_pickle, pickle.loads),
    "json": _Container(_dump_json, _load_json),
}
FORMS = frozenset(_CONTAINERS)
HARMLESS_FORMS = frozenset({"json"})  # decoding the others may run any code of the sender's choosing
CODECS = ("pickle", "json")


def _encode_singly(payloads: list[Any], codec: str, limit: int) -> Iterator[GoodJobs | BadJob]:
    """Encode job by job; consecutive good jobs share a batch, up to BATCH_BYTES."""
    good: list[bytes] = []
    size = 0
    for index, payload in enumerate(payloads):
        result = _encode_one(index, payload, codec, limit)
        if good and (isinstance(result, BadJob) or size + len(result) > BATCH_BYTES):
            yield GoodJobs(index - len(good), _joined(good, codec))
            good, size = [], 0
        if isinstance(result, BadJob):
            yield result
        else:
            good.append(result)
            size += len(result)
    if good:
        yield GoodJobs(len(payloads) - len(good), _joined(good, codec))


def _encode_one(index: int, payload: Any, codec: str, limit: int) -> bytes | BadJob:
    try:
        data = _dump_json(payload) if codec == "json" else _dump_pickle(payload)
    except BaseException as error:
        return BadJob(index, "unpicklable", type_name(error), f"cannot be encoded as {codec}: {message_of(error)}")
    if len(data) > limit:
        return BadJob(index, "too large", "JobTooLarge", f"{len(data):,} bytes encoded, the limit is {limit:,}: "
                      "store the data in a file and yield its name")
    return data


def _joined(encoded: list[bytes], codec: str) -> Batch:
    if codec == "json":
        return Batch("json", len(encoded), b"[" + b",".join(encoded) + b"]")
    return Batch("pickles", len(encoded), None, encoded, size=sum(map(len, encoded)))
