"""The watermark, below which every job is settled, and the cursor that belongs to it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from taskmaster.core.runs import Runs
from taskmaster.job import NO_CURSOR


class Watermark:
    """Moves up as settled runs close the gap above it; keeps the source's cursors for as long as they may be needed."""

    TRIM = 1000  # slices of cursors below the watermark that are kept before all of them are discarded at once

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.cursor: Any = NO_CURSOR  # where to resume: after the job just below; NO_CURSOR until one is settled here
        self._above = Runs()  # settled, but not contiguous with the watermark
        self._firsts: list[int] = []  # the offset of the first cursor of each slice
        self._cursors: list[Sequence[Any]] = []  # the slices
        self._passed = 0  # slices entirely below the watermark

    @property
    def settled_above(self) -> int:
        """How many jobs are settled above the watermark."""
        return len(self._above)

    def trace(self, first: int, cursors: Sequence[Any]) -> None:
        """The jobs from `first` on have these cursors; NO_CURSOR stands for a job without one of its own."""
        self._firsts.append(first)
        self._cursors.append(cursors)

    def settle(self, first: int, count: int) -> None:
        """These jobs are settled, and were not before."""
        if first != self.offset:
            self._above.add(first, count)
            return
        self.offset += count
        if self._above and self._above.first == self.offset:
            self.offset += self._above.pop_first()[1]
        self.cursor = self.cursor_of(self.offset - 1)
        self._trim()

    def cursor_of(self, offset: int) -> Any:
        """Where to resume after this job, which may be no lower than the one just below the watermark."""
        cursor = self.own_cursor(offset)
        return offset + 1 if cursor is NO_CURSOR else cursor

    def own_cursor(self, offset: int) -> Any:
        """The same, but NO_CURSOR if the source gave this job no cursor of its own."""
        at = bisect_right(self._firsts, offset, self._passed) - 1
        if at < self._passed or offset - self._firsts[at] >= len(self._cursors[at]):
            return NO_CURSOR
        return self._cursors[at][offset - self._firsts[at]]

    def _trim(self) -> None:
        while self._passed < len(self._firsts) and self._end_of(self._passed) <= self.offset:
            self._passed += 1
        if self._passed > self.TRIM:
            del self._firsts[:self._passed], self._cursors[:self._passed]
            self._passed = 0

    def _end_of(self, at: int) -> int:
        return self._firsts[at] + len(self._cursors[at])
