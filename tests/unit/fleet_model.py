"""A fleet at work in simulated time: how long it takes, who holds how much, how soon a job is begun.

A model, not a test. What ships decides: the real Dispatcher, Window, Agent and PullSize, and each slave's real control
loop and slices, every loop in a greenlet of its own that sleeps in simulated time. Played here are the network, the
threads, the interpreter's lock, the source and the master's loop, and what all of these cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush, heapreplace
from itertools import accumulate, count
from math import ceil, inf
from typing import cast

from greenlet import getcurrent, greenlet

from taskmaster import defaults
from taskmaster.core.agent import Agent, Patience
from taskmaster.core.codec import Batch, encode_plain
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Effect, Send
from taskmaster.core.pull_size import PullSize
from taskmaster.core.session import Route
from taskmaster.core.window import Window
from taskmaster.defaults import MESSAGES_AT_ONCE, OVERDUE_SECONDS, QUEUED_BYTES
from taskmaster.slave.control import Control
from taskmaster.slave.pools.sequential import SequentialExecution
from taskmaster.slave.slice import Slice
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.waker import Waker

# What things cost, in seconds.
REQUEST = 60e-6  # the master's work on one request: 16,000 a second
TURN = 50e-6  # one turn of a slave's control loop, under its interpreter's lock
HOP = 60e-6  # the network, one way
WAKE = 20e-6  # from a ring to the turn it causes
SWITCH = 0.005  # a thread gives up the interpreter's lock after so long, when another waits for it
PULL = 5e-8  # one step of a generator
COMPUTES = 5e-5  # a job that takes less only computes, and so holds the lock
SAMPLE = 0.02  # between looks at who holds how much


@dataclass(frozen=True, repr=False)
class Work:
    """What is to be done: each job's seconds, of waiting unless they only compute; `pull` is the source's pace."""

    seconds: Sequence[float]
    computing: bool = False
    pull: float = PULL

    def computes(self, seconds: float) -> bool:
        return self.computing or seconds < COMPUTES


@dataclass(frozen=True)
class Fleet:
    """Who does it: slaves of so many threads, `hop` seconds away, the first `slow` of which take ten times as long."""

    slaves: int
    threads: int = defaults.CONCURRENCY
    slow: int = 0
    hop: float = HOP
    size: int = defaults.WINDOW_JOBS

    def factor(self, slave: int) -> float:
        return 10.0 if slave < self.slow else 1.0


def ideal_seconds(work: Work, fleet: Fleet) -> float:
    """What one queue takes that costs nothing: each job goes, in order, to the thread that is free first."""
    slaves = range(fleet.slaves)
    computed = sum(filter(work.computes, work.seconds)) / sum(1 / fleet.factor(slave) for slave in slaves)
    free = [(0.0, fleet.factor(slave)) for slave in slaves for _ in range(fleet.threads)]
    for offset, seconds in enumerate(work.seconds):
        if not work.computes(seconds):
            at, factor = free[0]
            heapreplace(free, (max(at, offset * work.pull) + seconds * factor, factor))
    return max(computed + max(free)[0], len(work.seconds) * work.pull)


@dataclass(repr=False)
class Run:
    """What came of it; all seconds are since the start."""

    seconds: float = 0.0  # until everything is settled: the makespan
    requests: int = 0
    returned: int = 0  # jobs that came back unstarted
    pulled: list[float] = field(default_factory=list)  # when each job left the source
    began: list[float] = field(default_factory=list)  # and when its handler was called
    begun: int = 0  # calls of handlers
    busy: list[float] = field(default_factory=list)  # each slave's thread seconds
    slow: list[list[float]] = field(default_factory=list)  # when each slave's jobs of LEASE_SECONDS or more ended
    held: list[tuple[float, int, float]] = field(default_factory=list)  # when, which slave, seconds of unstarted work


class Over(BaseException):
    """The simulation has ended: leave."""


class Simulation:
    """Simulated time, and the loops that sleep in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.over = False
        self._hub = getcurrent()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._loops: list[greenlet] = []

    def clock(self) -> float:
        return self.now

    def spawn(self, loop: Callable[[], None]) -> None:
        self._loops.append(greenlet(partial(self._live, loop), parent=self._hub))
        self.after(0.0, self._loops[-1].switch)

    @staticmethod
    def _live(loop: Callable[[], None]) -> None:
        try:
            loop()
        except Over:
            pass

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        heappush(self._due, (self.now + seconds, next(self._order), action))

    def sleep(self, seconds: float) -> None:
        """Returns at once when all is over: a handler must not raise, for its slice would take that for a failure."""
        if not self.over:
            self.after(seconds, getcurrent().switch)
            self._hub.switch()

    def park(self) -> None:
        """Until somebody switches back to this loop."""
        if not self.over:
            self._hub.switch()
        if self.over:
            raise Over

    def run(self, done: Callable[[], bool], most: float) -> bool:
        """Until `done`, or for `most` seconds; returns whether it is."""
        while self._due and not done() and self.now < most:
            self.now, _, action = heappop(self._due)
            action()
        finished, self.over = done(), True
        for loop in self._loops:
            while not loop.dead:
                loop.switch()
        return finished


class Bell:
    """What one loop waits for and others ring."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._sleeper: greenlet | None = None
        self._waits = 0
        self._is_set = False

    def wake(self) -> None:
        if not self._is_set:
            self._is_set = True
            self._simulation.after(WAKE, partial(self._wake, self._waits))

    def clear(self) -> None:
        self._is_set = False

    def wait(self, seconds: float) -> None:
        """Until it rings, at most so long."""
        if self._is_set or seconds <= 0:
            return
        self._sleeper = getcurrent()
        if seconds < inf:
            self._simulation.after(seconds, partial(self._wake, self._waits))
        self._simulation.park()

    def _wake(self, wait: int) -> None:
        if self._sleeper is not None and wait == self._waits:
            sleeper, self._sleeper = self._sleeper, None
            self._waits += 1
            sleeper.switch()


class Lock:
    """A slave's interpreter lock: who computes waits his turn."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._free_at = 0.0

    def hold(self, seconds: float) -> None:
        now = self._simulation.now
        self._free_at = max(self._free_at, now) + seconds
        self._simulation.sleep(self._free_at - now)


class Threads:
    """A slave's pool: threads that take slices as those of `taskmaster.slave.pools.threads` do."""

    def __init__(self, model: Model, number: int, wake: Callable[[], None]) -> None:
        self.slots = model.fleet.threads
        self.lock = Lock(model.simulation)
        self._model = model
        self._number = number
        self._factor = model.fleet.factor(number)
        self._wake = wake
        self.wake_below = 1
        self._waiting: deque[Slice] = deque()
        self._ended: list[SequentialExecution] = []
        self._running: list[SequentialExecution | None] = [None] * self.slots
        self._idle: list[greenlet] = []
        for thread in range(self.slots):
            model.simulation.spawn(partial(self._loop, thread))

    def put(self, work: Slice) -> None:
        self._waiting.append(work)
        if self._idle:
            self._model.simulation.after(0.0, self._idle.pop().switch)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def idle(self) -> int:
        return self._running.count(None)

    def running(self) -> list[SequentialExecution]:
        return [work for work in self._running if work is not None]

    def ended(self) -> list[SequentialExecution]:
        ended, self._ended = self._ended, []
        return ended

    def take_back(self) -> list[Slice]:
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def unstarted(self) -> float:
        """Seconds until the last of the jobs that wait here could begin, if no other slave took any."""
        sums = self._model.sums
        behind = [sums[work.first + work.count] - sums[work.first + work.started] for work in self.running()]
        waiting = sum(sums[work.first + work.count] - sums[work.first] for work in self._waiting)
        return self._factor * max([(waiting + sum(behind)) / self.slots, *behind])

    def _loop(self, thread: int) -> None:
        simulation = self._model.simulation
        debt = [0.0]  # seconds computed and not yet paid for in simulated time: the lock is kept from job to job
        while True:
            while not self._waiting:
                self._idle.append(getcurrent())
                simulation.park()
            execution = SequentialExecution(self._waiting.popleft(), simulation.now + debt[0])
            self._running[thread] = execution
            execution.run(lambda offset: self._handle(offset, debt), lambda: simulation.now + debt[0])
            if not self._waiting:
                self.lock.hold(debt[0])
                debt[0] = 0.0
            self._running[thread] = None
            self._ended.append(execution)
            if len(self._waiting) < self.wake_below:
                self._wake()

    def _handle(self, offset: int, debt: list[float]) -> None:
        seconds = self._model.begin(self._number, offset) * self._factor
        if self._model.work.computes(self._model.work.seconds[offset]):
            debt[0] += seconds
            while debt[0] >= SWITCH:
                debt[0] -= SWITCH
                self.lock.hold(SWITCH)
        else:
            self._model.simulation.sleep(seconds)
        if seconds >= defaults.LEASE_SECONDS:
            self._model.run.slow[self._number].append(self._model.simulation.now)


class Wire:
    """A slave's socket and waker; the master's answers come by `deliver`."""

    address = "simulated"

    def __init__(self, model: Model, number: int) -> None:
        self._model = model
        self._bell = Bell(model.simulation)
        self._route = (b"%d" % number, b"")
        self._inbox: deque[list[bytes]] = deque()
        self.wake = self._bell.wake
        self.clear = self._bell.clear
        self.lock: Lock | None = None

    def register(self, waker: object) -> None:
        pass

    def wait(self, seconds: float) -> None:
        """The turn so far is paid for first. A poll counts whole milliseconds."""
        assert self.lock is not None
        self.lock.hold(TURN)
        if self._model.simulation.over:
            raise Over
        if not self._inbox:
            self._bell.wait(ceil(max(0.0, min(seconds, 60.0)) * 1000) / 1000)

    def send(self, frames: list[bytes]) -> None:
        self._model.simulation.after(self._model.fleet.hop, partial(self._model.master.deliver, self._route, frames))

    def returned(self) -> bool:
        return False

    def receive(self) -> list[bytes] | None:
        return self._inbox.popleft() if self._inbox else None

    def deliver(self, frames: list[bytes]) -> None:
        self._inbox.append(frames)
        self._bell.wake()

    def close(self) -> None:
        pass


class Master:
    """The server's loop and the feeder's around a real dispatcher."""

    def __init__(self, model: Model) -> None:
        self.window = Window(0, model.fleet.size, defaults.WINDOW_BYTES, defaults.ATTEMPTS)
        self.dispatcher = Dispatcher(self.window, "run", 1)
        self._model = model
        self._simulation = model.simulation
        self._bell = Bell(model.simulation)
        self._inbox: deque[tuple[Route, list[bytes]]] = deque()
        self._pulls: deque[Batch] = deque()
        self._queued_bytes = 0
        self._allowed = 0
        self._room = Bell(model.simulation)
        model.simulation.spawn(self._serve)
        model.simulation.spawn(self._feed)

    @property
    def done(self) -> bool:
        return self.window.watermark == len(self._model.work.seconds)

    def deliver(self, route: Route, frames: list[bytes]) -> None:
        self._inbox.append((route, frames))
        self._bell.wake()

    def _serve(self) -> None:
        simulation, dispatcher = self._simulation, self.dispatcher
        while not simulation.over:
            if not self._inbox and not self._pulls:
                self._bell.wait(dispatcher.next_due(simulation.now) - simulation.now)
            self._bell.clear()
            for _ in range(min(MESSAGES_AT_ONCE, len(self._inbox))):
                self._model.run.requests += 1
                simulation.sleep(REQUEST)
                self._perform(dispatcher.receive(*self._inbox.popleft(), simulation.now))
            self._admit()
            self._perform(dispatcher.tick(simulation.now))

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                answered = self._model.wires[int(effect.route[0])]
                self._simulation.after(self._model.fleet.hop, partial(answered.deliver, effect.frames))

    def _admit(self) -> None:
        while self._pulls:
            batch = self._pulls.popleft()
            self._queued_bytes -= batch.size
            self._perform(self.dispatcher.admit(batch, None, self._simulation.now))
        self._allowed = self.window.head + self.window.room(self._simulation.now)
        self._room.wake()

    def _feed(self) -> None:
        size, pulled, end = PullSize(), 0, len(self._model.work.seconds)
        while pulled < end:
            while self._allowed <= pulled or self._queued_bytes >= QUEUED_BYTES:
                self._room.wait(inf)
                self._room.clear()
            want, began = min(size.jobs, self._allowed - pulled, end - pulled), self._simulation.now
            weight = self._pull(range(pulled, pulled + want))
            pulled += want
            size.took(want, self._simulation.now - began, weight)

    def _pull(self, offsets: range) -> int:
        """What came is handed over when it has taken OVERDUE_SECONDS; returns the bytes."""
        pace, weight = self._model.work.pull, 0
        at_once = max(1, int(OVERDUE_SECONDS / pace))
        for at in range(0, len(offsets), at_once):
            part = list(offsets[at:at + at_once])
            self._simulation.sleep(len(part) * pace)
            self._model.run.pulled += [self._simulation.now] * len(part)
            weight += self._hand_over(part)
        return weight

    def _hand_over(self, offsets: list[int]) -> int:
        batch = encode_plain(offsets, "pickle", defaults.JOB_BYTES)
        assert batch is not None
        self._pulls.append(batch)
        self._queued_bytes += batch.size
        self._bell.wake()
        return batch.size


class Model:
    """One run of some work by a fleet; a job's payload is its offset."""

    def __init__(self, work: Work, fleet: Fleet) -> None:
        self.work = work
        self.fleet = fleet
        self.simulation = Simulation()
        self.sums = [0.0, *accumulate(work.seconds)]
        self.run = Run(began=[inf] * len(work.seconds), busy=[0.0] * fleet.slaves,
                       slow=[[] for _ in range(fleet.slaves)])
        self.master = Master(self)
        self.wires: list[Wire] = []
        self._pools: list[Threads] = []
        for number in range(fleet.slaves):
            self._enlist(number)
        self.simulation.spawn(self._sample)

    def simulate(self) -> Run:
        """All of it; AssertionError if that takes ten times as long as it could, or if a job is handled twice."""
        most = 1 + 10 * ideal_seconds(self.work, self.fleet)
        assert self.simulation.run(lambda: self.master.done, most), f"not done after {most:.1f} simulated seconds"
        assert self.run.begun == len(self.work.seconds), f"{self.run.begun} calls for {len(self.work.seconds)} jobs"
        self.run.seconds = self.simulation.now
        self.run.returned = self.master.dispatcher.counts.returned
        return self.run

    def begin(self, slave: int, offset: int) -> float:
        """A handler was called; returns how long it takes."""
        if self.simulation.over:
            return 0.0
        seconds = self.work.seconds[offset]
        self.run.begun += 1
        self.run.began[offset] = self.simulation.now
        self.run.busy[slave] += seconds
        return seconds

    def _enlist(self, number: int) -> None:
        wire = Wire(self, number)
        pool = Threads(self, number, wire.wake)
        wire.lock = pool.lock
        agent = Agent(f"slave{number}", self.fleet.threads, {"host": "box", "pid": number}, Patience(), 0.0)
        control = Control(agent, cast(Dialer, wire), pool, cast(Waker, wire), self.simulation.clock)
        self.wires.append(wire)
        self._pools.append(pool)
        self.simulation.spawn(control.run)

    def _sample(self) -> None:
        while not self.simulation.over:
            self.simulation.sleep(SAMPLE)
            now = self.simulation.now
            self.run.held += [(now, number, pool.unstarted()) for number, pool in enumerate(self._pools)]


def simulate(work: Work, fleet: Fleet) -> Run:
    return Model(work, fleet).simulate()
