"""The chunks of a window, found by offset, by holder, and by who is next.

A chunk is a run of neighbouring jobs with one batch and one history, so that what is kept costs by the lease and not
by the job. This file knows where chunks are, not what may become of them: that is the window's.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush
from itertools import count as counter

from taskmaster.core.codec import Batch
from taskmaster.core.runs import Run, Runs


class State(Enum):
    """Where a chunk is on its way."""

    READY = "ready"
    LEASED = "leased"
    DELAYED = "delayed"


@dataclass(eq=False)
class Chunk:
    """Neighbouring jobs with one history; `left` are those of them that are not settled."""

    first: int
    batch: Batch
    attempt: int = 1
    suspect_deaths: int = 0  # slaves that died holding it
    isolated_deaths: int = 0  # slaves that died running nothing else
    isolated: bool = False  # a suspect: leased to a slave that holds nothing else
    state: State = State.READY
    holder: str = ""
    granted_by_seq: int = 0  # the number of the request it was leased in answer to, 0 if it never was
    since: float = 0.0  # when it was leased
    due: float = 0.0
    left: Runs = field(default_factory=Runs)

    def __post_init__(self) -> None:
        self.left.add(self.first, self.batch.count)

    @property
    def count(self) -> int:
        return self.batch.count

    @property
    def end(self) -> int:
        return self.first + self.batch.count

    def slice(self, run: Run, state: State) -> Chunk:
        """A chunk of some of this one's jobs, with its history."""
        first, count = run
        holder = self.holder if state is State.LEASED else ""
        return Chunk(first, self.batch.slice(first - self.first, count), self.attempt, self.suspect_deaths,
                     self.isolated_deaths, self.isolated, state, holder, self.granted_by_seq, self.since, self.due)


class Chunks:
    """Chunks that partition the unsettled jobs of a window."""

    def __init__(self) -> None:
        self.bytes = 0  # of all their payloads, encoded
        self.ready = 0  # jobs that may be leased, suspects not counted
        self.ready_bytes = 0  # of their payloads
        self._firsts: list[int] = []
        self._chunks: dict[int, Chunk] = {}
        self._leases: dict[str, dict[int, Chunk]] = {}
        self._ready: list[tuple[int, int, Chunk]] = []
        self._suspects: list[tuple[int, int, Chunk]] = []
        self._delayed: list[tuple[float, int, Chunk]] = []
        self._order = counter()

    def insert(self, chunk: Chunk) -> None:
        insort(self._firsts, chunk.first)
        self._chunks[chunk.first] = chunk
        self.bytes += chunk.batch.size
        if chunk.state is State.READY:
            self._queue(chunk)
        elif chunk.state is State.DELAYED:
            heappush(self._delayed, (chunk.due, next(self._order), chunk))
        else:
            self._leases.setdefault(chunk.holder, {})[chunk.first] = chunk

    def remove(self, chunk: Chunk) -> None:
        del self._firsts[bisect_right(self._firsts, chunk.first) - 1]
        del self._chunks[chunk.first]
        self.bytes -= chunk.batch.size
        if chunk.state is State.LEASED:
            self._unlease(chunk)
        elif chunk.state is State.READY and not chunk.isolated:
            self._count_ready(chunk, -1)

    def replace(self, chunk: Chunk, runs: Iterable[Run]) -> None:
        """Put chunks of these runs of it in its place, each where and as it was."""
        self.remove(chunk)
        for run in runs:
            self.insert(chunk.slice(run, chunk.state))

    def cut(self, chunk: Chunk, count: int) -> None:
        """Leave a ready chunk its first `count` jobs; the others become one behind it."""
        rest = chunk.slice((chunk.first + count, chunk.count - count), State.READY)
        self.bytes -= chunk.batch.size
        self._count_ready(chunk, -1)
        chunk.batch = chunk.batch.slice(0, count)
        chunk.left = Runs(((chunk.first, count),))
        self.bytes += chunk.batch.size
        self._count_ready(chunk, 1)
        self.insert(rest)

    def lowest(self) -> Chunk | None:
        return self._chunks[self._firsts[0]] if self._firsts else None

    def at(self, offset: int) -> Chunk | None:
        """The chunk that `offset` is in."""
        index = bisect_right(self._firsts, offset) - 1
        chunk = self._chunks[self._firsts[index]] if index >= 0 else None
        return chunk if chunk is not None and offset < chunk.end else None

    def crossing(self, first: int, count: int) -> list[Chunk]:
        """The chunks that have some of a run."""
        whole = self._chunks.get(first)
        if whole is not None and first + count <= whole.end:
            return [whole]
        low = max(0, bisect_right(self._firsts, first) - 1)
        high = bisect_right(self._firsts, first + count - 1)
        chunks = [self._chunks[start] for start in self._firsts[low:high]]
        return chunks[1:] if chunks and chunks[0].end <= first else chunks

    def held_by(self, holder: str) -> list[Chunk]:
        return list(self._leases.get(holder, {}).values())

    def next_ready(self) -> Chunk | None:
        return self._first_of(self._ready)

    def next_suspect(self) -> Chunk | None:
        return self._first_of(self._suspects)

    def grant(self, chunk: Chunk, holder: str, granted_by_seq: int, now: float) -> Chunk:
        """A ready chunk becomes a leased one."""
        if not chunk.isolated:
            self._count_ready(chunk, -1)
        chunk.state, chunk.holder, chunk.granted_by_seq, chunk.since = State.LEASED, holder, granted_by_seq, now
        self._leases.setdefault(holder, {})[chunk.first] = chunk
        return chunk

    def next_due(self) -> float | None:
        return self._delayed[0][0] if self._delayed else None

    def wake(self, now: float) -> bool:
        """Put retries that are due among the ready; returns whether there were any."""
        woken = False
        while self._delayed and self._delayed[0][0] <= now:
            chunk = heappop(self._delayed)[2]
            if self._alive(chunk) and chunk.state is State.DELAYED:
                chunk.state = State.READY
                self._queue(chunk)
                woken = True
        return woken

    def _queue(self, chunk: Chunk) -> None:
        heappush(self._suspects if chunk.isolated else self._ready, (chunk.first, next(self._order), chunk))
        if not chunk.isolated:
            self._count_ready(chunk, 1)

    def _count_ready(self, chunk: Chunk, sign: int) -> None:
        self.ready += sign * chunk.count
        self.ready_bytes += sign * chunk.batch.size

    def _unlease(self, chunk: Chunk) -> None:
        leases = self._leases[chunk.holder]
        del leases[chunk.first]
        if not leases:
            del self._leases[chunk.holder]

    def _first_of(self, heap: list[tuple[int, int, Chunk]]) -> Chunk | None:
        while heap:
            chunk = heap[0][2]
            if self._alive(chunk) and chunk.state is State.READY:
                return chunk
            heappop(heap)  # replaced, settled or leased since it was queued
        return None

    def _alive(self, chunk: Chunk) -> bool:
        return self._chunks.get(chunk.first) is chunk
