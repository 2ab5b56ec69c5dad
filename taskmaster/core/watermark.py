"""The watermark, below which every job is settled, and the cursor that belongs to it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from taskmaster.core.runs import Runs
from taskmaster.job import NO_CURSOR


class Watermark:
    """Moves up as settled runs close the gap above it; keeps the source's cursors as long as they may be asked for."""

    TRIM = 1000  # slices of cursors that may lie behind before they are dropped together

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.cursor: Any = NO_CURSOR  # where to go on after the job just below; NO_CURSOR before any was settled here
        self._above = Runs()
        self._firsts: list[int] = []
        self._cursors: list[Sequence[Any]] = []
        self._passed = 0  # slices of cursors wholly below

    @property
    def settled_above(self) -> int:
        return len(self._above)

    def trace(self, first: int, cursors: Sequence[Any]) -> None:
        """The jobs from `first` on have cursors of their own."""
        self._firsts.append(first)
        self._cursors.append(cursors)

    def settle(self, first: int, count: int) -> None:
        """These jobs are settled; they must not have been before."""
        if first != self.offset:
            self._above.add(first, count)
            return
        self.offset += count
        if self._above and self._above.first == self.offset:
            self.offset += self._above.pop_first()[1]
        self.cursor = self.cursor_of(self.offset - 1)
        self._trim()

    def cursor_of(self, offset: int) -> Any:
        """Where to go on after this job, which is not further below than the watermark's own."""
        at = bisect_right(self._firsts, offset, self._passed) - 1
        if at < self._passed or offset - self._firsts[at] >= len(self._cursors[at]):
            return offset + 1
        cursor = self._cursors[at][offset - self._firsts[at]]
        return offset + 1 if cursor is NO_CURSOR else cursor

    def _trim(self) -> None:
        while self._passed < len(self._firsts) and self._end_of(self._passed) <= self.offset:
            self._passed += 1
        if self._passed > self.TRIM:
            del self._firsts[:self._passed], self._cursors[:self._passed]
            self._passed = 0

    def _end_of(self, at: int) -> int:
        return self._firsts[at] + len(self._cursors[at])
