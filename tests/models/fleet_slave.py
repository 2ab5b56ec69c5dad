"""A slave of a fleet: its loop and its handlers cost time, and they share an interpreter lock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from models.pool import Pool
from models.process import Process
from models.scheduler import Scheduler
from models.slave import Slave
from models.sockets import Dialer

from taskmaster.slave.pools.sequential import SequentialExecution

if TYPE_CHECKING:
    from models.fleet import Model

TURN_SECONDS = 50e-6  # one turn of the control loop, under the lock
SWITCH_SECONDS = 0.005  # a thread gives up the lock after this long when another waits for it


class Lock:
    """An interpreter lock: whoever computes waits for his turn."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._free_at = 0.0

    def hold(self, seconds: float) -> None:
        now = self._scheduler.now
        self._free_at = max(self._free_at, now) + seconds
        self._scheduler.sleep(self._free_at - now)


class FleetProcess(Process):
    """The slave of this number in a model."""

    def __init__(self, model: Model, number: int) -> None:
        super().__init__(model.scheduler, f"slave{number}")
        self.model = model
        self.number = number
        self.lock = Lock(model.scheduler)


class FleetDialer(Dialer):
    """Each turn of the control loop is paid for when it waits again."""

    _process: FleetProcess

    def wait(self, seconds: float) -> None:
        self._process.lock.hold(TURN_SECONDS)
        super().wait(seconds)

    def _take_turn(self) -> None: ...


class FleetPool(Pool):
    """Its handlers wait, or compute under the lock."""

    _process: FleetProcess

    def __init__(self, process: FleetProcess, threads: int, handle: Callable[[SequentialExecution, Any], float],
                 wake: Callable[[], None]) -> None:
        self._debts = [0.0] * threads  # seconds computed and not slept yet: a thread keeps the lock from job to job
        super().__init__(process, threads, handle, wake)

    def unstarted(self) -> float:
        """Seconds until the last job that waits here would begin if no other slave took any."""
        model = self._process.model
        behind = [model.seconds_of(work, work.started) for work in self.running()]
        waiting = sum(model.seconds_of(work) for work in self._waiting)
        return model.fleet.factor(self._process.number) * max([(waiting + sum(behind)) / self.slots, *behind])

    def _now(self, number: int) -> float:
        return self._process.scheduler.now + self._debts[number]

    def _run(self, number: int, work: SequentialExecution) -> None:
        debts, scheduler = self._debts, self._process.scheduler
        work.run(partial(self._call, number, work), lambda: scheduler.now + debts[number])
        if not self.waiting:
            self._process.lock.hold(debts[number])
            debts[number] = 0.0

    def _call(self, number: int, work: SequentialExecution, offset: int) -> None:
        process, model = self._process, self._process.model
        process.step()
        seconds = self._handle(work, offset)
        if model.work.computes(model.work.seconds[offset]):
            self._compute(number, seconds)
        else:
            process.scheduler.sleep(seconds)
        model.end(process.number, seconds)

    def _compute(self, number: int, seconds: float) -> None:
        self._debts[number] += seconds
        while self._debts[number] >= SWITCH_SECONDS:
            self._debts[number] -= SWITCH_SECONDS
            self._process.lock.hold(SWITCH_SECONDS)


class FleetSlave(Slave):
    dialer_class = FleetDialer
    pool_class = FleetPool
    pool: FleetPool
    process: FleetProcess
