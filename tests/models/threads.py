"""What the shipped threads wait with, on simulated time; in place of `threading` and `queue`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from models.process import Process, Task


class _Waiters:
    """The threads that wait here."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._tasks: list[Task] = []

    def _wait(self, until: float = inf) -> None:
        task = self._process.scheduler.task
        assert task is not None
        self._tasks.append(task)
        task.pause(until)
        if task in self._tasks:
            self._tasks.remove(task)

    def _wake(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.wake()


class Condition(_Waiters):
    """Without a lock: no other thread runs between two pauses."""

    def __enter__(self) -> Condition:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def wait_for(self, fact: Callable[[], object]) -> None:
        while not fact():
            self._wait()

    def notify(self) -> None:
        self._wake()


class Event(_Waiters):
    """Set or not; also serves as the loops' waker."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.is_set = False

    def set(self) -> None:
        self.is_set = True
        self._wake()

    def clear(self) -> None:
        self.is_set = False

    def wait(self, seconds: float = inf) -> None:
        """Until it is set, at most so long."""
        if not self.is_set:
            self._wait(self._process.scheduler.now + seconds)

    wake = set

    def attach(self, task: Task) -> None:
        """Setting it wakes this task, too."""
        if task not in self._tasks:
            self._tasks.append(task)

    def detach(self, task: Task) -> None:
        if task in self._tasks:
            self._tasks.remove(task)

    def close(self) -> None:
        """There is nothing to release."""


class Thread(_Waiters):
    """Can be started once."""

    def __init__(self, process: Process, target: Callable[[], object]) -> None:
        super().__init__(process)
        self.ident: int | None = None
        self._target = target
        self._ended = False

    def start(self) -> None:
        self.ident = 1
        self._process.spawn(self._run)

    def join(self, seconds: float = inf) -> None:
        until = self._process.scheduler.now + seconds
        while not self._ended and self._process.scheduler.now < until:
            self._wait(until)

    def is_alive(self) -> bool:
        return self.ident is not None and not self._ended

    def _run(self) -> None:
        self._target()
        self._ended = True
        self._wake()


class Queue(_Waiters):
    """A `SimpleQueue`."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._wake()

    def get(self) -> Any:
        while not self._items:
            self._wait()
        return self._items.popleft()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def drained(self) -> list[Any]:
        """Empties it."""
        items = list(self._items)
        self._items.clear()
        return items
