"""The chunks of a window, found by offset, by holder and by state.

A chunk is a run of consecutive jobs with one batch and one history, so that memory and time grow with the number of
leases, not of jobs. This file knows where each chunk is; what may happen to it is up to the window.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush
from itertools import count as counter

from taskmaster.core.blame import UNSUSPECTED, Suspicion
from taskmaster.core.codec import Batch
from taskmaster.core.runs import Run, Runs


class State(Enum):
    """What a chunk is waiting for."""

    READY = "ready"  # a slave that asks
    LEASED = "leased"  # the slave that holds it
    DELAYED = "delayed"  # the time of its next attempt


@dataclass(eq=False)
class Chunk:
    """Consecutive jobs with one history; `left` are those that are not settled yet."""

    first: int
    batch: Batch
    attempt: int = 1  # the number of the current attempt, or of the next one if it is not leased
    suspicion: Suspicion = UNSUSPECTED
    state: State = State.READY
    holder: str = ""  # the id of the slave that has it on lease
    granted_by_seq: int = 0  # the number of the request that was answered with its lease; 0: never leased
    since: float = 0.0  # when it was leased
    out_since: float | None = None  # when it was leased for the first time
    due: float = 0.0  # when a delayed one becomes ready
    backed_up: bool = False  # another slave has been given it as well since it was leased
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
        """A chunk of some of this one's jobs, with the same history."""
        first, count = run
        holder = self.holder if state is State.LEASED else ""
        return Chunk(first, self.batch.slice(first - self.first, count), self.attempt, self.suspicion, state, holder,
                     self.granted_by_seq, self.since, self.out_since, self.due, self.backed_up)


class Chunks:
    """Disjoint chunks that together cover the unsettled jobs of a window.

    The heaps may hold chunks that have since been replaced, settled or leased; they are skipped when they come up.
    """

    def __init__(self) -> None:
        self.bytes = 0  # of all encoded payloads
        self.ready = 0  # jobs that are ready, without the suspects
        self.ready_bytes = 0  # of their encoded payloads
        self._firsts: list[int] = []  # in order
        self._chunks: dict[int, Chunk] = {}  # by first offset
        self._leases: dict[str, dict[int, Chunk]] = {}  # by holder, then by first offset
        self._ready: list[tuple[int, int, Chunk]] = []  # a heap, lowest offset first
        self._suspects: list[tuple[int, int, Chunk]] = []  # the same, of isolated chunks
        self._delayed: list[tuple[float, int, Chunk]] = []  # a heap, next due first
        self._order = counter()  # breaks ties, so that chunks are never compared

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
        elif chunk.state is State.READY and not chunk.suspicion.isolated:
            self._count_ready(chunk, -1)

    def replace(self, chunk: Chunk, runs: Iterable[Run]) -> None:
        """Replace a chunk with chunks of these of its runs, in the same state."""
        self.remove(chunk)
        for run in runs:
            self.insert(chunk.slice(run, chunk.state))

    def split_off(self, chunk: Chunk, runs: Iterable[Run]) -> list[Chunk]:
        """Take these runs out of a chunk and return them as ready chunks, not inserted yet; the rest stays as it is."""
        parts = [chunk.slice(run, State.READY) for run in runs]
        for part in parts:
            chunk.left.remove(part.first, part.count)
        self.replace(chunk, list(chunk.left))
        return parts

    def cut(self, chunk: Chunk, count: int) -> None:
        """Shorten a ready chunk to its first `count` jobs; the others become a chunk of their own."""
        rest = chunk.slice((chunk.first + count, chunk.count - count), State.READY)
        self.bytes -= chunk.batch.size
        self._count_ready(chunk, -1)
        chunk.batch = chunk.batch.slice(0, count)
        chunk.left = Runs(((chunk.first, count),))
        self.bytes += chunk.batch.size
        self._count_ready(chunk, 1)
        self.insert(rest)

    def single_out(self, chunk: Chunk) -> Chunk:
        """Make the first unsettled job of a leased chunk one of its own, and return that."""
        first = chunk.left.first
        rest = Runs(chunk.left)
        rest.remove(first, 1)
        self.replace(chunk, [(first, 1), *rest])
        return self._chunks[first]

    def hand_over(self, chunk: Chunk, holder: str, granted_by_seq: int, since: float) -> None:
        """A leased chunk is another slave's from now on, which has had it since then."""
        self.remove(chunk)
        chunk.holder, chunk.granted_by_seq, chunk.since = holder, granted_by_seq, since
        self.insert(chunk)

    def lowest(self) -> Chunk | None:
        return self._chunks[self._firsts[0]] if self._firsts else None

    def at(self, offset: int) -> Chunk | None:
        """The chunk that contains `offset`; None if there is none."""
        index = bisect_right(self._firsts, offset) - 1
        chunk = self._chunks[self._firsts[index]] if index >= 0 else None
        return chunk if chunk is not None and offset < chunk.end else None

    def crossing(self, first: int, count: int) -> list[Chunk]:
        """The chunks that overlap a run, in order."""
        whole = self._chunks.get(first)
        if whole is not None and first + count <= whole.end:
            return [whole]
        low = max(0, bisect_right(self._firsts, first) - 1)
        high = bisect_right(self._firsts, first + count - 1)
        chunks = [self._chunks[start] for start in self._firsts[low:high]]
        return chunks[1:] if chunks and chunks[0].end <= first else chunks

    def held_by(self, holder: str) -> list[Chunk]:
        return list(self._leases.get(holder, {}).values())

    def leases(self) -> Iterator[Chunk]:
        return (chunk for leases in self._leases.values() for chunk in leases.values())

    def is_leased(self, chunk: Chunk) -> bool:
        """Whether this chunk is still here, and on lease."""
        return chunk.state is State.LEASED and self._is_current(chunk)

    def next_ready(self) -> Chunk | None:
        """The lowest chunk that may be leased to any slave."""
        return self._first_of(self._ready)

    def next_suspect(self) -> Chunk | None:
        """The lowest chunk that may be leased only to a slave that holds nothing else."""
        return self._first_of(self._suspects)

    def grant(self, chunk: Chunk, holder: str, granted_by_seq: int, now: float) -> Chunk:
        """Lease a ready chunk to `holder`."""
        if not chunk.suspicion.isolated:
            self._count_ready(chunk, -1)
        chunk.state, chunk.holder, chunk.granted_by_seq, chunk.since = State.LEASED, holder, granted_by_seq, now
        chunk.out_since = now if chunk.out_since is None else chunk.out_since
        chunk.backed_up = False
        self._leases.setdefault(holder, {})[chunk.first] = chunk
        return chunk

    def next_due(self) -> float | None:
        """When the next delayed chunk becomes ready; too early if that chunk has been settled in the meantime."""
        return self._delayed[0][0] if self._delayed else None

    def wake(self, now: float) -> bool:
        """Make the delayed chunks that are due ready; returns whether there were any."""
        woken = False
        while self._delayed and self._delayed[0][0] <= now:
            chunk = heappop(self._delayed)[2]
            if self._is_current(chunk) and chunk.state is State.DELAYED:
                chunk.state = State.READY
                self._queue(chunk)
                woken = True
        return woken

    def _queue(self, chunk: Chunk) -> None:
        isolated = chunk.suspicion.isolated
        heappush(self._suspects if isolated else self._ready, (chunk.first, next(self._order), chunk))
        if not isolated:
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
            if self._is_current(chunk) and chunk.state is State.READY:
                return chunk
            heappop(heap)
        return None

    def _is_current(self, chunk: Chunk) -> bool:
        return self._chunks.get(chunk.first) is chunk
