"""A slave's process: the shipped `Control`, `Agent` and `Slice` on simulated threads and a simulated network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from models.network import Network
from models.pool import Execution, Pool
from models.process import Process
from models.sockets import Dialer
from models.threads import Event

from taskmaster.core.agent import Agent
from taskmaster.slave.control import Control
from taskmaster.slave.pools.batches import BatchExecution


class Owner(Protocol):
    """Who started a slave: runs its jobs, and learns that it has ended."""

    def handle(self, slave: Any, work: Execution, payload: Any) -> Any: ...

    def left(self, slave: Any) -> None: ...


class Slave:
    """One process, made of the three classes named here. Its handler takes a `batch`, if that is given."""

    dialer_class: type[Dialer] = Dialer
    pool_class: type[Pool] = Pool
    control_class: type[Control] = Control

    def __init__(self, process: Process, network: Network, agent: Agent, owner: Owner,
                 job_timeout: float | None = None, beat: Callable[[], object] | None = None,
                 batch: int | None = None, batches: type[BatchExecution] = BatchExecution) -> None:
        self.process = process
        self.agent = agent
        self.vanished = False  # with its machine
        self._owner = owner
        waker = Event(process)
        self.dialer = self.dialer_class(network, process)
        slots = agent.prefetch.slots // (batch or 1)
        self.pool = self.pool_class(process, slots, partial(owner.handle, self), waker.wake)
        self.pool.batches = batches
        self.control = self.control_class(agent, self.dialer, self.pool, waker, process.clock,  # type: ignore[arg-type]
                                          job_timeout=job_timeout, beat=beat, batch=batch)
        process.spawn(self._run)

    @property
    def slave_id(self) -> str:
        return self.agent.slave_id

    def kill(self, noticed: bool = True) -> None:
        """kill -9; or, unnoticed, its machine is gone without a word."""
        if not self.process.alive:
            return
        self.process.kill()
        self.vanished = not noticed
        if noticed:
            self.dialer.close()
        else:
            self.dialer.vanish()
        self._owner.left(self)

    def _run(self) -> None:
        self.control.run()
        self.process.kill()
        self._owner.left(self)
