"""A slave that shows everything it does to a watcher."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from models.network import Network
from models.pool import InterruptedPool
from models.process import Process
from models.slave import Owner, Slave
from models.slave_watch import SlaveWatch
from models.sockets import Dialer
from models.witness import Requests

from taskmaster.core.agent import Agent
from taskmaster.core.slave_effects import Effect
from taskmaster.core.wire import Frames
from taskmaster.slave.control import Control
from taskmaster.slave.job_batch import Work
from taskmaster.slave.pools.batches import BatchExecution


class WatchedDialer(Dialer):
    """Shows what it carries."""

    watcher: SlaveWatch
    slave: WatchedSlave

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

    watcher: SlaveWatch
    slave: WatchedSlave

    def _perform(self, effects: Iterable[Effect], now: float) -> None:
        seen = list(effects)
        if seen:
            self.watcher.obeys(self.slave, seen)
        super()._perform(seen, now)


class WatchedPool(InterruptedPool):
    """Shows what it is given."""

    watcher: SlaveWatch
    slave: WatchedSlave

    def put(self, work: Work) -> None:
        self.watcher.takes(self.slave, work)
        super().put(work)


class WatchedSlave(Slave):
    """Remembers what its watcher needs to know of it."""

    dialer_class = WatchedDialer
    pool_class = WatchedPool
    control_class = WatchedControl

    def __init__(self, process: Process, network: Network, agent: Agent, owner: Owner, watcher: SlaveWatch,
                 job_timeout: float | None = None, beats: bool = False, batch: int | None = None,
                 batches: type[BatchExecution] = BatchExecution) -> None:
        super().__init__(process, network, agent, owner, job_timeout, self._beat if beats else None, batch, batches)
        self.slowness = 1.0  # its handlers take so many times as long as those of others
        self.beats = 0  # that it has sent to its fleet
        self.beat_at = process.scheduler.now  # when it sent the last one
        self.batch = batch
        self.lives: dict[int, int] = {}  # by the agent's epoch: the number of the master it belongs to
        self.requests = Requests(agent.slave_id)
        self.answered: Any = None  # the last reply that came
        self.answered_at = process.scheduler.now  # the newest request
        parts: tuple[Any, ...] = (self.dialer, self.pool, self.control)
        for part in parts:
            part.watcher, part.slave = watcher, self

    def _beat(self) -> None:
        self.beats += 1
        self.beat_at = self.process.scheduler.now
