"""Sets of offsets, stored as runs: a million consecutive offsets cost as much as one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from math import ceil

Run = tuple[int, int]
"""`(first, count)`: the offsets from first to first + count - 1."""


class Runs:
    """A set of integers as sorted runs that never touch; an operation takes time for each run that it crosses."""

    __slots__ = ("_ends", "_firsts", "_size")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []
        self._size = 0
        for first, count in runs:
            self.add(first, count)

    def __iter__(self) -> Iterator[Run]:
        return iter([(first, end - first) for first, end in zip(self._firsts, self._ends)])

    def __len__(self) -> int:
        return self._size

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self._firsts, offset) - 1
        return at >= 0 and offset < self._ends[at]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Runs):
            return NotImplemented
        return self._firsts == other._firsts and self._ends == other._ends

    def __repr__(self) -> str:
        return f"Runs({list(self)})"

    @property
    def count_of_runs(self) -> int:
        return len(self._firsts)

    @property
    def first(self) -> int:
        """The lowest offset; IndexError when empty."""
        return self._firsts[0]

    def add(self, first: int, count: int) -> int:
        """Add a run; returns how many of its offsets are new."""
        end = first + count
        if not self._ends or first > self._ends[-1]:  # the usual case: it crosses and touches nothing
            self._firsts.append(first)
            self._ends.append(end)
            self._size += count
            return count
        low = bisect_left(self._ends, first)
        high = bisect_right(self._firsts, end)
        known = 0
        if low < high:
            known = self._covered(low, high, first, end)
            first = min(first, self._firsts[low])
            end = max(end, self._ends[high - 1])
        self._firsts[low:high] = [first]
        self._ends[low:high] = [end]
        self._size += count - known
        return count - known

    def remove(self, first: int, count: int) -> int:
        """Remove a run; returns how many of its offsets were in the set."""
        end = first + count
        low = bisect_right(self._ends, first)
        high = bisect_left(self._firsts, end)
        if low >= high:
            return 0
        if high - low == 1 and first <= self._firsts[low] and self._ends[low] <= end:  # the usual case: a whole run
            known = self._ends.pop(low) - self._firsts.pop(low)
            self._size -= known
            return known
        known = self._covered(low, high, first, end)
        rests = [(self._firsts[low], first), (end, self._ends[high - 1])]
        kept = [(start, stop) for start, stop in rests if start < stop]
        self._firsts[low:high] = [start for start, _ in kept]
        self._ends[low:high] = [stop for _, stop in kept]
        self._size -= known
        return known

    def pop_first(self) -> Run:
        """Remove the lowest run and return it; IndexError when empty."""
        first, end = self._firsts.pop(0), self._ends.pop(0)
        self._size -= end - first
        return first, end - first

    def pop_some(self, most: int) -> tuple[Run, ...]:
        """Remove the lowest runs, at most `most`, and return them."""
        some = tuple([(first, end - first) for first, end in zip(self._firsts[:most], self._ends[:most])])
        del self._firsts[:most], self._ends[:most]
        self._size -= sum([count for _, count in some])
        return some

    def run_at(self, offset: int) -> Run | None:
        """The run that an offset is in."""
        at = bisect_right(self._firsts, offset) - 1
        inside = at >= 0 and offset < self._ends[at]
        return (self._firsts[at], self._ends[at] - self._firsts[at]) if inside else None

    def inside(self, first: int, count: int) -> list[Run]:
        """The parts of a run that are in the set."""
        end = first + count
        low = bisect_right(self._ends, first)
        high = bisect_left(self._firsts, end)
        if high - low == 1:
            start, stop = max(self._firsts[low], first), min(self._ends[low], end)
            return [(start, stop - start)]
        crossed = zip(self._firsts[low:high], self._ends[low:high])
        cut = [(max(start, first), min(stop, end)) for start, stop in crossed]
        return [(start, stop - start) for start, stop in cut]

    def outside(self, first: int, count: int) -> list[Run]:
        """The parts of a run that are not in the set."""
        gaps, at, end = [], first, first + count
        for start, length in self.inside(first, count):
            if at < start:
                gaps.append((at, start - at))
            at = start + length
        if at < end:
            gaps.append((at, end - at))
        return gaps

    def _covered(self, low: int, high: int, first: int, end: int) -> int:
        return sum(
            max(0, min(self._ends[at], end) - max(self._firsts[at], first))
            for at in range(low, high)
        )


def pieces(run: Run, parts: int) -> list[Run]:
    """A run cut into at most `parts` pieces, all of the same length except perhaps the last."""
    first, count = run
    step = ceil(count / parts)
    return [(at, min(step, first + count - at)) for at in range(first, first + count, step)]
