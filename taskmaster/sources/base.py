"""What every source is: something that can be iterated, and called as `get_jobs`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from taskmaster.errors import SourceError
from taskmaster.job import NO_CURSOR, Job


def located(path: str) -> str:
    """The same path for when user code has changed the working folder."""
    try:
        return os.path.join(os.getcwd(), path)
    except OSError:  # it was removed
        return path


class Source:
    """Jobs with cursors, from the beginning or strictly after the cursor `last`.

    `jobs` makes an iterator of them when it is called with `last`, None for the beginning; nothing is opened before.
    Calling a source gives the same source at another cursor, so that a source is a `get_jobs` by itself. A cursor is
    never a plain int: that is what a master passes for jobs without a cursor, whose source it is then not.
    """

    def __init__(self, name: str, jobs: Callable[[Any], Iterator[Job]], last: Any = None,
                 count: Callable[[Any], int] | None = None) -> None:
        """`count`, where it is known, gives the number of jobs after a cursor."""
        self._name = name
        self._jobs = jobs
        self._last = last
        self._count = count

    def __call__(self, last: Any = None) -> Source:
        return type(self)(self._name, self._jobs, last, self._count)

    def __iter__(self) -> Iterator[Job]:
        return self._jobs(self._checked_last())

    def __len__(self) -> int:
        """Raises TypeError where the number of jobs is not known."""
        if self._count is None:
            raise TypeError(f"{self._name} does not know how many jobs it has")
        return self._count(self._checked_last())

    def __bool__(self) -> bool:
        return True  # whatever its length is

    def _checked_last(self) -> Any:
        if type(self._last) is int and self._last:
            raise SourceError(_counted(self._name, self._last))
        return self._last or None  # `last=0` and `last=""` are usual defaults in a get_jobs

    def __repr__(self) -> str:
        return self._name


def _counted(name: str, count: int) -> str:
    return (f"last={count} is a count of jobs, not a cursor of {name}. If get_jobs makes other jobs of these, pass "
            "their cursors on:\n    yield Job(payload, cursor=job.cursor)\nand start over with --reset.")


def refuse_cursor(name: str, last: Any) -> NoReturn:
    """Raise SourceError for a cursor that `name` did not make."""
    raise SourceError(f"last={last!r:.80} is not a cursor of {name}. If the source was replaced by another one, start "
                      "over with --reset.")


Jobs = Source | Callable[..., Iterable[Any]]
"""A source, or a `get_jobs(last=...)` of the user's that yields jobs with cursors."""


def shown(source: Jobs) -> str:
    """The name of a source within that of another."""
    return repr(source) if isinstance(source, Source) else getattr(source, "__name__", type(source).__name__)


def jobs_of(source: Jobs, last: Any, outer: str) -> Iterator[Job]:
    """The jobs of a source that `outer` is made of. Raises SourceError for one without a cursor."""
    if not callable(source):
        raise SourceError(f"{outer} needs a source or a function get_jobs(last=...), not {type(source).__name__}.")
    for job in source() if last is None else source(last=last):
        if not isinstance(job, Job) or job.cursor is NO_CURSOR:
            raise SourceError(f"{outer} needs jobs with cursors. Let that get_jobs yield Job(payload, cursor=...).")
        yield job
