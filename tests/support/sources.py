"""What the tests of sources share: a source that is cut anywhere and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from taskmaster.core.portable import freeze, pack, thaw, unpack
from taskmaster.job import NO_CURSOR, Job

GetJobs = Callable[..., Iterable[Job]]


def saved(cursor: Any) -> Any:
    """The cursor as a checkpoint gives it back."""
    return unpack(json.loads(json.dumps(pack(thaw(freeze(cursor))))))


def payloads(get_jobs: GetJobs, **last: Any) -> list[Any]:
    return [job.payload for job in get_jobs(**last)]


def assert_resumes_anywhere(get_jobs: GetJobs) -> list[Any]:
    """Cut after each job and resumed, it yields the rest: nothing missing, nothing twice. Returns all payloads."""
    jobs = list(get_jobs())
    assert all(job.cursor is not NO_CURSOR and type(job.cursor) is not int for job in jobs)
    for done, job in enumerate(jobs, 1):
        assert list(get_jobs(last=saved(job.cursor))) == jobs[done:], f"after {done} of {len(jobs)}"
    return [job.payload for job in jobs]
