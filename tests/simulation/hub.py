"""Simulated time: a heap of events, and processes whose threads are greenlets that the hub resumes one at a time.

It knows nothing of masters and slaves. A thread runs until it pauses, so a run is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from math import inf
from random import Random

from greenlet import GreenletExit, getcurrent, greenlet
from simulation.broken import Broken, must

SWITCH_SECONDS = 2e-4  # within which a thread that was woken runs
SPIN_EVENTS = 20_000  # in one simulated second: somebody is busy with nothing


class Killed(GreenletExit):
    """Ends a thread of a process that was killed, wherever it is."""


class Hub:
    """`at` and `after` plan, `run` plays."""

    def __init__(self, chance: Random) -> None:
        self.now = 0.0
        self.chance = chance
        self.task: Task | None = None  # that runs now
        self.main = getcurrent()
        self.events = 0
        self.broken: Broken | None = None  # found in a thread, whose code may take it for an error of its own
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = 0
        self._second_ends = 1.0
        self._second_began = 0  # with which event

    def at(self, time: float, action: Callable[[], object]) -> None:
        self._order += 1
        heappush(self._heap, (time, self._order, action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.at(self.now + seconds, action)

    def soon(self, action: Callable[[], object]) -> None:
        """As a scheduler would: shortly, and in any order with what else is due."""
        self.at(self.now + self.chance.random() * SWITCH_SECONDS, action)

    def run(self, over: Callable[[], bool]) -> None:
        """Until `over`, or until nothing is planned."""
        while self._heap and not over():
            time, _, action = heappop(self._heap)
            self.now = max(self.now, time)
            self._mind_spinning()
            action()
            if self.broken is not None:
                raise self.broken

    def sleep(self, seconds: float) -> None:
        """In a thread: let others go on meanwhile."""
        assert self.task is not None
        self.task.pause(self.now + seconds)

    def _mind_spinning(self) -> None:
        self.events += 1
        if self.now >= self._second_ends:
            self._second_ends, self._second_began = self.now + 1.0, self.events
        must(self.events - self._second_began < SPIN_EVENTS, "I13: somebody spins")


class Process:
    """Threads that live, stall and die together, on a clock of their own."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.alive = True
        self.stalled = False
        self.fuse: int | None = None  # so many steps until it is killed in the middle of one
        self.burned: Callable[[], object] = lambda: None
        self._skew = hub.chance.uniform(0.0, 50_000.0)  # monotonic clocks of two hosts say nothing of each other
        self._tasks: list[Task] = []
        self._deferred: list[Callable[[], object]] = []

    def clock(self) -> float:
        if self.fuse is not None:
            self.step()
        return self.hub.now + self._skew

    def step(self) -> None:
        """A point at which it may be killed."""
        if not self.alive:
            raise Killed
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.burned()
                self.kill()
                raise Killed

    def spawn(self, target: Callable[[], object]) -> Task:
        task = Task(self, target)
        self._tasks = [one for one in self._tasks if not one.ended] + [task]
        task.begin()
        return task

    def stall(self) -> None:
        """SIGSTOP, or one of its threads keeps the interpreter lock."""
        self.stalled = True

    def go_on(self) -> None:
        if self.stalled:
            self.stalled = False
            deferred, self._deferred = self._deferred, []
            for action in deferred:
                self.hub.soon(action)

    def kill(self) -> None:
        """None of its threads takes another step."""
        if self.alive:
            self.alive = False
            self.hub.after(0.0, self.reap)

    def defer(self, action: Callable[[], object]) -> None:
        self._deferred.append(action)

    def reap(self) -> None:
        """End its threads; from the hub."""
        for task in self._tasks:
            task.end()


class Task:
    """One thread of a process."""

    def __init__(self, process: Process, target: Callable[[], object]) -> None:
        self.process = process
        self.ended = False
        self._target = target
        self._hub = process.hub
        self._greenlet = greenlet(self._run, parent=self._hub.main)
        self._turn = 0  # counts its pauses: a wake-up serves one of them only
        self._paused = True

    def begin(self) -> None:
        self._hub.soon(partial(self._resume, self._turn))

    def pause(self, until: float = inf) -> None:
        """Until it is woken, or until that time."""
        if not self.process.alive:
            raise Killed
        self._turn += 1
        self._paused = True
        if until < inf:
            self._hub.at(max(until, self._hub.now), partial(self._resume, self._turn))
        self._hub.main.switch()

    def wake(self) -> None:
        if self._paused and not self.ended:
            self._hub.soon(partial(self._resume, self._turn))

    def end(self) -> None:
        if not self.ended:
            self._in_it(partial(self._greenlet.throw, Killed))

    def _resume(self, turn: int) -> None:
        if turn != self._turn or not self._paused or not self.process.alive:
            return
        if self.process.stalled:
            self.process.defer(partial(self._resume, turn))
            return
        self._paused = False
        self._in_it(self._greenlet.switch)

    def _in_it(self, enter: Callable[[], object]) -> None:
        self._hub.task = self
        enter()
        self._hub.task = None
        self.ended = self._greenlet.dead

    def _run(self) -> None:
        self._target()
