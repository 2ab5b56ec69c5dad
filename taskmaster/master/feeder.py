"""The thread in which the user's iterator runs: pulls jobs in slices, encodes them, hands them over.

A slow source gives each job at once, a fast one thousands together; a source that turns slow in the middle of a
slice does not keep what it gave before: the server takes that out with `overdue`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from taskmaster import defaults
from taskmaster.core.codec import BadJob, GoodJobs, encode, encode_plain
from taskmaster.core.portable import pack
from taskmaster.core.pull_size import PullSize
from taskmaster.errors import SourceError
from taskmaster.job import NO_CURSOR, Job
from taskmaster.master.source import Source

OVERDUE_SECONDS = 0.005
QUEUED_BYTES = 4 << 20  # of encoded jobs that wait to be admitted: a few slices of large ones, the window of small ones
_UNCHANGING = (int, float, complex, str, bytes, tuple, frozenset, type(None))


@dataclass(frozen=True)
class Pulled:
    """Neighbouring jobs of the source, encoded; `cursors` where they have their own, one for each."""

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
    """The source raised: a SourceError or a StateMismatch of ours, or anything of the user's."""

    error: BaseException


Fed = Pulled | Exhausted | Raised


class Feeder:
    """Pulls while it may: `allow` says up to which offset. `take` and `overdue` are for one other thread."""

    def __init__(self, source: Source, first: int, limit: int | None, codec: str, clock: Callable[[], float],
                 wake: Callable[[], None]) -> None:
        self._source = source
        self._codec = codec
        self._clock = clock
        self._wake = wake
        self._pulled = first  # the offset of the next job
        self._end = None if limit is None else first + limit
        self._allowed = first
        self._held_when_fed: SimpleQueue[Fed] = SimpleQueue()
        self._queued_bytes = 0  # in there; guarded, like `_allowed`, by
        self._room = threading.Condition()
        self._size = PullSize()
        self._slice: list[Any] = []  # being pulled into
        self._taken = 0  # jobs of it that were handed over
        self._since: float | None = None
        self._handing = threading.Lock()
        self._last: Any = None  # the job before: a source that yields one object again and again changes it in between
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    @property
    def length(self) -> int | None:
        """How many jobs the source says it has from here on, where it says so."""
        return self._source.length

    @property
    def late_after(self) -> float | None:
        """When `overdue` should be called; None when nothing waits."""
        since = self._since
        return None if since is None or len(self._slice) <= self._taken else since + OVERDUE_SECONDS

    def start(self) -> None:
        self._thread.start()

    def allow(self, offset: int) -> None:
        """Pull jobs below `offset`, whatever was allowed before, and at most QUEUED_BYTES ahead of `take`."""
        with self._room:
            self._allowed = offset
            if self._has_room():
                self._room.notify()

    def take(self) -> Fed | None:
        """What the source gave next, None when there is nothing now."""
        try:
            fed = self._held_when_fed.get_nowait()
        except Empty:
            return None
        if isinstance(fed, Pulled):
            with self._room:
                self._queued_bytes -= fed.size
        return fed

    def overdue(self, now: float) -> None:
        """Hand over what was pulled so far of a slice that takes long."""
        due = self.late_after
        if due is not None and due <= now:
            with self._handing:
                self._hand_over(self._slice[self._taken:])

    def _run(self) -> None:
        try:
            self._pull_all(self._source.open())
        except BaseException as error:  # whatever the user's iterator raises ends the source, and only that
            self._feed(Raised(error))

    def _pull_all(self, jobs: Iterator[Any]) -> None:
        while True:
            want = self._await_room()
            if want == 0:
                return self._feed(Exhausted(limited=True))
            if self._pull(jobs, want) < want:
                return self._feed(Exhausted(limited=False))

    def _await_room(self) -> int:
        with self._room:
            self._room.wait_for(self._has_room)
            most = self._allowed  # it may be less the next moment
        if self._end is not None:
            most = min(most, self._end)
        return min(self._size.jobs, max(0, most - self._pulled))

    def _has_room(self) -> bool:
        return self._allowed > self._pulled and self._queued_bytes < QUEUED_BYTES

    def _pull(self, jobs: Iterator[Any], want: int) -> int:
        """Returns how many came; what came before an exception is handed over like the rest."""
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
        """The same list or dict twice is one that the source changes in between: pull, and encode, one at a time."""
        job = self._slice[-1] if self._slice else None
        payload = job.payload if type(job) is Job else job
        if payload is self._last and not isinstance(payload, _UNCHANGING) or self._size.single:
            self._size.single = True
        self._last = payload

    def _hand_over(self, jobs: list[Any]) -> int:
        """Encode and give away; returns the size in bytes."""
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
        self._held_when_fed.put(fed)
        self._wake()


def _encoded(jobs: list[Any], codec: str) -> Pulled:
    batch = encode_plain(jobs, codec, defaults.JOB_BYTES)
    if batch is not None:  # then there is no Job among them, for that is no plain value
        return Pulled([GoodJobs(0, batch)], len(jobs), None, batch.size)
    cursors = _cursors(jobs) if Job in set(map(type, jobs)) else None
    payloads = [job.payload if type(job) is Job else job for job in jobs] if cursors is not None else jobs
    pieces = encode(payloads, codec, defaults.JOB_BYTES)
    size = sum(piece.batch.size for piece in pieces if isinstance(piece, GoodJobs))
    return Pulled(pieces, len(jobs), cursors, size)


def _cursors(jobs: list[Any]) -> list[Any]:
    cursors = [job.cursor if type(job) is Job else NO_CURSOR for job in jobs]
    for cursor in cursors:
        if type(cursor) not in (int, str) and cursor is not NO_CURSOR:
            _check(cursor)
    return cursors


def _check(cursor: Any) -> None:
    try:
        pack(cursor)
    except ValueError as error:
        raise SourceError(f"The cursor {cursor!r:.80} cannot be kept in a checkpoint: {error} "
                          "Give one that JSON or pickle can carry.") from error
