"""From records of the failures file to jobs that run again. Belongs to the feeder's thread: it runs the user's code."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from taskmaster import defaults
from taskmaster.core.codec import GoodJobs, encode
from taskmaster.core.failure import FailureRecord
from taskmaster.core.portable import Packed, unpack
from taskmaster.core.second_chances import FailedJob

log = logging.getLogger(__name__)


def failed_jobs(records: Iterable[FailureRecord], codec: str) -> Iterator[FailedJob]:
    """The job of each record whose payload can be read and sent; a warning for each other one."""
    for record in records:
        try:
            yield FailedJob(record.offset, _frozen(record.cursor), _batch(record, codec), record.rounds)
        except BaseException as error:  # unpickling runs the user's code, which may even call sys.exit()
            log.warning("Job %d, which failed in an earlier run, cannot be tried again: %s It stays in the failures "
                        "file.", record.offset, error)


def _batch(record: FailureRecord, codec: str) -> Any:
    [piece] = encode([unpack(record.payload)], codec, defaults.JOB_BYTES)
    if not isinstance(piece, GoodJobs):
        raise ValueError(f"It {piece.message}.")
    return piece.batch


def _frozen(packed: dict[str, Any] | None) -> Any:
    """A recorded cursor as `freeze` gives it, without unpickling it."""
    plain = packed.get("json") if packed is not None else None
    return plain if type(plain) in (int, str) else Packed(json.dumps(packed))
