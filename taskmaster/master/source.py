"""The user's iterator, opened where the last run stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from taskmaster import defaults
from taskmaster.core.failure import show
from taskmaster.core.portable import digest
from taskmaster.core.settled import Above, SettledBefore
from taskmaster.errors import SourceError, StateMismatch
from taskmaster.job import NO_CURSOR, unwrap
from taskmaster.targets.signature import accepts_last, can_count

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """Where a run begins: the offset of its first job, and what the checkpoint knows of it."""

    offset: int
    cursor: Any = NO_CURSOR  # of the job before; NO_CURSOR when nothing was settled yet
    skip: int = 0  # how many jobs were settled before, for a `get_jobs` without `last`
    digest: str | None = None  # of the job that the last run left unfinished here, None when it is not known
    before: SettledBefore = SettledBefore(Above())  # what earlier runs settled from there on


class Source:
    """Calls `get_jobs` once and yields what it yields. Belongs to one thread, because it runs the user's code."""

    def __init__(self, get_jobs: Callable[..., Any], arguments: Mapping[str, Any], start: Start) -> None:
        self._get_jobs = get_jobs
        self._arguments = dict(arguments)
        self._start = start
        self.before = start.before
        self.length: int | None = None  # of what `get_jobs` returned, where it has one
        self._newest: Any = NO_CURSOR  # the cursor of the newest job,
        self._sharing = 0  # and how many have had it in a row
        self._iterator: Any = None
        self._can_count = can_count(get_jobs) or not accepts_last(get_jobs)

    def open(self) -> Iterator[Any]:
        """An iterator at the first job to run. Raises SourceError if there is none, and what the user's code raises."""
        jobs = self._call()
        _refuse_surprises(jobs)
        try:
            iterator = self._iterator = iter(jobs)
        except TypeError as error:
            raise SourceError(f"get_jobs returned {_a(jobs)}, which cannot be iterated. Let it yield jobs:\n"
                              "    def get_jobs(last=0):\n        yield from range(last, 1000)") from error
        self.length = _length(jobs)
        for _ in islice(iterator, self._start.skip):
            pass
        return self._checked(iterator) if self._start.digest is not None else iterator

    def close(self) -> None:
        """Run what is left of the iterator, such as the `finally` of a generator."""
        iterator, self._iterator = self._iterator, None
        try:
            close = getattr(iterator, "close", None)
            if callable(close):
                close()
        except BaseException:  # the user's code, which may even call sys.exit(): the run is over either way
            log.warning("get_jobs raised an exception while it was closed at the end of the run", exc_info=True)

    def _call(self) -> Any:
        if self._start.cursor is NO_CURSOR or not accepts_last(self._get_jobs):
            return self._get_jobs(**self._arguments)
        return self._get_jobs(last=self._start.cursor, **self._arguments)

    def _checked(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """The same iterator, if its first job is the one that the last run left unfinished here."""
        for first in iterator:
            payload, _ = unwrap(first)
            found = digest(payload)
            if found is not None and found != self._start.digest:
                raise StateMismatch(_changed(self._start, payload))
            return chain([first], iterator)
        return iterator

    def check(self, cursors: Sequence[Any] | None) -> None:
        """Raise SourceError for jobs that no run could be resumed after; `cursors` are theirs, NO_CURSOR for none."""
        if not self._can_count and (cursors is None or NO_CURSOR in cursors):
            raise SourceError("A job without a cursor is counted, and a resumed run passes the count as `last`; but "
                              "the default of `last` in get_jobs is not a number to count from. Yield cursors:\n"
                              "    yield Job(payload, cursor=row.id)\nor give `last` such a default: last=0.")
        for cursor in cursors or ():
            self._check_one(cursor)

    def _check_one(self, cursor: Any) -> None:
        if cursor is None:
            raise SourceError("A job has the cursor None, which is no place to resume at: with last=None a resumed run "
                              "would begin at the beginning. Yield one that names a place, such as:\n"
                              "    yield Job(payload, cursor=row.id)")
        self._sharing = self._sharing + 1 if cursor is not NO_CURSOR and cursor == self._newest else 1
        self._newest = cursor
        if self._sharing > defaults.SHARED_CURSOR_JOBS:
            raise SourceError(f"More than {defaults.SHARED_CURSOR_JOBS:,} jobs in a row have the cursor "
                              f"{cursor!r:.80}. A run can only be resumed between two cursors: give each job its own:\n"
                              "    yield Job(payload, cursor=row.id)")


def _refuse_surprises(jobs: Any) -> None:
    """Raise SourceError for what can be iterated, but yields something else than its author expects."""
    way = next((way for kind, way in _SURPRISES.items() if isinstance(jobs, kind)), None)
    if way is None and hasattr(jobs, "itertuples") and hasattr(jobs, "columns"):
        way = "its column names", "yield from jobs.itertuples(index=False, name=None)"
    if way is not None:
        what, code = way
        raise SourceError(f"get_jobs returned {_a(jobs)}, which would yield {what} as jobs. Yield the jobs themselves, "
                          f"for example:\n    {code}")


_SURPRISES: dict[Any, tuple[str, str]] = {
    str: ("its characters", "yield from text.splitlines()"),
    (bytes, bytearray, memoryview): ("numbers, one for each byte", "yield from data.splitlines()"),
}


class NoSource(Source):
    """In place of the source in a run that only tries failed jobs again."""

    def open(self) -> Iterator[Any]:
        return iter(())


def _length(jobs: Any) -> int | None:
    """What `len` says; None where there is no length, or where asking for it raises, as a wrapper's may."""
    try:
        return len(jobs) if hasattr(jobs, "__len__") else None
    except Exception:
        return None


def _a(value: Any) -> str:
    name = type(value).__name__
    return "nothing (None)" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _changed(start: Start, payload: Any) -> str:
    return (f"The source has changed: job {start.offset} is not the one it was when the last run stopped; it is now "
            f"{show(payload):.80}. To resume by counting would skip jobs or repeat them. Let get_jobs yield "
            "Job(payload, cursor=...) with a cursor that identifies the place, such as a row's id, and start over with "
            "--reset; or resume at this count all the same with --force-resume.")
