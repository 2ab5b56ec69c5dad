"""The cursors that jobs have of their own, as long as a checkpoint may need them.

Whether a job has one is kept as a fact, never guessed from its value: ids may happen to be offset + 1.
A checkpoint may name a cursor only if no later job has the same one, for a resume begins strictly after it: of a page
whose jobs share one cursor, either all are behind it or none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from taskmaster.core.runs import Runs
from taskmaster.job import NO_CURSOR


class Cursors:
    """Slices of cursors by the offset of their first job; a job of no slice has no cursor of its own."""

    TRIM = 1000  # slices, and
    TRIM_BYTES = 1 << 20  # bytes, that may lie behind before they are dropped together

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._slices: list[Sequence[Any]] = []
        self._sizes: list[int] = []
        self._passed = 0  # slices that are behind,
        self._passed_bytes = 0  # and their bytes
        self._joined = Runs()  # offsets of jobs that have the cursor of the job before
        self._newest: tuple[int, Any] = (-1, NO_CURSOR)
        self.bytes = 0  # of all that are kept

    def add(self, first: int, cursors: Sequence[Any], size: int) -> None:
        """The jobs from `first` on have these, NO_CURSOR where one has none; `size` is what they take, in bytes."""
        self._firsts.append(first)
        self._slices.append(cursors)
        self._sizes.append(size)
        self.bytes += size
        before = self._newest[1] if self._newest[0] == first - 1 else NO_CURSOR
        for at, cursor in enumerate(cursors):
            if cursor == before and cursor is not NO_CURSOR:
                self._joined.add(first + at, 1)
            before = cursor
        self._newest = (first + len(cursors) - 1, before)

    def own(self, offset: int) -> Any:
        """The cursor of this job, NO_CURSOR where it has none of its own; not for jobs that were trimmed."""
        at = bisect_right(self._firsts, offset, self._passed) - 1
        if at < self._passed or offset - self._firsts[at] >= len(self._slices[at]):
            return NO_CURSOR
        return self._slices[at][offset - self._firsts[at]]

    def of(self, first: int, count: int) -> list[Any] | None:
        """The cursors of these jobs; None where none of them has its own."""
        if not self._firsts or first > self._newest[0]:
            return None
        at = bisect_right(self._firsts, first) - 1
        if at >= 0 and first + count <= self._end_of(at):  # nearly always: within one slice
            return list(self._slices[at][first - self._firsts[at]:first + count - self._firsts[at]])
        found = [self.own(offset) for offset in range(first, first + count)]
        return found if any(cursor is not NO_CURSOR for cursor in found) else None

    def size_of(self, first: int, count: int) -> int:
        """What the cursors of these jobs take, in bytes, about."""
        at = bisect_right(self._firsts, first) - 1
        return 0 if at < 0 else self._sizes[at] * count // len(self._slices[at])

    def boundary(self, offset: int, head: int, exhausted: bool) -> int:
        """The highest offset, at or below this one, that a resume may begin at.

        Below `head`, or when the source is `exhausted`, it is known whether the next job has the same cursor; else
        one has to assume so.
        """
        if offset == head and not exhausted and self._newest[0] == offset - 1 and self._newest[1] is not NO_CURSOR:
            offset -= 1
        joined = self._joined.run_at(offset)
        return joined[0] - 1 if joined is not None else offset

    def trim(self, offset: int) -> None:
        """No job below `offset` - 1 will be asked for any more."""
        while self._passed < len(self._firsts) and self._end_of(self._passed) < offset:
            self._passed_bytes += self._sizes[self._passed]
            self._passed += 1
        if self._passed > self.TRIM or self._passed_bytes > self.TRIM_BYTES:
            del self._firsts[:self._passed], self._slices[:self._passed], self._sizes[:self._passed]
            self.bytes -= self._passed_bytes
            self._passed, self._passed_bytes = 0, 0
            if self._joined and self._joined.first < offset:
                self._joined.remove(self._joined.first, offset - self._joined.first)

    def _end_of(self, at: int) -> int:
        return self._firsts[at] + len(self._slices[at])
