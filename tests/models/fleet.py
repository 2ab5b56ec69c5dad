"""A fleet at work in simulated time: how long it takes, how much each slave holds, how soon each job begins.

It consists of the same simulated masters, slaves and network as a `world`. Nothing goes wrong in it, but everything
has a cost: the master's work on a request, a turn of a slave's loop, the interpreter lock, the network, the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from random import Random

from models.disk import Disk
from models.fleet_master import FleetMaster
from models.fleet_slave import FleetProcess, FleetSlave
from models.master import Place
from models.network import Network, Weather
from models.parts import SHIPPED
from models.process import Process
from models.quiet import Quiet
from models.scheduler import Scheduler
from models.work import Fleet, Work, ideal_seconds

from taskmaster import defaults
from taskmaster.core.agent import Agent, Patience
from taskmaster.slave.pools.sequential import SequentialExecution
from taskmaster.slave.slice import Slice

WAKE_SECONDS = 20e-6  # until a thread that was woken runs
SAMPLE_SECONDS = 0.02  # between two looks at how much each slave holds


@dataclass(repr=False)
class Run:
    """What came of it; times are seconds since the master began to listen."""

    seconds: float = 0.0  # until everything was settled: the makespan
    requests: int = 0
    returned: int = 0  # jobs that slaves gave back unstarted
    pulled: list[float] = field(default_factory=list)  # when each job left the source
    began: list[float] = field(default_factory=list)  # when its handler was called
    begun: int = 0  # handler calls
    busy: list[float] = field(default_factory=list)  # thread seconds of each slave
    slow: list[list[float]] = field(default_factory=list)  # when each slave's jobs of LEASE_SECONDS or more ended
    held: list[tuple[float, int, float]] = field(default_factory=list)  # when, which slave, seconds of unstarted work


class SteadyScheduler(Scheduler):
    """Every wake-up takes the same time."""

    MOST_EVENTS = 1_000_000

    def soon(self, action: Callable[[], object]) -> None:
        self.after(WAKE_SECONDS, action)


class Model:
    """One run of some work by a fleet; a job's payload is its offset."""

    def __init__(self, work: Work, fleet: Fleet) -> None:
        self.work = work
        self.fleet = fleet
        self.scheduler = SteadyScheduler(Random(1))
        self.run = Run(began=[inf] * len(work.seconds), busy=[0.0] * fleet.slaves,
                       slow=[[] for _ in range(fleet.slaves)])
        self._sums = [0.0, *accumulate(work.seconds)]
        self._network = Network(self.scheduler)
        self._network.weather = Weather(delay=fleet.hop, steady=True)
        self._place = Place(Process(self.scheduler, "master"), self._network, Disk(self.scheduler), SHIPPED, "run")
        self._master = FleetMaster(self, self._place)
        self._slaves: list[FleetSlave] = []
        self._start = 0.0

    @property
    def now(self) -> float:
        return self.scheduler.now - self._start

    def simulate(self) -> Run:
        """All of it. Raises AssertionError if that takes ten times as long as it could, or a job is handled twice."""
        jobs, most = len(self.work.seconds), 1 + 10 * ideal_seconds(self.work, self.fleet)
        try:
            with Quiet():
                self._play(most)
        finally:
            self._end()
        assert self._master.done, f"not done after {most:.1f} simulated seconds"
        backups = self._master.backups
        assert self.run.begun == jobs + backups, f"{self.run.begun} calls for {jobs} jobs and {backups} backup attempts"
        return self.run

    def _play(self, most: float) -> None:
        self._place.process.spawn(self._serve)
        self.scheduler.run(lambda: self._network.listener is not None)
        self._start = self.scheduler.now
        for number in range(self.fleet.slaves):
            self._start_slave(number)
        self._sample()
        self.scheduler.run(lambda: self._master.done or self.now > most)
        self.run.seconds, self.run.requests = self.now, self._master.requests
        self.run.returned = self._master.returned

    def _serve(self) -> None:
        self._master.open("simulated")
        self._master.run()

    def _start_slave(self, number: int) -> None:
        process = FleetProcess(self, number)
        info = {"host": "here", "pid": number}
        agent = Agent(process.name, self.fleet.threads, info, Patience(), process.clock())
        self._slaves.append(FleetSlave(process, self._network, agent, self))

    def _sample(self) -> None:
        self.run.held += [(self.now, number, slave.pool.unstarted()) for number, slave in enumerate(self._slaves)]
        self.scheduler.after(SAMPLE_SECONDS, self._sample)

    def _end(self) -> None:
        """End all threads; running slices have no jobs left, for each would note that it was killed."""
        for slave in self._slaves:
            for work in slave.pool.running():
                work.take_back()
        for process in [self._place.process, *(slave.process for slave in self._slaves)]:
            process.kill()
            process.reap()

    # -- for the slaves

    def handle(self, slave: FleetSlave, work: SequentialExecution, payload: int) -> float:
        """A handler is called; returns how long it takes."""
        seconds, number = self.work.seconds[payload], slave.process.number
        self.run.begun += 1
        self.run.began[payload] = min(self.run.began[payload], self.now)
        self.run.busy[number] += seconds
        return seconds * self.fleet.factor(number)

    def end(self, slave: int, seconds: float) -> None:
        if seconds >= defaults.LEASE_SECONDS:
            self.run.slow[slave].append(self.now)

    def seconds_of(self, work: Slice | SequentialExecution, started: int = 0) -> float:
        """Of a slice's jobs, without the first ones, which have been started."""
        return self._sums[work.first + work.count] - self._sums[work.first + started]

    def left(self, slave: FleetSlave) -> None:
        """Its process has ended."""


def simulate(work: Work, fleet: Fleet) -> Run:
    return Model(work, fleet).simulate()
