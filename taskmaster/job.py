"""What `get_jobs` may yield besides plain payloads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


class _NoCursor:
    """The type of `NO_CURSOR`, so that it prints by name."""

    def __repr__(self) -> str:
        return "NO_CURSOR"


NO_CURSOR: Final = _NoCursor()


@dataclass(frozen=True)
class Job:
    """A payload for the handler, with the cursor at which to resume *after* it.

    A resumed run calls `get_jobs(last=cursor)` and expects what comes strictly after this job. A cursor is
    anything that JSON or pickle can carry: a row id, a string, a tuple. Without one, as for a plain payload,
    the cursor is the job's offset + 1, the count of jobs up to and including this one.
    """

    payload: Any
    cursor: Any = NO_CURSOR


def unwrap(job: Any) -> tuple[Any, Any]:
    """The payload and the cursor of whatever `get_jobs` yielded: a Job, also of a subclass, or a plain payload."""
    return (job.payload, job.cursor) if isinstance(job, Job) else (job, NO_CURSOR)
