"""Jobs that wait until a batch is full. Pure: the time is an argument."""

from __future__ import annotations

from collections import deque
from math import inf

from taskmaster import defaults
from taskmaster.core.halving import most_together
from taskmaster.slave.job_batch import JobBatch
from taskmaster.slave.slice import Slice


class Filling:
    """Makes batches of up to `size` jobs, for each attempt its own: a job that has failed does not spoil new ones.

    One that is not full is due BATCH_FILL_SECONDS after its first job arrived.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: dict[int, _Waiting] = {}  # by attempt

    def put(self, work: Slice, now: float) -> list[JobBatch]:
        """These wait behind the others of their attempt. Removes and returns the batches that are full by that."""
        waiting = self._waiting.setdefault(work.attempt, _Waiting(now))
        waiting.slices.append(work)
        waiting.jobs += work.count
        size, full = most_together(self._size, work.attempt), []
        while waiting.jobs >= size:
            full.append(waiting.take(size))
            waiting.since = now  # what is left of it has come just now
        if not waiting.jobs:
            del self._waiting[work.attempt]
        return full

    @property
    def due(self) -> float:
        """When the next batch goes out though it is not full; inf if nothing waits."""
        return min([one.since for one in self._waiting.values()], default=inf) + defaults.BATCH_FILL_SECONDS

    def take_oldest(self) -> JobBatch | None:
        """Remove and return the batch that has waited longest, which is not full; None if nothing waits."""
        if not self._waiting:
            return None
        attempt = min(self._waiting, key=lambda attempt: self._waiting[attempt].since)
        waiting = self._waiting.pop(attempt)
        return waiting.take(waiting.jobs)

    def take_back(self) -> list[Slice]:
        """Remove and return all that waits."""
        waiting, self._waiting = self._waiting, {}
        return [work for one in waiting.values() for work in one.slices]


class _Waiting:
    """The jobs of one attempt."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.jobs = 0
        self.slices: deque[Slice] = deque()

    def take(self, size: int) -> JobBatch:
        """Remove the first `size` jobs, of which there are enough."""
        taken = []
        self.jobs -= size
        while size:
            work = self.slices.popleft()
            if work.count > size:
                self.slices.appendleft(work.part(work.first + size, work.count - size))
                work = work.part(work.first, size)
            taken.append(work)
            size -= work.count
        return JobBatch(tuple(taken))
