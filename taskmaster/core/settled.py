"""What is settled above the watermark, with what identifies each job in another run.

A resume begins at the watermark and passes over a job only where offset and identity are those of a settled one. Where
the source has changed the job runs: at worst it is repeated, never lost.

    settled above -> SettledAbove (in the window) -> Snapshot (for the state writer's thread) -> Above (in a checkpoint)
    Above -> SettledBefore (beside the source of the next run) -> passed over, and again SettledAbove
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from taskmaster.core.codec import Batch
from taskmaster.core.identity import IDENTITY_BYTES, identities
from taskmaster.core.runs import Run


@dataclass(frozen=True)
class Above:
    """Settled jobs above a watermark: their runs, ascending and disjoint, and all their identities, joined."""

    runs: tuple[Run, ...] = ()
    identities: bytes = b""

    def __post_init__(self) -> None:
        ends = [first + count for first, count in self.runs]
        if any(count <= 0 for _, count in self.runs) or any(a > b[0] for a, b in zip(ends, self.runs[1:])):
            raise ValueError("runs that are empty, or not in order")
        if len(self.identities) != len(self) * IDENTITY_BYTES:
            raise ValueError(f"{len(self):,} jobs and {len(self.identities):,} bytes of identities")

    def __len__(self) -> int:
        return sum(count for _, count in self.runs)

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self.runs, (offset, 1 << 62)) - 1
        return at >= 0 and offset < self.runs[at][0] + self.runs[at][1]


class Entry:
    """A settled run: the batch that its jobs are in, until their identities have been made of it.

    `identify` may be called in another thread while this one reads: it sets the identities before it lets go of the
    batch.
    """

    __slots__ = ("_batch", "_cursors", "_identities", "_index", "count", "first", "size")

    def __init__(self, first: int, count: int, batch: Batch | None, index: int = 0,
                 cursors: Sequence[Any] | None = None, known: bytes | None = None) -> None:
        self.first = first
        self.count = count
        self.size = 0 if batch is None else max(1, batch.size * count // batch.count)  # bytes it keeps alive, about
        self._batch = batch
        self._index = index
        self._cursors = cursors
        self._identities = known

    def identify(self) -> bytes:
        """The identities of its jobs, joined."""
        batch, cursors, known = self._batch, self._cursors, self._identities
        if known is None:
            assert batch is not None
            known = self._identities = identities(batch, self._index, self.count, cursors)
            self._batch = self._cursors = None
            self.size = 0
        return known

    def above(self, offset: int) -> Entry:
        """The part of it from `offset` on, which is inside it."""
        cut = offset - self.first
        batch, cursors, known = self._batch, self._cursors, self._identities
        return Entry(offset, self.count - cut, None if known is not None else batch, self._index + cut,
                     None if cursors is None else cursors[cut:],
                     None if known is None else known[cut * IDENTITY_BYTES:])


@dataclass(frozen=True)
class Snapshot:
    """What was settled above the watermark at one moment, to be identified where that delays nobody."""

    entries: tuple[Entry, ...] = ()

    def above(self) -> Above:
        """For the checkpoint. Makes the identities that are not made yet: about 1 us each for a small job."""
        runs: list[Run] = []
        for one in self.entries:
            if runs and sum(runs[-1]) == one.first:
                runs[-1] = (runs[-1][0], runs[-1][1] + one.count)
            else:
                runs.append((one.first, one.count))
        return Above(tuple(runs), b"".join([one.identify() for one in self.entries]))


class SettledAbove:
    """The settled runs above the watermark of a window.

    To keep one costs by the run and not by the job. Its batch stays in memory until the run is identified or the
    watermark has passed it.
    """

    TIDY = 256  # entries, and
    TIDY_BYTES = 8 << 20  # bytes of payloads, that may be added before those below the watermark are dropped

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._added = 0  # entries since they were tidied up,
        self._added_bytes = 0  # and their bytes
        self._left = 0  # entries that were left then
        self._bytes = 0  # and bytes not identified yet

    @property
    def bytes(self) -> int:
        """Bytes of payloads that are kept alive here and not identified yet, about."""
        return self._bytes + self._added_bytes

    def add(self, entry: Entry, watermark: int) -> None:
        """A run above the watermark has been settled."""
        self._entries[entry.first] = entry
        self._added += 1
        self._added_bytes += entry.size
        if self._added > self.TIDY + self._left or self._added_bytes > self.TIDY_BYTES + self._bytes:
            self._tidy(watermark)

    def snapshot(self, watermark: int) -> Snapshot:
        """All of it, in order."""
        self._tidy(watermark)
        return Snapshot(tuple(self._entries[first] for first in sorted(self._entries)))

    def _tidy(self, watermark: int) -> None:
        kept = [one if one.first >= watermark else one.above(watermark)
                for one in self._entries.values() if one.first + one.count > watermark]
        self._entries = {one.first: one for one in kept}
        self._left, self._added, self._added_bytes = len(kept), 0, 0
        self._bytes = sum(one.size for one in kept)


class SettledBefore:
    """What an earlier run settled above its watermark: asked for each stretch of jobs that the source gives now."""

    def __init__(self, above: Above) -> None:
        self._runs = above.runs
        self._firsts = [first for first, _ in above.runs]
        self._identities = memoryview(above.identities)
        self._at = list(accumulate([count for _, count in above.runs], initial=0))
        self._end = sum(above.runs[-1]) if above.runs else None

    def over(self, offset: int) -> bool:
        """Whether nothing at or above `offset` was settled."""
        return self._end is None or offset >= self._end

    def matches(self, first: int, batch: Batch, cursors: Sequence[Any] | None) -> list[Entry]:
        """The runs of this batch, whose first job has offset `first`, that were settled; identified already."""
        if self.over(first):
            return []
        return [entry for run in self._inside(first, batch.count)
                for entry in self._compare(first, run, batch, cursors)]

    def _inside(self, first: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Offset and count of what of a run is here, and where its identities begin."""
        at = max(0, bisect_right(self._firsts, first) - 1)
        while at < len(self._runs) and self._firsts[at] < first + count:
            begin, end = max(first, self._firsts[at]), min(first + count, sum(self._runs[at]))
            if begin < end:
                yield begin, end - begin, (self._at[at] + begin - self._firsts[at]) * IDENTITY_BYTES
            at += 1

    def _compare(self, first: int, run: tuple[int, int, int], batch: Batch,
                 cursors: Sequence[Any] | None) -> list[Entry]:
        offset, count, at = run
        index = offset - first
        own = None if cursors is None else cursors[index:index + count]
        now = identities(batch, index, count, own)
        then = bytes(self._identities[at:at + count * IDENTITY_BYTES])
        if now == then:
            return [Entry(offset, count, None, known=now)]
        same = [step for step in range(0, len(now), IDENTITY_BYTES)
                if now[step:step + IDENTITY_BYTES] == then[step:step + IDENTITY_BYTES]]
        return [Entry(offset + step // IDENTITY_BYTES, 1, None, known=now[step:step + IDENTITY_BYTES]) for step in same]
