"""A job for each failed job of another run, to be handled anew."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from taskmaster.core.failure import FailureRecord, from_line
from taskmaster.core.portable import unpack
from taskmaster.errors import SourceError
from taskmaster.job import Job
from taskmaster.sources.base import Source, located
from taskmaster.sources.line_file import LineFile

log = logging.getLogger(__name__)


def failures(path: str | os.PathLike[str], last: Any = None) -> Source:
    """The payloads of a failures file, or of the one in a state folder, in the order in which their jobs failed.

    Jobs whose payload is not in the file, because it was too large or could not be pickled, are passed over with a
    warning. Payloads may be pickles, so the file must be the user's own. The cursor is as in `lines`.
    """
    path = os.fspath(path)
    name = f"failures({path!r})"
    return Source(name, partial(_jobs, located(path), name), last)


def _jobs(path: str, name: str, last: Any) -> Iterator[Job]:
    path = os.path.join(path, "failures.jsonl") if os.path.isdir(path) else path
    with LineFile(path, name, "ascii", "strict", whole=True) as file:
        _check_own(file.status, name)
        if last is not None:
            file.resume(last)
        for line in file:
            for record in _record(line, name, file.start):
                yield from (Job(payload, file.cursor) for payload in _payload(record, name))


def _check_own(status: os.stat_result, name: str) -> None:
    """Raise SourceError if somebody else could have written a pickle there, which runs code when it is loaded."""
    if sys.platform == "win32":
        return  # the mode does not show who may write there
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022:
        raise SourceError(f"{name}: another user owns this file or may write to it, so the pickles in it may not be "
                          "loaded. Copy it, after a look at what is in it, and make the copy yours:\n    chmod go-w "
                          "FILE")


def _record(line: str, name: str, start: int) -> Iterator[FailureRecord]:
    try:
        yield from_line(line.encode("ascii"))
    except ValueError as error:
        log.warning("%s: the line at byte %d is not a failure record (%s); passing over it", name, start, error)


def _payload(record: FailureRecord, name: str) -> Iterator[Any]:
    if record.payload is None:
        log.warning("%s: passing over job %d, whose payload was not kept because it was %s", name, record.offset,
                    record.kind)
        return
    try:
        yield unpack(record.payload)
    except ValueError as error:
        log.warning("%s: passing over job %d: %s", name, record.offset, error)
