"""The user's iterator; between two masters its jobs may change from some offset on, and so may its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from taskmaster.job import NO_CURSOR, Job

PLACES = 1_000_000  # more than there are jobs


class Source:
    """Jobs by offset; a payload holds its offset and the version of the source that it belongs to."""

    def __init__(self, length: int, cursors: int = 3, bad: int = 11) -> None:
        self.version = 1
        self.versions = [1] * length
        self._cursors = cursors  # every so many jobs have a cursor of their own; 0: none
        self._bad = bad  # every so many jobs cannot be encoded; 0: none

    @property
    def length(self) -> int:
        return len(self.versions)

    def change(self, first: int, length: int) -> None:
        self.version += 1
        self.versions[first:] = [self.version] * max(0, length - first)

    def payload(self, offset: int) -> int:
        return self.versions[offset] * PLACES + offset

    def cursor(self, offset: int) -> Any:
        """Its own, if it has one."""
        own = self._cursors and offset % self._cursors == 0
        return f"after {self.payload(offset)}" if own else NO_CURSOR

    def resume_at(self, offset: int) -> Any:
        cursor = self.cursor(offset)
        return offset + 1 if cursor is NO_CURSOR else cursor

    def is_bad(self, offset: int) -> bool:
        return bool(self._bad) and offset % self._bad == self._bad - 4

    def after(self, last: Any) -> int:
        """The offset of the job that comes after `last`."""
        return last if isinstance(last, int) else offset_of(int(last.removeprefix("after "))) + 1

    def jobs(self, last: Any, before: Callable[[int], object], dressed: Callable[[int], Any]) -> Iterator[Any]:
        """What `get_jobs` yields; `before` is called with each offset, `dressed` makes what is yielded of a payload."""
        offset = self.after(last)
        while offset < self.length:
            before(offset)
            payload = Unsendable(self.payload(offset)) if self.is_bad(offset) else dressed(self.payload(offset))
            cursor = self.cursor(offset)
            yield payload if cursor is NO_CURSOR else Job(payload, cursor)
            offset += 1


def offset_of(payload: int) -> int:
    return payload % PLACES


class SourceFailed(Exception):
    """Raised by a source."""


class Unsendable:
    """Cannot be pickled."""

    def __init__(self, payload: int) -> None:
        self._payload = payload

    def __reduce__(self) -> Any:
        raise TypeError(f"{self._payload} cannot be pickled, like {object()}")


class Undecodable:
    """Can be pickled but not unpickled."""

    def __init__(self, payload: int) -> None:
        self._payload = payload

    def __reduce__(self) -> Any:
        return _refuse, (self._payload,)


def _refuse(payload: int) -> Any:
    raise ValueError(f"{payload} cannot be decoded")
