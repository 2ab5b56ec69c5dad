"""What is settled above the watermark, with what identifies each job in another run.

A resume begins at the watermark and passes over a job only where offset and identity are those of a settled one. Where
the source has changed the job runs: at worst it is repeated, never lost.

    settled above -> SettledAbove (in the window) -> Snapshot (for the state writer's thread) -> Above (in a checkpoint)
    Above -> SettledBefore (beside the source of the next run) -> passed over, and again SettledAbove
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from taskmaster.core.by_offset import ByOffset
from taskmaster.core.codec import BadJob, Batch
from taskmaster.core.identity import IDENTITY_BYTES, identities, of_bad
from taskmaster.core.runs import Run, Runs


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

    @property
    def end(self) -> int | None:
        """The offset after the last of them; None where there are none."""
        return sum(self.runs[-1]) if self.runs else None

    def entries_from(self, offset: int) -> tuple[Entry, ...]:
        """Those at or above `offset`, as entries."""
        found, at = [], 0
        for first, count in self.runs:
            known = self.identities[at * IDENTITY_BYTES:(at + count) * IDENTITY_BYTES]
            at += count
            entry = Entry(first, count, None, known=known)
            if first + count > offset:
                found.append(entry if first >= offset else entry.above(offset))
        return tuple(found)

    def below(self, offset: int) -> Above:
        """Those below an offset."""
        end = self.end
        return self if end is None or end <= offset else self.without([(offset, end - offset)])

    def from_on(self, offset: int) -> Above:
        """Those at or above an offset."""
        first = self.runs[0][0] if self.runs else offset
        return self if first >= offset else self.without([(first, offset - first)])

    def without(self, runs: Iterable[Run]) -> Above:
        """The same, except for these."""
        kept = Runs(self.runs)
        for run in runs:
            kept.remove(*run)
        at = accumulate([count for _, count in self.runs], initial=0)
        places = [(start + first - whole, count) for (whole, length), start in zip(self.runs, at)
                  for first, count in kept.inside(whole, length)]
        known = [self.identities[place * IDENTITY_BYTES:(place + count) * IDENTITY_BYTES] for place, count in places]
        return Above(tuple(kept), b"".join(known))

    def __contains__(self, offset: object) -> bool:
        if not isinstance(offset, int):
            return False
        at = bisect_right(self.runs, (offset, 1 << 62)) - 1
        return at >= 0 and offset < self.runs[at][0] + self.runs[at][1]


class Entry:
    """A settled run: the batch that its jobs are in, until their identities have been made of it.

    `identify` may be called in another thread while this one reads: it sets the identities before it lets go of the
    batch. `size` is of what it keeps alive until then, in bytes, about.
    """

    __slots__ = ("_batch", "_cursor_bytes", "_cursors", "_identities", "_index", "count", "first", "size")

    def __init__(self, first: int, count: int, batch: Batch | None, index: int = 0,
                 cursors: Sequence[Any] | None = None, known: bytes | None = None, cursor_bytes: int = 0) -> None:
        """`cursor_bytes` is what the cursors take."""
        self.first = first
        self.count = count
        payload_bytes = 0 if batch is None else max(1, batch.size * count // batch.count)
        self.size = payload_bytes + cursor_bytes
        self._batch = batch
        self._index = index
        self._cursors = cursors
        self._cursor_bytes = cursor_bytes
        self._identities = known

    def identify(self) -> bytes:
        """The identities of its jobs, joined."""
        batch, cursors, known = self._batch, self._cursors, self._identities
        if known is None:
            assert batch is not None
            known = self._identities = identities(batch, self._index, self.count, cursors)
            self._batch = self._cursors = None
        return known

    @property
    def is_identified(self) -> bool:
        return self._batch is None

    def follows(self, other: Entry) -> bool:
        return self.first == other.first + other.count

    def above(self, offset: int) -> Entry:
        """The part of it from `offset` on, which is inside it."""
        cut = offset - self.first
        batch, cursors, known = self._batch, self._cursors, self._identities
        return Entry(offset, self.count - cut, None if known is not None else batch, self._index + cut,
                     None if cursors is None else cursors[cut:],
                     None if known is None else known[cut * IDENTITY_BYTES:],
                     0 if cursors is None else self._cursor_bytes * (self.count - cut) // self.count)


def entry_of_bad(offset: int, bad: BadJob, cursor: Any) -> Entry:
    """A job that cannot be encoded, and so has failed. `cursor` is its own, NO_CURSOR where it has none."""
    return Entry(offset, 1, None, known=of_bad(bad, cursor))


def joined(entries: Sequence[Entry]) -> Entry:
    """One of several that follow each other and are identified."""
    if len(entries) == 1:
        return entries[0]
    known = b"".join([one.identify() for one in entries])
    return Entry(entries[0].first, sum([one.count for one in entries]), None, known=known)


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

    To keep one costs by the run and not by the job. Its batch stays in memory until the run is identified, or passed.
    """

    def __init__(self) -> None:
        self.bytes = 0  # of what is kept alive here and not identified yet, about
        self._entries: ByOffset[Entry] = ByOffset()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """A run has been settled."""
        self._entries.add(entry)
        self.bytes += entry.size

    def passed(self, offset: int) -> None:
        """No resume begins below `offset` any more. At once: payloads kept for longer would be cold when freed."""
        while (entry := self._entries.lowest()) is not None and entry.first + entry.count <= offset:
            self.bytes -= entry.size
            self._entries.pop_lowest()

    def snapshot(self, offset: int, until: int | None = None) -> Snapshot:
        """All of it from `offset` on, in order, or what of that begins below `until`."""
        self.passed(offset)
        self._forget_identified()
        self._join_identified()
        kept = [one if one.first >= offset else one.above(offset) for one in self._entries.ascending()]
        return Snapshot(tuple(kept if until is None else [one for one in kept if one.first < until]))

    def _forget_identified(self) -> None:
        for one in self._entries:
            if one.is_identified and one.size:
                self.bytes -= one.size
                one.size = 0

    def _join_identified(self) -> None:
        """Neighbours become one: 100,000 jobs, settled one by one above a slow one, took 38 MiB."""
        groups: list[list[Entry]] = []
        for one in self._entries.ascending():
            last = groups[-1][-1] if groups else None
            # Not by `is_identified`, which the writer's thread may set at any moment: their bytes were still counted.
            if last is not None and one.follows(last) and not one.size and not last.size:
                groups[-1].append(one)
            else:
                groups.append([one])
        if len(groups) < len(self._entries):
            self._entries.replace(map(joined, groups))


class SettledBefore:
    """What an earlier run settled above its watermark: asked for each stretch of jobs that the source gives now."""

    def __init__(self, above: Above) -> None:
        self._runs = above.runs
        self._firsts = [first for first, _ in above.runs]
        self._identities = memoryview(above.identities)
        self._at = list(accumulate([count for _, count in above.runs], initial=0))
        self._end = above.end

    def __len__(self) -> int:
        return self._at[-1]

    def over(self, offset: int) -> bool:
        """Whether nothing at or above `offset` was settled."""
        return self._end is None or offset >= self._end

    def matches(self, first: int, batch: Batch, cursors: Sequence[Any] | None) -> list[Entry]:
        """The runs of this batch, whose first job has offset `first`, that were settled; identified already."""
        if self.over(first):
            return []
        return [entry for run in self._inside(first, batch.count)
                for entry in self._compare(first, run, batch, cursors)]

    def matches_bad(self, offset: int, bad: BadJob, cursor: Any) -> Entry | None:
        """The job at this offset, which cannot be encoded, if its failure is recorded."""
        entry = entry_of_bad(offset, bad, cursor)
        known = [self._identities[at:at + IDENTITY_BYTES] for _, _, at in self._inside(offset, 1)]
        return entry if entry.identify() in known else None

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
