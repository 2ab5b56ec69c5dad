"""One seed from its beginning to its end: starts masters and slaves, lets faults happen, then plays fair."""

from __future__ import annotations

import socket
import traceback
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from simulation.broken import Broken, must
from simulation.crew import Crew, Gone
from simulation.disk import Disk
from simulation.fate import Fates
from simulation.faults import Faults
from simulation.hub import Hub, Process
from simulation.master import Place, SimulatedMaster
from simulation.network import FAIR, Network
from simulation.oracle import Oracle
from simulation.parts import SHIPPED, Parts
from simulation.quiet import Quiet
from simulation.scenario import Scenario, draw
from simulation.slave import Slave
from simulation.source import Source
from simulation.trace import KEPT, Trace
from simulation.watch import Watch

from taskmaster.core.agent import Patience
from taskmaster.core.budget import FailureBudget
from taskmaster.errors import (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_INTERRUPTED, EXIT_SOURCE_FAILED,
                               EXIT_STATE_MISMATCH, EXIT_STATE_UNWRITABLE, EXIT_TOO_MANY_FAILURES, TaskmasterError)
from taskmaster.master.outcome import Outcome
from taskmaster.master.state.checkpoint import parse
from taskmaster.slave.pools.sequential import SequentialExecution
from taskmaster.master.workload import Options

FAIR_SECONDS = 400.0  # after the last fault, besides the work: several lives of a lease, and all backoffs of a job
LEAVE_SECONDS = 300.0  # for slaves to hear that all is done, or to lose patience


@dataclass
class Result:
    """What one seed came to."""

    seed: int
    scenario: Scenario
    broken: str | None
    hash: int
    hours: float
    counts: Counter[str]
    trace: list[str] = field(repr=False)


class HadEnough(Exception):
    """The source's own error."""


class World:
    """One cluster and what happens to it."""

    def __init__(self, scenario: Scenario, parts: Parts = SHIPPED, kept: int | None = KEPT) -> None:
        chance = Random(scenario.seed ^ 0x5EED)
        self.scenario = scenario
        self.parts = parts
        self.chance = chance
        self.hub = Hub(chance)
        self.disk = Disk(self.hub)
        self.network = Network(self.hub)
        self.source = Source(scenario.jobs, scenario.cursors, scenario.bad)
        self.oracle = Oracle(self.source, scenario.size, scenario.attempts)
        self.fates = Fates(scenario, chance)
        self.watch = Watch(self.hub, self.oracle, self.disk, Trace(kept))
        self.counts = self.watch.counts
        self.faults = Faults(self)
        self.slaves: list[Slave] = []
        self.master: SimulatedMaster | None = None
        self.process: Process | None = None  # the master's
        self.finished = False
        self.force = False  # the next start accepts that the source has changed
        self.reset = False  # the next start is all over again
        self.plain = False  # no limits any more
        self._processes: list[Process] = []
        self._dead: list[Gone] = []
        self._names = 0
        self.disk.was_reset = self._was_reset

    # -- from the beginning to the end

    def play(self) -> Result:
        broken = None
        try:
            with Quiet():
                self._play()
        except Broken as found:
            broken = str(found)
        except Exception:  # the shipped code may not raise anything that its callers do not expect
            broken = "an exception: " + traceback.format_exc()
        finally:
            self._tidy_up()
        self.counts["messages"] = self.network.messages
        self.counts.update(self.oracle.replays)
        trace = self.watch.trace
        return Result(self.scenario.seed, self.scenario, broken, trace.hash, self.hub.now / 3600, self.counts,
                      trace.lines())

    def _play(self) -> None:
        self.network.weather = self.scenario.weather
        self.start_master()
        for _ in range(self.scenario.slaves):
            self.hub.after(self.chance.random() * 0.2, self.start_slave)
        self.faults.begin()
        self.hub.run(lambda: self.finished or self.faults.over)
        self._calm_down()
        fair = self.hub.now
        self.hub.run(lambda: self.finished or self.hub.now > fair + self._enough())
        must(self.finished, "I4: it never completes", self._how_far())
        self.finish()

    def _enough(self) -> float:
        work = self.fates.work_seconds + self.source.length * self.scenario.source_seconds
        return FAIR_SECONDS + 3 * work + 100 * self.scenario.fates.killers

    def _calm_down(self) -> None:
        """From here on everything arrives, everyone lives, and the disk is well."""
        self.watch.note("world", "plays fair")
        self.network.weather = FAIR
        self.faults.end()
        if not self.finished and self.process is None:
            self.hub.after(0.1, self.start_master)

    def finish(self) -> None:
        """All is done: was it?"""
        failures = Counter(one.offset for one in self.disk.failures)
        twice = [offset for offset, times in failures.items() if times > 1]
        must(not twice, "I10: a failure is written down twice", twice)
        lost = [at for at in range(self.source.length) if not self.oracle.is_executed(at) and at not in failures]
        must(not lost, "I10: neither handled nor in the failures file", lost)
        assert self.disk.main is not None
        saved = parse(self.disk.main)
        must(saved.finished and saved.offset == self.source.length, "I10: not checkpointed as finished", saved)
        until = self.hub.now + LEAVE_SECONDS
        self.hub.run(lambda: not self.slaves or self.hub.now > until)
        must(not self.slaves, "I4: told to stop, a slave never leaves", [one.slave_id for one in self.slaves])

    def _how_far(self) -> str:
        window: Any = self.master.server._window if self.master is not None and self.master.server else None
        mark = window.watermark if window is not None else "none"
        return f"watermark {mark}, head {window.head if window else None} of {self.source.length}"

    def _tidy_up(self) -> None:
        """End all threads now, in order, lest they end when they are collected."""
        for process in self._processes:
            process.kill()
            process.reap()

    # -- masters

    def start_master(self) -> None:
        if self.process is not None or self.finished:
            return
        process = self.process = self._process("master")
        options = self._options()
        place = Place(process, self.network, self.disk, self.parts, self.watch, f"{self.chance.getrandbits(128):032x}",
                      self.scenario.local)
        self.counts["masters"] += 1
        self.master = None
        process.burned = self.master_dies
        process.spawn(lambda: self._serve(SimulatedMaster(self._get_jobs(), options, place), process))

    def _options(self) -> Options:
        scenario = self.scenario
        budget = FailureBudget(most=scenario.budget) if not self.plain else FailureBudget()
        limit, reset, force = None if self.plain else scenario.limit, self.reset, self.force
        self.reset = self.force = False
        return Options(size=scenario.size, attempts=scenario.attempts, budget=budget, limit=limit, rate=scenario.rate,
                       reset=reset, force_resume=force)

    def _serve(self, master: SimulatedMaster, process: Process) -> None:
        self.master = master
        try:
            master.open("simulated")
            outcome = master.run(Crew(self._take_dead, self.watch.fleet_tells) if self.scenario.crew else None)
            master.close()
        except TaskmasterError as error:
            self._ended(process, error.exit_code, False)
        else:
            self._check_end(outcome)
            stats = outcome.stats
            done = outcome.exit_code in (EXIT_DONE, EXIT_DONE_WITH_FAILURES)
            if done:
                whole = self._whole(master, stats.handled + stats.failed)
                must(whole, "I15: the counts do not add up", stats)
            self._ended(process, outcome.exit_code, done and stats.finished)

    def _check_end(self, outcome: Outcome) -> None:
        """A master ends for a reason, and an error of its own code is none."""
        scenario, code = self.scenario, outcome.exit_code
        reasons = {
            EXIT_DONE: True, EXIT_DONE_WITH_FAILURES: True, EXIT_INTERRUPTED: True, EXIT_STATE_UNWRITABLE: True,
            EXIT_SOURCE_FAILED: isinstance(outcome.error, HadEnough), EXIT_STATE_MISMATCH: scenario.changes,
            EXIT_TOO_MANY_FAILURES: scenario.budget is not None,
        }
        must(reasons.get(code), "I15: an end without a cause", code, repr(outcome.error))

    @staticmethod
    def _whole(master: SimulatedMaster, settled: int) -> bool:
        assert master.server is not None
        return settled == master.server._window.head - master.first

    def _ended(self, process: Process, code: int, finished: bool) -> None:
        self.watch.note("master", f"ends with exit code {code}")
        process.kill()
        self.master_is_gone()
        self.finished = finished
        self.force = code == EXIT_STATE_MISMATCH
        self.plain = self.plain or code not in (EXIT_DONE, EXIT_STATE_MISMATCH) or self.faults.over
        if self.network.listener is not None:
            self.network.shut(self.network.listener)

    def master_dies(self) -> None:
        """kill -9, at whatever it is doing."""
        if self.process is None:
            return
        self.watch.note("master", "is killed")
        self.counts["crashes"] += 1
        self.process.kill()
        if self.network.listener is not None:
            self.network.shut(self.network.listener)
        self.watch.crashed()
        self.faults.settle_disk()
        self.master_is_gone()

    def master_is_gone(self) -> None:
        self.process = None
        if not self.finished:
            self.hub.after(self.chance.uniform(0.05, 3.0), self._start_again)

    def _start_again(self) -> None:
        if self.process is None and not self.finished:
            if self.scenario.changes and self.chance.random() < 0.5 and not self.faults.over:
                self._change_source()
            self.start_master()

    def _change_source(self) -> None:
        """Nothing below the checkpoint, for that is not read again."""
        saved = parse(self.disk.main).offset if self.disk.main is not None else 0
        first = saved + self.chance.choice([0, 0, self.chance.randint(0, self.scenario.size)])
        length = max(saved, self.source.length + self.chance.randint(-3, 5))
        self.source.change(min(first, length), length)
        self.watch.note("source", f"changes from {first} on, {length} jobs")

    def _was_reset(self) -> None:
        self.source.change(0, self.source.length)
        self.oracle.reset()

    # -- the source

    def _get_jobs(self) -> Any:
        def get_jobs(last: Any = 0) -> Any:
            return self.source.jobs(last, self._between, self.fates.dressed)

        def get_all_jobs() -> Any:
            return get_jobs()

        return get_jobs if self.scenario.takes_last else get_all_jobs

    def _between(self, offset: int) -> None:
        scenario = self.scenario
        if scenario.source_seconds:
            self.hub.sleep(scenario.source_seconds * self.chance.random() * 2)
        if scenario.source_raises and not self.faults.over and self.chance.random() < 0.02:
            raise HadEnough

    # -- slaves

    def start_slave(self) -> None:
        if self.finished:
            return
        self._names += 1
        self.counts["slaves"] += 1
        scenario, process = self.scenario, self._process(f"slave{self._names:03}")
        info = {"host": socket.gethostname(), "pid": self._names}
        patience = Patience(retries=scenario.retries)
        agent = self.parts.agent(process.name, scenario.threads, info, patience, process.clock())
        self.slaves.append(Slave(process, self.network, agent, scenario.job_timeout, self.watch, self))

    def left(self, slave: Slave) -> None:
        """A slave's process has ended; its keeper starts another."""
        self.slaves.remove(slave)
        self._dead.append(Gone(int(slave.slave_id.removeprefix("slave")), "killed"))
        if len(self.slaves) < self.scenario.slaves and not self.finished:
            self.hub.after(self.chance.uniform(0.05, 1.5), self.start_slave)

    def handle(self, slave: Slave, work: SequentialExecution, payload: Any) -> None:
        slave.process.step()
        self.watch.starts(slave, work, payload)
        self.fates.meet(slave.process, payload, lambda: self._killed_by_its_job(slave, work))
        self.watch.ends(slave, payload)

    def _killed_by_its_job(self, slave: Slave, work: SequentialExecution) -> None:
        self.watch.note(slave.slave_id, "is killed by its job")
        self.counts["slave deaths"] += 1
        work.take_back()
        slave.kill()

    def _take_dead(self) -> list[Gone]:
        """The slaves' processes that ended since the last call."""
        dead, self._dead = self._dead, []
        return dead

    def _process(self, name: str) -> Process:
        process = Process(self.hub, name)
        self._processes.append(process)
        return process


def play(seed: int, parts: Parts = SHIPPED, kept: int | None = KEPT) -> Result:
    """One seed."""
    return World(draw(seed), parts, kept).play()
