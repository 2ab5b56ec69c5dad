"""What the pools have in common whose jobs share one native thread: it starts jobs while there are free slots."""

from __future__ import annotations

import logging
import sys
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

from taskmaster.core.wire import FailedAttempt
from taskmaster.forks import call_in_children
from taskmaster.handlers import settings_of
from taskmaster.native import Flag, Thread, get_ident
from taskmaster.slave.job_batch import JobBatch, Work
from taskmaster.slave.pools.base import Execution
from taskmaster.slave.pools.batches import BatchExecution
from taskmaster.slave.pools.concurrent import ConcurrentExecution

_log = logging.getLogger(__name__)

LoopExecution = ConcurrentExecution | BatchExecution
Key = tuple[LoopExecution, int]  # a call: its slice or batch, and the index of its first job in that


class SharedThreadPool(ABC):
    """Up to `slots` jobs at once in a loop of its own. A subclass is one kind of loop, and of handle on a job."""

    _code: CodeType
    """Of the function, with locals `execution` and `index`, inside of which the handler runs."""

    def __init__(self, handler: Callable[[Any], Any], slots: int, clock: Callable[[], float],
                 wake: Callable[[], None]) -> None:
        self.slots = slots
        self.wake_below = 1
        self._handler = handler
        self._settings = settings_of(handler)
        self._clock = clock
        self._wake = wake
        self._waiting: deque[Work] = deque()
        self._running: dict[LoopExecution, None] = {}
        self._ended: deque[LoopExecution] = deque()
        self._current: LoopExecution | None = None  # whose jobs are being started
        self._resumed: deque[LoopExecution] = deque()  # those that have more to start after all
        self._jobs: dict[Key, Any] = {}  # those that run, each with what the loop knows it by
        self._filling = False  # whether the loop has been asked to start jobs, and has not begun to
        self._forked = False
        self._ident = 0
        call_in_children(self, SharedThreadPool._end_in_child)
        self._thread = Thread(target=self._serve, name=type(self).__name__)
        self._thread.start()

    # -- a kind of loop

    @abstractmethod
    def _run_loop(self) -> None:
        """Run the loop in this thread until the process ends; what another thread raises here comes out of it, and then
        it is called again."""

    @abstractmethod
    def _call(self, function: Callable[[], object]) -> None:
        """Let the loop call this function soon; may be called from any thread."""

    @abstractmethod
    def _start(self, execution: LoopExecution, index: int, payload: Any) -> Any:
        """Start the handler; when it has ended, call `_end` and fill its slot. Returns a handle. Called in the loop."""

    @abstractmethod
    def _call_in_loop(self, function: Callable[[], Any], end: Callable[[BaseException | None, Any], None]) -> None:
        """Start this function as a handler is started, and call `end` with what it raised or returned."""

    @abstractmethod
    def _interrupt(self, handle: Any) -> None:
        """Raise an exception in a handler, at the point where it waits. Called in the loop."""

    @abstractmethod
    def _frames_of(self, handle: Any) -> Iterable[tuple[FrameType, int]]:
        """Where a handler waits, outermost call first, each with the number of its line."""

    # -- for the control thread

    @property
    def idle(self) -> int:
        """How many slots have no job."""
        return max(0, self.slots - len(self._jobs))

    @property
    def waiting(self) -> int:
        """How many slices have not begun."""
        return len(self._waiting)

    def put(self, work: Work) -> None:
        """Queue a slice behind those that wait."""
        self._waiting.append(work)
        self._fill_soon()

    def running(self) -> list[LoopExecution]:
        """The slices that have begun and not ended."""
        return list(self._running)  # one step under the interpreter lock

    def ended(self) -> list[LoopExecution]:
        """The slices that have ended since the last call."""
        return _drained(self._ended)

    def take_back(self) -> list[Work]:
        """Remove and return the slices that have not begun, in order."""
        return _drained(self._waiting)

    def stack_of(self, execution: Execution, offset: int) -> str:
        """Where the handler of this job waits or, if it keeps the thread, is now."""
        assert isinstance(execution, LoopExecution)
        job = execution, execution.index_of(offset)
        handle = self._jobs.get(job)
        if handle is None:
            return ""
        if self._job_in_thread() == job:
            return "".join(traceback.format_stack(self._frame()))
        try:
            return "".join(traceback.StackSummary.extract(iter(list(self._frames_of(handle)))).format())
        except Exception:  # it went on meanwhile
            return ""

    def cancel(self, execution: Execution, failure: FailedAttempt) -> bool:
        """End the handler of a running job; the loop does that, so it takes until the thread is free."""
        assert isinstance(execution, LoopExecution)
        self._call(lambda: self._cancel(execution, failure))
        return True

    def is_to_blame(self, execution: Execution, offset: int) -> bool:
        """Whether this job ignores its cancellation or keeps the thread; not if another one keeps it."""
        assert isinstance(execution, LoopExecution)
        if execution.has_timed_out(offset):
            return True
        keeper = self._job_in_thread()
        return keeper is None or keeper == (execution, execution.index_of(offset))

    def resize(self, slots: int) -> None:
        """Run up to `slots` jobs at once from now on."""
        self.slots = slots
        self._fill_soon()

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the loop, and wait for it."""
        ended, outcome = Flag(), []

        def end(error: BaseException | None, result: Any) -> None:
            outcome.append((error, result))
            ended.set()

        self._call(lambda: self._call_in_loop(function, end))
        ended.wait()
        error, result = outcome[0]
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Start nothing more; does not wait for what is running."""
        self.resize(0)

    # -- in the pool's thread

    def _serve(self) -> None:
        self._ident = get_ident()
        while True:
            try:
                self._run_loop()
                return
            except BaseException as error:  # of a task that a handler started, or raised into this thread by another
                _log.debug("The loop of the handlers was interrupted by %r and continues", error)
                self._filling = False
                self._end_lost()
                self._fill_soon()

    def _fill_soon(self) -> None:
        if not self._filling:
            self._filling = True
            self._call(self._fill)

    def _fill(self) -> None:
        """Start jobs in all free slots."""
        self._filling = False  # first: what is put from now on has this called again
        while len(self._jobs) < self.slots and (job := self._next()) is not None:
            execution, index, payload = job
            self._jobs[execution, index] = self._start(execution, index, payload)

    def _next(self) -> tuple[LoopExecution, int, Any] | None:
        while True:
            if self._current is None:
                self._current = self._next_execution()
                if self._current is None:
                    return None
            job = self._current.begin(self._clock())
            if job is not None:
                return self._current, *job
            self._end_if_over(self._current)
            self._current = None

    def _next_execution(self) -> LoopExecution | None:
        try:
            if self._resumed:
                return self._resumed.popleft()
            work = self._waiting.popleft()
        except IndexError:  # nothing waits, or not any more
            return None
        execution: LoopExecution
        if isinstance(work, JobBatch):
            execution = BatchExecution(work, self._settings)
        else:
            execution = ConcurrentExecution(work, self._settings)
        self._running[execution] = None
        return execution

    def _end(self, execution: LoopExecution, index: int, error: BaseException | None, result: Any = None) -> None:
        """A job has ended; `result` is what its handler returned."""
        self._jobs.pop((execution, index), None)
        execution.end(index, self._clock(), error, result)
        self._end_if_over(execution)

    def _end_if_over(self, execution: LoopExecution) -> None:
        if execution.can_begin:
            self._resumed.append(execution)
        elif execution.over and execution in self._running:
            del self._running[execution]
            self._ended.append(execution)
            if len(self._waiting) < self.wake_below:
                self._wake()

    def _end_lost(self) -> None:
        """End the jobs that have begun and have no handle: an exception hit just before they got one."""
        for execution in list(self._running):
            execution.end_lost([index for of, index in list(self._jobs) if of is execution], self._clock())
            self._end_if_over(execution)

    def _cancel(self, execution: LoopExecution, failure: FailedAttempt) -> None:
        handle = self._jobs.get((execution, execution.index_of(failure.offset)))
        if handle is not None and execution.time_out(failure, self._clock()):
            self._interrupt(handle)

    def _end_in_child(self) -> None:
        self._forked = True
        self._waiting.clear()
        for execution in self._running:
            execution.end_in_child()

    # -- which job keeps the thread

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._ident)

    def _job_in_thread(self) -> Key | None:
        """The job whose handler is executing now: its frame is on the thread's stack."""
        frame = self._frame()
        while frame is not None:
            if frame.f_code is self._code:
                return frame.f_locals["execution"], frame.f_locals["index"]
            frame = frame.f_back
        return None


def _drained(queue: deque[Any]) -> list[Any]:
    found = []
    while queue:
        try:
            found.append(queue.popleft())
        except IndexError:  # the other thread was quicker
            break
    return found
