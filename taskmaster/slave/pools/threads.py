"""Handlers in threads, which take slices from a queue and run through them. It knows nothing of the master."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import islice, repeat, starmap
from typing import Any, TypeVar

import gevent.threadpool

from taskmaster.core.wire import FailedAttempt
from taskmaster.forks import call_in_children
from taskmaster.handlers import RUNNING, settings_of
from taskmaster.native import Empty, Lock, SimpleQueue, get_ident, refused_thread
from taskmaster.slave.job_batch import JobBatch, Work
from taskmaster.slave.pools.base import Execution
from taskmaster.slave.pools.batches import BatchExecution
from taskmaster.slave.pools.sequential import SequentialExecution
from taskmaster.slave.slice import Slice

_T = TypeVar("_T")
_Execution = SequentialExecution | BatchExecution


class ThreadPool:
    """Loops in native threads, which gevent keeps native even if a user's module has patched `threading`.

    Calling into such a thread for each job would cost 15 us; in a loop that takes slices, a no-op costs 0.1 us.
    """

    def __init__(self, handler: Callable[[Any], Any], slots: int, clock: Callable[[], float],
                 wake: Callable[[], None], leave_thread: Callable[[], object] = lambda: None) -> None:
        self.slots = 0
        self.wake_below = 1
        self._leave_thread = leave_thread  # called by a thread that has nothing more to run
        self._handler = handler
        self._settings = settings_of(handler)
        self._clock = clock
        self._wake = wake
        self._waiting: SimpleQueue[Work | None] = SimpleQueue()  # None: makes a thread check whether it is surplus
        self._ended: SimpleQueue[_Execution] = SimpleQueue()
        self._running: dict[int, _Execution] = {}  # by the identity of the thread
        self._nudges = 0  # how many None are in the queue
        self._active = 0  # threads that take slices, and, once they have nothing to run,
        self._parked = 0  # those that do not; kept, because a gevent thread cannot be ended from another
        self._resumed: SimpleQueue[None] = SimpleQueue()
        self._lock = Lock()
        call_in_children(self, ThreadPool._end_in_child)
        self.resize(slots)

    @property
    def idle(self) -> int:
        """How many threads have nothing to run."""
        return max(0, self.slots - len(self._running))

    @property
    def waiting(self) -> int:
        """How many slices no thread has taken yet."""
        return self._waiting.qsize() - self._nudges

    def put(self, work: Work) -> None:
        """Queue a slice behind those that wait."""
        self._waiting.put(work)

    def running(self) -> list[_Execution]:
        """The slices that threads are running through."""
        return list(self._running.values())  # one step under the interpreter lock

    def ended(self) -> list[_Execution]:
        """The slices that have ended since the last call."""
        return [execution for execution in _drained(self._ended) if execution.collect()]

    def take_back(self) -> list[Work]:
        """Remove and return the slices that no thread has taken yet."""
        taken = _drained(self._waiting)
        for _ in range(taken.count(None)):
            self._waiting.put(None)
        return [work for work in taken if work is not None]

    def stack_of(self, execution: Execution, offset: int) -> str:
        """Where the thread that runs this slice is now."""
        idents = [ident for ident, running in list(self._running.items()) if running is execution]
        frame = sys._current_frames().get(idents[0]) if idents else None
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def cancel(self, execution: Execution, failure: FailedAttempt) -> bool:
        """Nothing can end a thread."""
        return False

    def is_to_blame(self, execution: Execution, offset: int) -> bool:
        """Each job has a thread of its own."""
        return True

    def resize(self, slots: int) -> None:
        """Use `slots` threads from now on; surplus ones finish the slice they are running."""
        with self._lock:
            self.slots = slots
            missing, surplus = max(0, slots - self._active), max(0, self._active - slots)
            resumed = min(missing, self._parked)
            self._active += missing
            self._parked -= resumed
            self._nudges += surplus
        for _ in range(resumed):
            self._resumed.put(None)
        for _ in range(surplus):
            self._waiting.put(None)
        self._start(missing - resumed)

    def call(self, function: Callable[[], Any]) -> Any:
        """In the calling thread: none of the others is special."""
        return function()

    def close(self) -> None:
        """Start no further slice; does not wait for those that are running."""
        self.resize(0)

    def _end_in_child(self) -> None:
        for execution in self._running.values():
            execution.end_in_child()

    def _start(self, threads: int) -> None:
        if threads:
            native = gevent.threadpool.ThreadPool(threads)  # its own, because only the thread that made one may use it
            try:
                for _ in range(threads):
                    native.spawn(self._loop)
            except RuntimeError as error:
                raise refused_thread(error) from error

    def _loop(self) -> None:
        """Take slices and run them, for as long as the process lives.

        User code can raise an exception in this thread from another one, as timeouts for functions do. It may arrive
        late, at any step here. So what the thread has taken stays in `hand` until it is done with, and each step may be
        repeated.
        """
        hand: list[Work | _Execution | None] = []
        source = starmap(self._waiting.get, repeat(()))
        short = False  # of memory
        while True:
            try:
                if short:
                    short = False
                    gc.collect()  # frees cycles, which may be what fills the memory; failed allocations do not
                self._step(get_ident(), hand, source)
            except MemoryError:
                short = True
            except BaseException:
                continue

    def _step(self, ident: int, hand: list[Work | _Execution | None], source: Iterator[Work | None]) -> None:
        if not hand:
            if self._is_surplus():
                self._leave_thread()
                self._resumed.get()
            hand.extend(islice(source, 1))  # one step: between taking it and keeping it no exception can arrive
        taken = hand[0]
        if taken is None:
            hand.clear()
            return self._forget_nudge()
        if isinstance(taken, (Slice, JobBatch)):
            taken = hand[0] = self._execution(taken)
        self._run(ident, taken)
        hand.clear()
        if self.waiting < self.wake_below:
            self._wake()

    def _execution(self, work: Work) -> _Execution:
        if isinstance(work, JobBatch):
            return BatchExecution(work, self._settings)
        return SequentialExecution(work, self._clock(), self._settings)

    def _forget_nudge(self) -> None:
        with self._lock:
            self._nudges -= 1

    def _is_surplus(self) -> bool:
        with self._lock:
            surplus = self._active > self.slots
            self._active -= surplus
            self._parked += surplus
            return surplus

    def _run(self, ident: int, execution: _Execution) -> None:
        self._running[ident] = execution
        RUNNING.set(execution.current_job)
        execution.run(self._handler, self._clock)
        RUNNING.set(None)
        self._running.pop(ident, None)
        self._ended.put(execution)


def _drained(queue: SimpleQueue[_T]) -> list[_T]:
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found
