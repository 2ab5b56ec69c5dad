"""A slave's process: the shipped `Control`, `Agent` and `Slice` on simulated threads and net."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from simulation.hub import Process
from simulation.network import Dialer, Network
from simulation.threads import Event, Queue

from taskmaster.core.agent import Agent
from taskmaster.core.slave_effects import Effect
from taskmaster.core.wire import Frames
from taskmaster.slave.control import Control
from taskmaster.slave.pools.base import Execution
from taskmaster.slave.pools.sequential import SequentialExecution
from taskmaster.slave.slice import Slice


class Watcher(Protocol):
    """Who sees what a slave does."""

    def asks(self, slave: Slave, frames: Frames) -> None: ...

    def is_answered(self, slave: Slave, frames: Frames) -> None: ...

    def obeys(self, slave: Slave, effects: Sequence[Effect]) -> None: ...

    def takes(self, slave: Slave, work: Slice) -> None: ...


class RunState(Protocol):
    """Who keeps a slave, and is its handler."""

    def handle(self, slave: Slave, work: SequentialExecution, payload: Any) -> None: ...

    def left(self, slave: Slave) -> None: ...


class Pool:
    """The shipped pool's face; its threads may be interrupted between any two of its steps."""

    def __init__(self, process: Process, threads: int, handle: Callable[[SequentialExecution, Any], None],
                 wake: Callable[[], None]) -> None:
        self.slots = threads
        self._process = process
        self._handle = handle
        self._wake = wake
        self.wake_below = 1
        self._waiting = Queue(process)
        self._ended: list[SequentialExecution] = []
        self._running: list[SequentialExecution | None] = [None] * threads
        for number in range(threads):
            process.spawn(partial(self._loop, number))

    def put(self, work: Slice) -> None:
        self._waiting.put(work)

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
        return self._waiting.drained()

    def stack_of(self, execution: Execution, offset: int) -> str:
        return "in the handler"

    def _loop(self, number: int) -> None:
        while True:
            work: Slice = self._waiting.get()
            self._pause()
            self._running[number] = execution = SequentialExecution(work, self._process.clock())
            execution.run(partial(self._handle, execution), self._process.clock)
            self._running[number] = None
            self._pause()
            self._ended.append(execution)
            if len(self._waiting) < self.wake_below:
                self._wake()

    def _pause(self) -> None:
        """Now and then, so that a slice is seen in no list at all for a moment."""
        if self._process.hub.chance.random() < 0.05:
            self._process.hub.sleep(1e-4)


class WatchedDialer(Dialer):
    """Shows what it carries."""

    watcher: Watcher
    slave: Slave

    def send(self, frames: Frames) -> None:
        self.watcher.asks(self.slave, frames)
        super().send(frames)

    def receive(self) -> Frames | None:
        frames = super().receive()
        if frames is not None:
            self.watcher.is_answered(self.slave, frames)
        return frames


class WatchedControl(Control):
    """Shows its orders before it carries them out."""

    watcher: Watcher
    slave: Slave

    def _perform(self, effects: Iterable[Effect], now: float) -> None:
        seen = list(effects)
        if seen:
            self.watcher.obeys(self.slave, seen)
        super()._perform(seen, now)


class WatchedPool(Pool):
    """Shows what it is given."""

    watcher: Watcher
    slave: Slave

    def put(self, work: Slice) -> None:
        self.watcher.takes(self.slave, work)
        super().put(work)


class Slave:
    """One process."""

    def __init__(self, process: Process, network: Network, agent: Agent, job_timeout: float | None,
                 watcher: Watcher, keeper: RunState) -> None:
        self.process = process
        self.agent = agent
        self.lives: dict[int, int] = {}  # which master the agent's epochs were under
        self.asked = 0
        self.asked_again = False
        self.answered: Any = None  # the last reply that came
        self.answered_at = process.hub.now
        self.served: set[int] = set()
        self._keeper = keeper
        waker = Event(process)
        self.dialer = WatchedDialer(network, process)
        self.pool = WatchedPool(process, agent.prefetch.slots, partial(keeper.handle, self), waker.wake)
        self.control = WatchedControl(agent, self.dialer, self.pool, waker, process.clock,  # type: ignore[arg-type]
                                      job_timeout=job_timeout)
        for part in (self.dialer, self.pool, self.control):
            part.watcher, part.slave = watcher, self  # type: ignore[attr-defined]
        process.spawn(self._run)

    @property
    def slave_id(self) -> str:
        return self.agent.slave_id

    def kill(self, noticed: bool = True) -> None:
        """kill -9, or its host is gone without a word."""
        if not self.process.alive:
            return
        self.process.kill()
        if noticed:
            self.dialer.close()
        else:
            self.dialer.vanish()
        self._keeper.left(self)

    def _run(self) -> None:
        self.control.run()
        self.process.kill()
        self._keeper.left(self)
