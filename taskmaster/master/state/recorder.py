"""Turns abandoned jobs into records of the failures file, in the state writer's thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.codec import Batch
from taskmaster.core.failure import FailureRecord, show
from taskmaster.core.portable import pack, packed_pickle
from taskmaster.master.state.payloads import PayloadReader

Payload = tuple[dict[str, Any] | None, str]
"""A payload as in a record: packed, so that the job can be run again, and in readable form."""


@dataclass(frozen=True)
class Abandoned:
    """A job, the time, ISO 8601 in UTC, at which it was abandoned, and the epoch of the master that did it."""

    job: AbandonedJob
    time: str
    epoch: int


class Records(Protocol):
    """What the recorder needs from a FailuresFile."""

    def append(self, failures: Sequence[FailureRecord], /) -> None: ...


class FailureRecorder:
    """Appends a record for each abandoned job. The payload is decoded for this, which runs the user's code."""

    def __init__(self, file: Records, handler: str, payloads: PayloadReader) -> None:
        self._file = file
        self._handler = handler
        self._payloads = payloads
        self._made: list[FailureRecord] = []  # records that could not be written yet

    def append(self, abandoned: Sequence[Abandoned]) -> None:
        """Add a record for each, durable on return.

        Raises OSError, and then expects the same jobs again, followed by any that arrived meanwhile. Each is decoded
        only once, however often the disk refuses its record.
        """
        self._made += self._records(abandoned[len(self._made):])
        self._file.append(self._made)
        self._made = []

    def _records(self, abandoned: Sequence[Abandoned]) -> list[FailureRecord]:
        batches = [one.job.batch for one in abandoned]
        described = self._payloads.each(_describe, batches)
        return [self._record(one, found or _as_sent(batch))
                for one, batch, found in zip(abandoned, batches, described)]

    def _record(self, one: Abandoned, payload: Payload) -> FailureRecord:
        job = one.job
        return FailureRecord(job.offset, _packed(job.cursor), job.attempts, job.kind, job.error, job.message,
                             job.traceback, self._handler, job.holder, one.time, *payload, one.epoch, job.rounds)


def _describe(batch: Batch | None) -> Payload:
    if batch is None:
        return None, "<a job that could not be sent>"
    try:
        payload = batch.payload(0)
    except BaseException as error:  # the user's own decoding, which may even call sys.exit()
        return packed_pickle(batch.encoded(0)), f"<{type(error).__name__} while decoding>"
    return _packed(payload), show(payload)


def _as_sent(batch: Batch | None) -> Payload:
    """Does not run the user's code."""
    if batch is None or batch.plain:
        return _describe(batch)
    return packed_pickle(batch.encoded(0)), "<not decoded>"


def _packed(value: Any) -> dict[str, Any] | None:
    try:
        return pack(value)
    except ValueError:
        return None
