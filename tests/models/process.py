"""Simulated processes: threads that live, stall and die together, on a clock of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

from greenlet import GreenletExit, greenlet
from models.scheduler import Scheduler


class Killed(GreenletExit):
    """Ends a thread of a killed process, wherever it is."""


class Process:
    """Its clock is `skew` seconds ahead of the scheduler's: monotonic clocks of two machines cannot be compared."""

    def __init__(self, scheduler: Scheduler, name: str, skew: float = 0.0) -> None:
        self.scheduler = scheduler
        self.name = name
        self.alive = True
        self.stalled = False
        self.holds = False  # one of its threads holds the interpreter lock, so that no other takes a step
        self.steps_left: int | None = None  # until it is killed in the middle of something; None: it is not
        self.on_last_step: Callable[[], object] = lambda: None
        self._skew = skew
        self._tasks: list[Task] = []
        self._deferred: list[Callable[[], object]] = []

    def clock(self) -> float:
        if self.steps_left is not None:
            self.step()
        return self.scheduler.now + self._skew

    def step(self) -> None:
        """A point at which it may be killed."""
        if not self.alive:
            raise Killed
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self.on_last_step()
                self.kill()
                raise Killed

    def spawn(self, target: Callable[[], object]) -> Task:
        task = Task(self, target)
        self._tasks = [one for one in self._tasks if not one.ended] + [task]
        task.begin()
        return task

    def stall(self) -> None:
        """SIGSTOP."""
        self.stalled = True

    def hold(self) -> None:
        """The running thread takes the interpreter lock, and keeps it."""
        self.stalled = self.holds = True

    def let_go(self) -> None:
        """It gives up the lock."""
        self.holds = False
        self.resume()

    def resume(self) -> None:
        """SIGCONT."""
        if self.stalled and not self.holds:
            self.stalled = False
            deferred, self._deferred = self._deferred, []
            for action in deferred:
                self.scheduler.soon(action)

    def kill(self) -> None:
        """None of its threads takes another step."""
        if self.alive:
            self.alive = False
            self.scheduler.after(0.0, self.reap)

    def defer(self, action: Callable[[], object]) -> None:
        """Until it resumes."""
        self._deferred.append(action)

    def reap(self) -> None:
        """End its threads; not to be called by one of them."""
        for task in self._tasks:
            task.end()


class Task:
    """One thread of a process."""

    def __init__(self, process: Process, target: Callable[[], object]) -> None:
        self.process = process
        self.ended = False
        self._scheduler = process.scheduler
        self._greenlet = greenlet(target, parent=self._scheduler.main)
        self._pauses = 0  # a wake-up is meant for one of them only
        self._paused = True

    def begin(self) -> None:
        self._scheduler.soon(partial(self._resume, self._pauses))

    def pause(self, until: float = inf) -> None:
        """Until it is woken, or until that time."""
        if not self.process.alive:
            raise Killed
        self._pauses += 1
        self._paused = True
        if until < inf:
            self._scheduler.at(max(until, self._scheduler.now), partial(self._resume, self._pauses))
        self._scheduler.main.switch()

    def wake(self) -> None:
        if self._paused and not self.ended:
            self._scheduler.soon(partial(self._resume, self._pauses))

    def end(self) -> None:
        if not self.ended:
            self._enter(partial(self._greenlet.throw, Killed))

    def _resume(self, pause: int) -> None:
        if pause != self._pauses or not self._paused or not self.process.alive:
            return
        if self.process.stalled:
            self.process.defer(partial(self._resume, pause))
            return
        self._paused = False
        self._enter(self._greenlet.switch)

    def _enter(self, switch: Callable[[], object]) -> None:
        self._scheduler.task = self
        switch()
        self._scheduler.task = None
        self.ended = self._greenlet.dead
