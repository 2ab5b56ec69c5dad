"""Where the handler runs: threads that take slices from a queue. It knows nothing of the master."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from gevent.threadpool import ThreadPool

from taskmaster.slave.slice import Slice


class Pool:
    """`threads` long-lived loops inside a gevent ThreadPool; make and close it in the main thread.

    A call into the ThreadPool for each job would cost 15 us, a loop that takes slices costs a no-op 0.1 us.
    """

    def __init__(self, handler: Callable[[Any], Any], threads: int, clock: Callable[[], float],
                 wake: Callable[[], None]) -> None:
        self.threads = threads
        self.awaited = 0  # wake at the end of a slice when no more than this wait; below 0, never
        self._handler = handler
        self._clock = clock
        self._wake = wake
        self._waiting: SimpleQueue[Slice | None] = SimpleQueue()
        self._ended: SimpleQueue[Slice] = SimpleQueue()
        self._running: list[Slice | None] = [None] * threads
        self._idents: list[int] = [0] * threads
        self._pool = ThreadPool(threads)
        for number in range(threads):
            self._pool.spawn(self._loop, number)

    def put(self, work: Slice) -> None:
        self._waiting.put(work)

    @property
    def waiting(self) -> int:
        """How many slices no thread has taken yet."""
        return self._waiting.qsize()

    def running(self) -> list[Slice]:
        """The slices that threads are at."""
        return [work for work in self._running if work is not None]

    def ended(self) -> list[Slice]:
        """The slices that came to their end since the last call."""
        return _drained(self._ended)

    def take_back(self) -> list[Slice]:
        """The slices that no thread has taken yet; none will."""
        return _drained(self._waiting)

    def stack_of(self, work: Slice) -> str:
        """Where the thread that runs this slice is now."""
        if work not in self._running:
            return ""
        frame = sys._current_frames().get(self._idents[self._running.index(work)])
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def close(self) -> None:
        """Let the threads end after what they are running; does not wait for them."""
        for _ in range(self.threads):
            self._waiting.put(None)

    def _loop(self, number: int) -> None:
        import threading

        self._idents[number] = threading.get_ident()
        while (work := self._waiting.get()) is not None:
            self._running[number] = work
            work.run(self._handler, self._clock)
            self._running[number] = None
            self._ended.put(work)
            if self._waiting.qsize() <= self.awaited:
                self._wake()


def _drained(queue: SimpleQueue[Any]) -> list[Any]:
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found
