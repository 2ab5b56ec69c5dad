"""Services that exist in simulated time, and slaves whose jobs are requests to them: what `auto` is tried against."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import exp, inf
from random import Random

from taskmaster import defaults
from taskmaster.core.auto_limit import AutoLimit
from taskmaster.core.concurrency import Reading


@dataclass
class Service:
    """Works on `capacity` requests at once, `seconds` for each; the others wait for their turn, or fail if it `fails`.

    Times are spread by a log-normal distribution with `sigma`, and a share of the requests is `long`: a hundred times
    as long. One that `slows` down takes longer the more requests it has: twice as long at its capacity.
    """

    capacity: float = inf
    seconds: float = 0.2
    sigma: float = 0.0
    long: float = 0.0
    fails: bool = False
    slows: bool = False
    errors: float = 0.0  # the share of requests that fail whatever the load

    @property
    def best(self) -> float:
        """Requests/s at most."""
        return self.capacity / (self.seconds * (1 + 99 * self.long))


class World:
    """One service, and the slaves that use it. `run` lets time pass."""

    FAIL_SECONDS = 0.01

    def __init__(self, service: Service, *starts: float, most: int = 1000, seed: int = 1) -> None:
        self.now = 0.0
        self.service = service
        self.slaves = [Slave(self, AutoLimit(most, at)) for at in starts or (0.0,)]
        self._chance = Random(seed)
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = self._inside = 0
        self._waiting: deque[Callable[[], object]] = deque()
        for slave, at in zip(self.slaves, starts or (0.0,)):
            self.at(at, slave.look)

    @property
    def limits(self) -> list[int]:
        return [slave.policy.limit for slave in self.slaves]

    def at(self, time: float, act: Callable[[], object]) -> None:
        self._count += 1
        heappush(self._events, (time, self._count, act))

    def run(self, until: float) -> Sum:
        """What comes of the requests that end until then."""
        before = Sum.of(self.slaves, self.now)
        while self._events[0][0] <= until:
            self.now, _, act = heappop(self._events)
            act()
        self.now = until
        return Sum.of(self.slaves, until).since(before)

    def request(self, end: Callable[[bool], object]) -> None:
        """One arrives; `end` is called with whether it failed."""
        if self._chance.random() < self.service.errors:
            self.at(self.now + self.service.seconds, lambda: end(True))
        elif self._inside < self.service.capacity or self.service.slows:
            self._serve(end)
        elif self.service.fails:
            self.at(self.now + self.FAIL_SECONDS, lambda: end(True))
        else:
            self._waiting.append(lambda: self._serve(end))

    def _serve(self, end: Callable[[bool], object]) -> None:
        self._inside += 1
        self.at(self.now + self._seconds(), lambda: self._leave(end))

    def _seconds(self) -> float:
        service = self.service
        seconds = service.seconds * (100 if self._chance.random() < service.long else 1)
        if service.slows:
            seconds *= 1 + self._inside / service.capacity
        return seconds * exp(self._chance.gauss(-service.sigma ** 2 / 2, service.sigma))

    def _leave(self, end: Callable[[bool], object]) -> None:
        self._inside -= 1
        while self._waiting and self._inside < self.service.capacity:
            self._waiting.popleft()()
        end(False)


class Slave:
    """Runs as many requests as its policy allows, and looks as often as a real one."""

    def __init__(self, world: World, policy: AutoLimit) -> None:
        self.policy = policy
        self.handled = self.failed = self.running = 0
        self.seconds = 0.0
        self.jobs = inf  # left to run
        self._world = world

    def look(self) -> None:
        now = self._world.now
        self.policy.observe(Reading(now, 0.0, self.running, 5, self.handled, self.failed, self.seconds))
        self._fill()
        self._world.at(now + defaults.WATCH_SECONDS, self.look)

    def _fill(self) -> None:
        while self.running < self.policy.limit and self.jobs:
            self.running += 1
            self.jobs -= 1
            began = self._world.now
            self._world.request(lambda failed, began=began: self._end(failed, began))  # type: ignore[misc]

    def _end(self, failed: bool, began: float) -> None:
        self.running -= 1
        self.seconds += self._world.now - began
        self.handled += not failed
        self.failed += failed
        self._fill()


@dataclass(frozen=True)
class Sum:
    """What came of some slaves' requests."""

    at: float
    handled: int
    failed: int
    seconds: float

    @classmethod
    def of(cls, slaves: Sequence[Slave], at: float) -> Sum:
        return cls(at, sum(one.handled for one in slaves), sum(one.failed for one in slaves),
                   sum(one.seconds for one in slaves))

    def since(self, before: Sum) -> Sum:
        return Sum(self.at - before.at, self.handled - before.handled, self.failed - before.failed,
                   self.seconds - before.seconds)

    @property
    def rate(self) -> float:
        """Requests/s that were handled."""
        return self.handled / self.at

    @property
    def latency(self) -> float:
        """Seconds, on average."""
        return self.seconds / (self.handled + self.failed)
