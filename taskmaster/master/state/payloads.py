"""The thread in which a master decodes jobs, because decoding an object runs the user's code."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from taskmaster import defaults
from taskmaster.errors import LimitReached
from taskmaster.native import Flag, SimpleQueue, Thread

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class PayloadReader:
    """Runs functions that unpickle, reduce or show payloads, and waits up to `seconds` for each result.

    Whatever those functions raise, and however long they take, neither the server's loop nor the state writer is held
    up. While one of them is still running after its time is up, further calls return at once without a result.
    """

    def __init__(self, seconds: float = defaults.PAYLOAD_SECONDS) -> None:
        self._seconds = seconds
        self._requests: SimpleQueue[_Request[Any, Any]] = SimpleQueue()
        self._latest: _Request[Any, Any] | None = None
        self._thread: Thread | None = None

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result | None]:
        """`function(item)` for each item, None where it raised, and None from the first item on that took too long.

        Call it from one thread at a time.
        """
        if not items or self._latest is not None and not self._latest.done.is_set():
            return [None] * len(items)
        if not self._start_once():
            return [None] * len(items)
        self._latest = request = _Request(function, items)
        self._requests.put(request)
        results = request.wait(self._seconds)
        if not request.done.is_set():
            log.warning("Decoding a job in the master takes longer than %g s. Meanwhile, checkpoints have no digest, "
                        "and failed jobs are recorded without being decoded.", self._seconds)
        return results

    def _start_once(self) -> bool:
        if self._thread is None:
            thread = Thread(target=self._run, name="payload-reader")
            try:
                thread.start()
            except LimitReached as error:
                log.warning("Jobs are not decoded in the master: %s", error)
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            self._requests.get().run()


class _Request(Generic[Item, Result]):
    """The items of one call: `run` in the reader's thread, `wait` in the caller's."""

    def __init__(self, function: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self.done = Flag()
        self._function = function
        self._items = items
        self._results: list[Result | None] = []
        self._given_up = False

    def run(self) -> None:
        for item in self._items:
            if self._given_up:
                break
            self._results.append(self._result_of(item))
        self.done.set()

    def wait(self, seconds: float) -> list[Result | None]:
        seen = -1
        while not self.done.is_set() and len(self._results) > seen:
            seen = len(self._results)
            self.done.wait(seconds)
        self._given_up = True
        found = self._results[:]  # a copy: the item that is being read may still be appended
        return found + [None] * (len(self._items) - len(found))

    def _result_of(self, item: Item) -> Result | None:
        try:
            return self._function(item)
        except BaseException:  # the user's code may even call sys.exit(), which must end neither this thread nor a run
            return None
