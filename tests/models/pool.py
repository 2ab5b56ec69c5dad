"""A slave's thread pool on simulated threads; it takes the place of the shipped one behind the same interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from models.process import Process
from models.threads import Queue

from taskmaster.core.wire import FailedAttempt
from taskmaster.slave.job_batch import JobBatch, Work
from taskmaster.slave.pools.batches import BatchExecution
from taskmaster.slave.pools.sequential import SequentialExecution

Execution = SequentialExecution | BatchExecution


class Pool:
    """Its threads take slices and batches as the shipped ones do; `handle` is called with an execution and a payload,
    or a list of them."""

    def __init__(self, process: Process, threads: int, handle: Callable[[Any, Any], Any],
                 wake: Callable[[], None]) -> None:
        self.slots = threads
        self.wake_below = 1
        self._process = process
        self._handle = handle
        self._wake = wake
        self.batches = BatchExecution
        self._waiting = Queue(process)
        self._ended: list[Execution] = []
        self._running: list[Execution | None] = [None] * threads
        for number in range(threads):
            process.spawn(partial(self._loop, number))

    def put(self, work: Work) -> None:
        self._waiting.put(work)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def idle(self) -> int:
        return self._running.count(None)

    def running(self) -> list[Execution]:
        return [work for work in self._running if work is not None]

    def ended(self) -> list[Execution]:
        ended, self._ended = self._ended, []
        return ended

    def take_back(self) -> list[Work]:
        return self._waiting.drained()

    def stack_of(self, execution: Execution, offset: int) -> str:
        return "in the handler"

    def cancel(self, execution: Execution, failure: FailedAttempt) -> bool:
        return False

    def is_to_blame(self, execution: Execution, offset: int) -> bool:
        return True

    def _loop(self, number: int) -> None:
        while True:
            work: Work = self._waiting.get()
            self._between_lists()
            self._running[number] = execution = self._execution(work, self._now(number))
            self._run(number, execution)
            self._running[number] = None
            self._between_lists()
            self._ended.append(execution)
            if len(self._waiting) < self.wake_below:
                self._wake()

    def _execution(self, work: Work, now: float) -> Execution:
        return self.batches(work) if isinstance(work, JobBatch) else SequentialExecution(work, now)

    def _now(self, number: int) -> float:
        return self._process.clock()

    def _run(self, number: int, work: Execution) -> None:
        work.run(partial(self._handle, work), self._process.clock)

    def _between_lists(self) -> None:
        """A point at which the slice is in none of the lists: a thread may be interrupted there."""


class InterruptedPool(Pool):
    """Now and then a thread is interrupted between two steps."""

    def _between_lists(self) -> None:
        scheduler = self._process.scheduler
        if scheduler.chance.random() < 0.05:
            scheduler.sleep(1e-4)
