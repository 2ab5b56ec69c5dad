"""The thread that runs the user's iterator: pulls jobs in slices, encodes them, hands them over.

A slow source hands over each job at once, a fast one thousands together. When a source turns slow in the middle of a
slice, the server takes what has been pulled so far with `overdue`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress, islice
from typing import Any

from taskmaster import defaults
from taskmaster.core.pull_size import PullSize
from taskmaster.core.reuse import Reuse, is_immutable
from taskmaster.core.second_chances import FailedJob
from taskmaster.errors import SourceError
from taskmaster.forks import leave
from taskmaster.job import unwrap, unwrap_all
from taskmaster.master.pulled import PassedOver, Pulled, encoded, sifted
from taskmaster.master.source import Source
from taskmaster.native import Condition, Empty, Flag, Lock, SimpleQueue, Thread
from taskmaster.waiting import Interrupted, interruptible


@dataclass(frozen=True)
class Again:
    """Failed jobs of earlier runs, which come before those of the source."""

    jobs: Sequence[FailedJob]


@dataclass(frozen=True)
class Exhausted:
    """The source has no more jobs; or, when `limited`, no more are wanted in this run."""

    limited: bool


@dataclass(frozen=True)
class Raised:
    """The source raised: a SourceError or StateMismatch of ours, or anything of the user's."""

    error: BaseException


class _Stopped(Exception):
    """Nothing more is wanted."""


Fed = Pulled | Again | Exhausted | Raised


class Feeder:
    """Pulls up to the offset that `allow` sets. All methods are for one other thread.

    `first` is the offset of the first job; after `limit` jobs the source counts as exhausted. `wake` is called, in the
    feeder's thread, each time there is something to take. The jobs of `again` come first. When no more is pulled, for
    whatever reason, the source is closed.
    """

    def __init__(self, source: Source, first: int, limit: int | None, codec: str, clock: Callable[[], float],
                 wake: Callable[[], None], again: Iterable[FailedJob] = ()) -> None:
        self._source = source
        self._codec = codec
        self._clock = clock
        self._wake = wake
        self._again = iter(again)
        self._again_queued = 0  # of those, in _fed; guarded, like the next, by _room
        self._again_owed = 0  # handed over since `allow` knew of them: they take room that it has not counted yet
        self._stopped = False  # nothing more is wanted
        self._stopping = Flag()  # the same, for a source of ours that waits
        self._gate: list[bool] = []  # of the part that is being pulled, which ends once this is empty
        self._quick = False  # the source in the last part
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
            self._again_owed = self._again_queued
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
        elif isinstance(fed, Again):
            with self._room:
                self._again_queued -= len(fed.jobs)
        return fed

    def stop(self) -> None:
        """Pull nothing more, and close the source as soon as it has returned from what it is doing."""
        with self._room:
            self._stopped = True
            self._gate.clear()
            self._room.notify()
        self._stopping.set()

    def join(self, seconds: float) -> bool:
        """Wait until the source is closed, for up to `seconds`; returns whether it is."""
        self.stop()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def place(self) -> str:
        """The line of the user's code that it is at."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        place = "an unknown place"
        while frame is not None and frame.f_globals.get("__package__") != __package__:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
            frame = frame.f_back
        return place

    def overdue(self, now: float) -> None:
        """Hand over what has been pulled so far of a slice that takes long."""
        due = self.late_after
        if due is not None and due <= now:
            with self._handing:
                self._hand_over(self._slice[self._taken:])

    def _run(self) -> None:
        with interruptible(self._stopping):
            self._run_source()

    def _run_source(self) -> None:
        try:
            self._feed_again()
            self._pull_all(self._source.open())
        except (_Stopped, Interrupted):
            pass
        except BaseException as error:  # whatever the user's iterator raises ends the source, and nothing else
            self._feed(Raised(error))
        finally:
            self._source.close()

    def _feed_again(self) -> None:
        while jobs := list(islice(self._again, defaults.AGAIN_AT_ONCE)):
            while jobs:
                with self._room:
                    now = jobs[:self._await_allowance()]
                    self._again_queued += len(now)
                    self._again_owed += len(now)
                self._feed(Again(now))
                jobs = jobs[len(now):]

    def _pull_all(self, jobs: Iterator[Any]) -> None:
        while True:
            want = self._await_room()
            if want == 0:
                return self._feed(Exhausted(limited=True))
            pulled = self._pull(jobs, want)
            if self._failed or self._stopped:
                return
            if pulled < want:
                return self._feed(Exhausted(limited=False))

    def _await_room(self) -> int:
        """How many jobs to pull; 0 once the limit is reached."""
        with self._room:
            most = self._await_allowance()  # read once, under the lock: it may shrink at any moment
        if self._end is not None:
            most = min(most, self._end - self._pulled)
        return min(self._size.jobs, max(0, most))

    def _await_allowance(self) -> int:
        """How many jobs are allowed now, at least one. Raises _Stopped. The lock must be held."""
        self._room.wait_for(lambda: self._stopped or self._has_room())
        if self._stopped:
            raise _Stopped
        return self._allowed - self._again_owed - self._pulled

    def _has_room(self) -> bool:
        return self._allowed - self._again_owed > self._pulled and self._queued_bytes < defaults.QUEUED_BYTES

    def _pull(self, jobs: Iterator[Any], want: int) -> int:
        """Returns how many jobs came. Those that came before an exception are handed over like all others."""
        began = self._clock()
        self._slice, self._taken, self._since = [], 0, began
        self._reuse.begin_slice()
        try:
            self._take(jobs, want)
        finally:
            took = self._clock() - began
            with self._handing:
                self._since = None
                size = self._hand_over(self._slice[self._taken:] if self._taken else self._slice)
        self._size.took(want, took, size)
        self._size.single |= self._reuse.found
        return len(self._slice)

    def _take(self, jobs: Iterator[Any], want: int) -> None:
        """Append jobs to the slice, until there are so many, the source ends or it is stopped."""
        while len(self._slice) < want and not self._stopped:
            before, began = len(self._slice), self._clock()
            part = min(defaults.UNGATED_JOBS, want - before)
            self._slice.extend(islice(self._gated(jobs, part), part))
            came = len(self._slice) - before
            self._quick = self._clock() - began < came * defaults.UNGATED_JOB_SECONDS
            if came < part:
                return

    def _gated(self, jobs: Iterator[Any], part: int) -> Iterator[Any]:
        """The same, to be ended after the next job by whoever clears the gate; but what was quick is not slowed down.

        The gate costs 3 ns a job, and of no-ops 7 % of all that is done for them.
        """
        if self._quick:
            return jobs
        with self._room:
            gate = self._gate = [] if self._stopped else [True] * part
        return compress(jobs, gate)

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
        pulled = encoded(jobs, self._codec)
        self._source.check(pulled.cursors)
        if self._source.before.over(self._pulled):
            return pulled
        pieces = list(sifted(pulled, self._pulled, self._source.before))
        passed = sum(piece.entry.count for piece in pieces if isinstance(piece, PassedOver))
        self._end = None if self._end is None else self._end + passed
        return replace(pulled, pieces=pieces)

    def _feed(self, fed: Fed) -> None:
        if os.getpid() != self._pid:  # the source has forked, and this is the child, which must not pull as well
            leave(fed.error if isinstance(fed, Raised) else None)
        self._fed.put(fed)
        self._wake()


def _yielded_twice(payload: Any) -> str:
    kind = type(payload).__name__
    return (f"get_jobs yielded the same {kind} object twice: {payload!r:.80}. If it was changed in between, its first "
            f"content is lost. Yield a fresh {kind} for each job, for example:\n    yield copy.copy(row)")
