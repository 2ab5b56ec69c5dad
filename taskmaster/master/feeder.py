"""The thread that runs the user's iterator: pulls jobs in slices, encodes them, hands them over.

A slow source hands over each job at once, a fast one thousands together. When a source turns slow in the middle of a
slice, the server takes what has been pulled so far with `overdue`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from taskmaster import defaults
from taskmaster.core.codec import BadJob, GoodJobs, encode, encode_plain
from taskmaster.core.portable import Packed, freeze
from taskmaster.core.pull_size import PullSize
from taskmaster.core.reuse import Reuse, is_immutable
from taskmaster.core.settled import Entry, SettledBefore
from taskmaster.errors import SourceError
from taskmaster.forks import leave
from taskmaster.job import NO_CURSOR, unwrap, unwrap_all
from taskmaster.master.source import Source
from taskmaster.native import Condition, Empty, Lock, SimpleQueue, Thread


@dataclass(frozen=True)
class PassedOver:
    """Neighbouring jobs of a slice that an earlier run has settled: the index of the first, and which they are."""

    index: int
    entry: Entry


Piece = GoodJobs | BadJob | PassedOver


@dataclass(frozen=True)
class Pulled:
    """Neighbouring jobs of the source, encoded. `cursors` has one for each, frozen; None when no job has its own."""

    pieces: Sequence[Piece]
    count: int
    cursors: list[Any] | None
    size: int  # of the pieces, in bytes
    cursor_bytes: int = 0  # that each job's cursor takes, on average

    @property
    def kept_bytes(self) -> int:
        return self.size + self.count * self.cursor_bytes


@dataclass(frozen=True)
class Exhausted:
    """The source has no more jobs; or, when `limited`, no more are wanted in this run."""

    limited: bool


@dataclass(frozen=True)
class Raised:
    """The source raised: a SourceError or StateMismatch of ours, or anything of the user's."""

    error: BaseException


Fed = Pulled | Exhausted | Raised


class Feeder:
    """Pulls up to the offset that `allow` sets. `allow`, `take` and `overdue` are for one other thread.

    `first` is the offset of the first job; after `limit` jobs the source counts as exhausted. `wake` is called, in the
    feeder's thread, each time there is something to take.
    """

    def __init__(self, source: Source, first: int, limit: int | None, codec: str, clock: Callable[[], float],
                 wake: Callable[[], None]) -> None:
        self._source = source
        self._codec = codec
        self._clock = clock
        self._wake = wake
        self._pid = os.getpid()
        self._pulled = first  # the offset of the next job
        self._end = None if limit is None else first + limit
        self._fed: SimpleQueue[Fed] = SimpleQueue()
        self._allowed = first  # guarded, like the next, by _room
        self._queued_bytes = 0  # in _fed
        self._room = Condition()
        self._size = PullSize()
        self._slice: list[Any] = []  # the jobs that are being pulled
        self._taken = 0  # how many of them were handed over
        self._since: float | None = None
        self._handing = Lock()
        self._failed = False  # a slice could not be handed over, so nothing after it may be
        self._reuse = Reuse()
        self._thread = Thread(target=self._run, name="feeder")

    @property
    def length(self) -> int | None:
        """How many jobs the source says it has from the start of this run on; None when it does not say."""
        return self._source.length

    @property
    def late_after(self) -> float | None:
        """When `overdue` should be called; None when nothing is waiting."""
        since = self._since
        return None if since is None or len(self._slice) <= self._taken else since + defaults.OVERDUE_SECONDS

    def start(self) -> None:
        self._thread.start()

    def allow(self, offset: int) -> None:
        """Pull jobs below `offset`, whatever was allowed before, but no more than QUEUED_BYTES ahead of `take`."""
        with self._room:
            self._allowed = offset
            if self._has_room():
                self._room.notify()

    def take(self) -> Fed | None:
        """What the source yielded next; None when there is nothing yet."""
        try:
            fed = self._fed.get_nowait()
        except Empty:
            return None
        if isinstance(fed, Pulled):
            with self._room:
                self._queued_bytes -= fed.kept_bytes
        return fed

    def overdue(self, now: float) -> None:
        """Hand over what has been pulled so far of a slice that takes long."""
        due = self.late_after
        if due is not None and due <= now:
            with self._handing:
                self._hand_over(self._slice[self._taken:])

    def _run(self) -> None:
        try:
            self._pull_all(self._source.open())
        except BaseException as error:  # whatever the user's iterator raises ends the source, and nothing else
            self._feed(Raised(error))

    def _pull_all(self, jobs: Iterator[Any]) -> None:
        while True:
            want = self._await_room()
            if want == 0:
                return self._feed(Exhausted(limited=True))
            pulled = self._pull(jobs, want)
            if self._failed:
                return
            if pulled < want:
                return self._feed(Exhausted(limited=False))

    def _await_room(self) -> int:
        """How many jobs to pull; 0 once the limit is reached."""
        with self._room:
            self._room.wait_for(self._has_room)
            most = self._allowed  # read once, under the lock: it may shrink at any moment
        if self._end is not None:
            most = min(most, self._end)
        return min(self._size.jobs, max(0, most - self._pulled))

    def _has_room(self) -> bool:
        return self._allowed > self._pulled and self._queued_bytes < defaults.QUEUED_BYTES

    def _pull(self, jobs: Iterator[Any], want: int) -> int:
        """Returns how many jobs came. Those that came before an exception are handed over like all others."""
        began = self._clock()
        self._slice, self._taken, self._since = [], 0, began
        self._reuse.begin_slice()
        try:
            self._slice.extend(islice(jobs, want))
        finally:
            took = self._clock() - began
            with self._handing:
                self._since = None
                size = self._hand_over(self._slice[self._taken:] if self._taken else self._slice)
        self._size.took(want, took, size)
        self._size.single |= self._reuse.found
        return len(self._slice)

    def _hand_over(self, jobs: list[Any]) -> int:
        """Encode and hand over; returns the size in bytes."""
        if not jobs or self._failed:
            return 0
        try:
            pulled = self._encoded(jobs)
        except BaseException as error:  # a cursor that cannot be kept: may be seen by `overdue`, in another thread
            self._failed = True
            self._feed(Raised(error))
            return 0
        self._taken += len(jobs)
        self._pulled += len(jobs)
        with self._room:
            self._queued_bytes += pulled.kept_bytes
        self._feed(pulled)
        return pulled.size

    def _encoded(self, jobs: list[Any]) -> Pulled:
        # One look at a slice of numbers: at each of them it would take as long as all else that is done for no-ops.
        if not is_immutable(unwrap(jobs[-1])[0]):
            again = self._reuse.twice(unwrap_all(jobs)[0])
            if again is not None:
                raise SourceError(_yielded_twice(again))
        pulled = _encoded(jobs, self._codec)
        self._source.check(pulled.cursors)
        if self._source.before.over(self._pulled):
            return pulled
        pieces = list(_sifted(pulled, self._pulled, self._source.before))
        passed = sum(piece.entry.count for piece in pieces if isinstance(piece, PassedOver))
        self._end = None if self._end is None else self._end + passed
        return replace(pulled, pieces=pieces)

    def _feed(self, fed: Fed) -> None:
        if os.getpid() != self._pid:  # the source has forked, and this is the child, which must not pull as well
            leave(fed.error if isinstance(fed, Raised) else None)
        self._fed.put(fed)
        self._wake()


def _encoded(jobs: list[Any], codec: str) -> Pulled:
    batch = encode_plain(jobs, codec, defaults.JOB_BYTES)
    if batch is not None:  # then none of them is a Job, for that is no plain value
        return Pulled([GoodJobs(0, batch)], len(jobs), None, batch.size)
    payloads, cursors = unwrap_all(jobs)
    frozen = None if cursors is None else [_frozen(cursor) for cursor in cursors]
    pieces = encode(payloads, codec, defaults.JOB_BYTES)
    size = sum(piece.batch.size for piece in pieces if isinstance(piece, GoodJobs))
    cursor_bytes = 0 if frozen is None else sum(map(_bytes_of, frozen)) // len(jobs) + 1
    return Pulled(pieces, len(jobs), frozen, size, cursor_bytes)


def _yielded_twice(payload: Any) -> str:
    kind = type(payload).__name__
    return (f"get_jobs yielded the same {kind} object twice: {payload!r:.80}. If it was changed in between, its first "
            f"content is lost. Yield a fresh {kind} for each job, for example:\n    yield copy.copy(row)")


def _sifted(pulled: Pulled, first: int, before: SettledBefore) -> Iterator[Piece]:
    """The pieces, without the jobs that an earlier run has settled; `first` is the offset of the first job."""
    for piece in pulled.pieces:
        if not isinstance(piece, GoodJobs):
            yield piece
            continue
        cursors = None if pulled.cursors is None else pulled.cursors[piece.index:piece.index + piece.batch.count]
        start, at = first + piece.index, 0
        for entry in before.matches(start, piece.batch, cursors):
            if entry.first > start + at:
                yield GoodJobs(piece.index + at, piece.batch.slice(at, entry.first - start - at))
            yield PassedOver(entry.first - first, entry)
            at = entry.first + entry.count - start
        if at < piece.batch.count:
            yield GoodJobs(piece.index + at, piece.batch.slice(at, piece.batch.count - at))


def _bytes_of(cursor: Any) -> int:
    """What a frozen cursor takes in memory, about."""
    return 100 + len(cursor.text) if type(cursor) is Packed else 50 + len(cursor) if type(cursor) is str else 32


def _frozen(cursor: Any) -> Any:
    if type(cursor) in (int, str) or cursor is NO_CURSOR or cursor is None:
        return cursor
    try:
        return freeze(cursor)
    except ValueError as error:
        raise SourceError(f"The cursor {cursor!r:.80} cannot be stored in a checkpoint: {error} "
                          "Use one that JSON or pickle can carry.") from error
