"""Jobs of another source, several as one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from taskmaster.errors import UsageError
from taskmaster.job import Job
from taskmaster.sources.base import Jobs, Source, jobs_of, shown


def chunks(source: Jobs, n: int, last: Any = None) -> Source:
    """Lists of `n` payloads each; the last one may be shorter. The cursor is that of the last job in the list.

    Jobs that share a cursor stay together, so a list of them may be longer.
    """
    if n < 1:
        raise UsageError(f"n must be at least 1, not {n}.")
    name = f"chunks({shown(source)}, {n})"
    return Source(name, partial(_chunks, name, source, n), last)


def _chunks(name: str, source: Jobs, n: int, last: Any) -> Iterator[Job]:
    distinct = isinstance(source, Source)  # else the next job may have the same cursor, so it has to be seen first
    payloads: list[Any] = []
    cursor: Any = None
    for job in jobs_of(source, last, name):
        if len(payloads) >= n and job.cursor != cursor:
            yield Job(payloads, cursor)
            payloads = []
        payloads.append(job.payload)
        cursor = job.cursor
        if distinct and len(payloads) == n:
            yield Job(payloads, cursor)
            payloads = []
    if payloads:
        yield Job(payloads, cursor)
