"""What a slave's control thread knows about where its handlers run. A new kind of pool is a new file here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from taskmaster.core.runs import Run
from taskmaster.core.wire import FailedAttempt
from taskmaster.slave.job_batch import Work


@dataclass(frozen=True)
class RunningJob:
    """A job that is being handled: its offset, the time on the pool's clock since which that is known, and the offsets
    of the other jobs of the same call."""

    offset: int
    since: float
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Progress:
    """What became of a slice's jobs since the last look at it, and what is running now.

    `seconds` is how long the jobs that ended occupied their slots, summed over the slots. `results` has, for each run
    that settled, the lines of what its handlers returned; it is empty where nobody wants them.
    """

    settled: Sequence[Run]
    failed: Sequence[FailedAttempt]
    seconds: float
    running: Sequence[RunningJob]
    results: Sequence[bytes] = ()

    @property
    def ended(self) -> int:
        """How many jobs ended, well or not."""
        return sum([count for _, count in self.settled]) + len(self.failed)


class Execution(Protocol):
    """A slice or batch in the hands of the pool. Its jobs start in order, and may run at once and end in any order.

    All of this is called by the control thread, while the pool runs the handlers.
    """

    @property
    def epoch(self) -> int:
        """The slice's."""

    @property
    def attempt(self) -> int:
        """The slice's."""

    @property
    def count(self) -> int:
        """Its jobs, without those that were taken back."""

    @property
    def unstarted(self) -> int:
        """How many of them have not been passed to a handler."""

    def look(self, now: float) -> Progress:
        """What became of its jobs since the last look. Each job that ended appears in exactly one look."""

    def take_back(self) -> Work | None:
        """Remove and return the jobs that have not started, which are the last ones; None if all have."""


class Pool(Protocol):
    """Takes slices, and runs the handler for up to `slots` of their jobs at once; or so many batches.

    Its methods belong to the control thread and, when that has ended, to whoever made the pool. It wakes the control
    thread, by the callable that it was made with, when a slice ends and fewer than `wake_below` slices wait.
    """

    wake_below: int
    """Set by the control thread at each of its turns; 0 means never."""

    @property
    def slots(self) -> int:
        """How many calls may run at once, now."""

    @property
    def idle(self) -> int:
        """How many slots have no call."""

    @property
    def waiting(self) -> int:
        """How many slices have not begun."""

    def put(self, work: Work) -> None:
        """Queue a slice or batch behind those that wait."""

    def running(self) -> Sequence[Execution]:
        """The slices that have begun and not ended, in any order. For a moment, one may be in neither list."""

    def ended(self) -> Sequence[Execution]:
        """The slices that have ended since the last call."""

    def take_back(self) -> Sequence[Work]:
        """Remove and return the slices that have not begun, in order."""

    def stack_of(self, execution: Execution, offset: int) -> str:
        """Where the handler of a running job is now, as a traceback; empty if unknown."""

    def cancel(self, execution: Execution, failure: FailedAttempt) -> bool:
        """End the handler of a running job, whose attempt failed in this way; a later look reports it, and what the
        handler still does no longer counts. False if a handler cannot be ended here."""

    def is_to_blame(self, execution: Execution, offset: int) -> bool:
        """Whether a job that was cancelled and still runs is the cause; False if another keeps the thread of both."""

    def resize(self, slots: int) -> None:
        """Run up to `slots` jobs at once from now on. Surplus slots finish what they run and take nothing new."""

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function where handlers run, wait for it, and return or raise what it does. In a loop, what it returns
        is awaited, if that is possible. Not for jobs."""

    def close(self) -> None:
        """Start nothing more. Does not wait for what is running."""
