"""The slaves of a world: each that ends is replaced by another, until the run is over."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from models.breathing import Breathing
from models.crew import Gone
from models.inside import adapt, serves_elsewhere
from models.master import MODULE
from models.pool import Execution
from models.slave_watch import SlaveWatch
from models.watched_slave import WatchedSlave
from models.witness import KILLED, KILLED_BY_JOB

from taskmaster.core.agent import Patience
from taskmaster.core.wire import DeathReport, Poll, encode_poll
from taskmaster.slave.pools.batches import BatchExecution

if TYPE_CHECKING:
    from models.world import World


SLOWNESS = 10.0  # of a slow slave


class Slaves:
    """`living` are those whose process runs; it may be stalled."""

    def __init__(self, world: World) -> None:
        self.living: list[WatchedSlave] = []
        self._world = world
        self._watch = SlaveWatch(world.scheduler, world.oracle, world.trace, world.counts)
        self._dead: list[Gone] = []
        self._killed_by_jobs: set[str] = set()
        self._started = 0

    def start(self, module: str = MODULE) -> None:
        """Start one whose handler is in `module`: if not in MODULE, it is for other jobs than this world's."""
        world = self._world
        if world.finished:
            return
        self._started += 1
        world.counts["slaves"] += 1
        scenario, process = world.scenario, world.process(f"slave{self._started:03}")
        info: dict[str, Any] = {"host": socket.gethostname(), "pid": self._started, "module": module}
        if scenario.fleet:
            info["fleet"] = "yes"
        patience = Patience(retries=scenario.retries)
        if scenario.batch is not None:
            info["batch"] = scenario.batch
        agent = world.parts.agent(process.name, scenario.threads * (scenario.batch or 1), info, patience,
                                  process.clock(), scenario.batch or 1)
        if module != MODULE:
            world.counts["foreigners"] += 1
            world.oracle.foreigners.add(process.name)
            if world.chance.random() < 0.5:
                serves_elsewhere(agent)
        slave = WatchedSlave(process, world.network, agent, self, self._watch, scenario.job_timeout, scenario.watchdog,
                             scenario.batch, world.parts.batches)
        slave.slowness = SLOWNESS if self._started <= scenario.slow else 1.0
        if scenario.breathes:
            policy = Breathing(scenario.threads, process.clock(), f"{scenario.seed} {process.name}")
            adapt(slave.control, world.parts.slots, policy, scenario.batch or 1)
        self.living.append(slave)

    def take_dead(self) -> list[Gone]:
        """The processes that ended since the last call."""
        dead, self._dead = self._dead, []
        return dead

    def drain(self) -> None:
        """SIGTERM to all of them."""
        for slave in self.living:
            slave.control.drain()

    def end(self, slave: WatchedSlave, noticed: bool = True, blame: bool = False) -> None:
        """Kill it from outside; `blame`: because of what a job does."""
        self._world.counts["slave deaths"] += 1
        for work in slave.pool.running():
            work.take_back()
        if blame:
            self._killed_by_jobs.add(slave.slave_id)
        slave.kill(noticed)

    # -- as the owner of each

    def left(self, slave: WatchedSlave) -> None:
        """Its process has ended."""
        world = self._world
        self.living.remove(slave)
        blame = slave.slave_id in self._killed_by_jobs
        dead = Gone(int(slave.slave_id.removeprefix("slave")), KILLED_BY_JOB if blame else KILLED, blame)
        self._dead.append(dead)
        if world.scenario.fleet and not slave.vanished:
            world.scheduler.after(world.chance.uniform(0.0, 0.1), partial(self._report, dead))
        own = [one for one in self.living if one.slave_id not in world.oracle.foreigners]
        if len(own) < world.scenario.slaves and not world.finished:
            world.scheduler.after(world.chance.uniform(0.05, 1.5), self.start)

    def handle(self, slave: WatchedSlave, work: Execution, payload: Any) -> Any:
        slave.process.step()
        if isinstance(work, BatchExecution):
            return self._handle_batch(slave, work, payload)
        self._watch.starts(slave, work, payload)
        self._world.fates.meet(slave.process, payload, lambda: self._killed_by_its_job(slave, work), slave.slowness)
        self._watch.ends(slave, payload)
        return payload if self._world.scenario.results else None

    def _handle_batch(self, slave: WatchedSlave, work: BatchExecution, payloads: list[Any]) -> Any:
        """All or nothing, as in a transaction."""
        self._watch.starts_batch(slave, work, payloads)
        try:
            for payload in payloads:
                self._world.fates.meet(slave.process, payload, lambda: self._killed_by_its_job(slave, work),
                                       slave.slowness)
        except BaseException:
            self._watch.raised_in_batch(slave, work, payloads)
            raise
        for payload in payloads:
            self._watch.ends(slave, payload)
        return payloads if self._world.scenario.results else None

    def _killed_by_its_job(self, slave: WatchedSlave, work: Execution) -> None:
        self._world.trace.note(slave.slave_id, "is killed by its job")
        self._world.counts["slave deaths"] += 1
        self._killed_by_jobs.add(slave.slave_id)
        work.take_back()
        slave.kill()

    def _report(self, dead: Gone) -> None:
        """What tm-spawn tells a master, if there is one."""
        report = DeathReport(socket.gethostname(), dead.pid, dead.status, dead.blame)
        frames = encode_poll(Poll("", 0, "fleet", self._world.network.messages + 1, state="bye", deaths=(report,)))
        if self._world.network.listener is not None:
            self._world.network.listener.inject((b"fleet", b"1", b""), lambda: frames)
