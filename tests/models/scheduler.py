"""Simulated time: a heap of events, played in order. A run is a function of its seed.

The scheduler knows nothing of masters and slaves. Threads are greenlets (see `process`); exactly one runs at a time,
until it pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent
from models.broken import Broken, must

if TYPE_CHECKING:
    from models.process import Task

SWITCH_SECONDS = 2e-4  # within which a thread that was woken runs


class Scheduler:
    """`at`, `after` and `soon` plan events, `run` plays them."""

    MOST_EVENTS = 20_000  # in one simulated second; with more, some loop spins

    def __init__(self, chance: Random) -> None:
        self.now = 0.0
        self.chance = chance
        self.task: Task | None = None  # the one that is running
        self.main = getcurrent()
        self.events = 0
        self.broken: Broken | None = None  # raised in a thread, where the code under test may have caught it
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = 0
        self._second_ends = 1.0
        self._second_began = 0  # the number of events before this second

    def at(self, time: float, action: Callable[[], object]) -> None:
        self._order += 1
        heappush(self._heap, (time, self._order, action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.at(self.now + seconds, action)

    def soon(self, action: Callable[[], object]) -> None:
        """As an operating system does: shortly, in any order with whatever else is due."""
        self.at(self.now + self.chance.random() * SWITCH_SECONDS, action)

    def run(self, over: Callable[[], bool]) -> None:
        """Until `over`, or until nothing is planned. Raises Broken."""
        while self._heap and not over():
            time, _, action = heappop(self._heap)
            self.now = max(self.now, time)
            self._count_event()
            action()
            if self.broken is not None:
                raise self.broken

    def sleep(self, seconds: float) -> None:
        """Called by a thread: lets the others run meanwhile."""
        assert self.task is not None
        self.task.pause(self.now + seconds)

    def _count_event(self) -> None:
        self.events += 1
        if self.now >= self._second_ends:
            self._second_ends, self._second_began = self.now + 1.0, self.events
        must(self.events - self._second_began < self.MOST_EVENTS, "I13: a loop spins")


def loud(method: Callable[..., None]) -> Callable[..., None]:
    """Reports a broken invariant to the method's scheduler as well: the shipped code around it catches exceptions."""

    @wraps(method)
    def reported(self: Any, *arguments: Any) -> None:
        try:
            method(self, *arguments)
        except Broken as found:
            self.scheduler.broken = self.scheduler.broken or found
            raise

    return reported
