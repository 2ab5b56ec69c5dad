"""The thread that runs the user's iterator: pulls jobs in slices, encodes them, hands them over.

A slow source hands over each job at once, a fast one thousands together. When a source turns slow in the middle of a
slice, the server takes what has been pulled so far with `overdue`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from taskmaster import defaults
from taskmaster.core.codec import BadJob, GoodJobs, encode, encode_plain
from taskmaster.core.portable import pack
from taskmaster.core.pull_size import PullSize
from taskmaster.errors import SourceError
from taskmaster.forks import leave
from taskmaster.job import NO_CURSOR, unwrap, unwrap_all
from taskmaster.master.source import Source
from taskmaster.native import Condition, Empty, Lock, SimpleQueue, Thread

_IMMUTABLE = (int, float, complex, str, bytes, tuple, frozenset, type(None))


@dataclass(frozen=True)
class Pulled:
    """Neighbouring jobs of the source, encoded. `cursors` has one for each job; None when no job has its own."""

    pieces: list[GoodJobs | BadJob]
    count: int
    cursors: list[Any] | None
    size: int  # of the pieces, in bytes


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
        self._last: Any = None  # the payload before: a source may yield one object again and again, changed in between
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
                self._queued_bytes -= fed.size
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
            if self._pull(jobs, want) < want:
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
        try:
            self._slice.extend(islice(jobs, want))
        finally:
            took = self._clock() - began
            with self._handing:
                self._since = None
                size = self._hand_over(self._slice[self._taken:] if self._taken else self._slice)
        self._size.took(want, took, size)
        self._mind_reuse()
        return len(self._slice)

    def _mind_reuse(self) -> None:
        """A source that yields the same list or dict twice changes it in between: pull, and encode, one at a time."""
        payload = unwrap(self._slice[-1])[0] if self._slice else None
        if payload is self._last and not isinstance(payload, _IMMUTABLE) or self._size.single:
            self._size.single = True
        self._last = payload

    def _hand_over(self, jobs: list[Any]) -> int:
        """Encode and hand over; returns the size in bytes."""
        if not jobs:
            return 0
        self._taken += len(jobs)
        self._pulled += len(jobs)
        pulled = _encoded(jobs, self._codec)
        with self._room:
            self._queued_bytes += pulled.size
        self._feed(pulled)
        return pulled.size

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
    for cursor in cursors or ():
        if type(cursor) not in (int, str) and cursor is not NO_CURSOR:
            _check(cursor)
    pieces = encode(payloads, codec, defaults.JOB_BYTES)
    size = sum(piece.batch.size for piece in pieces if isinstance(piece, GoodJobs))
    return Pulled(pieces, len(jobs), cursors, size)


def _check(cursor: Any) -> None:
    try:
        pack(cursor)
    except ValueError as error:
        raise SourceError(f"The cursor {cursor!r:.80} cannot be stored in a checkpoint: {error} "
                          "Use one that JSON or pickle can carry.") from error
