"""One of several parts of another source, each for a run of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from taskmaster.core.identity import of_cursor
from taskmaster.core.portable import freeze
from taskmaster.errors import UsageError
from taskmaster.job import Job
from taskmaster.sources.base import Jobs, Source, jobs_of, shown


def shard(source: Jobs, i: int, n: int, last: Any = None) -> Source:
    """Part `i` of `n`, counted from 0. Each job is in one part, which depends on its cursor alone.

    So jobs that come or go between two runs, or while the parts run on different machines, move no other job to
    another part. The parts are of about the same size.
    """
    if not 0 <= i < n:
        raise UsageError(f"i must be at least 0 and below n={n}, not {i}.")
    name = f"shard({shown(source)}, {i}, {n})"
    return Source(name, partial(_shard, name, source, i, n), last)


def _shard(name: str, source: Jobs, i: int, n: int, last: Any) -> Iterator[Job]:
    for job in jobs_of(source, last, name):
        if int.from_bytes(of_cursor(freeze(job.cursor)), "big") % n == i:
            yield job
