"""A whole run in simulated time: the shipped masters and slaves start, die and are replaced until the run is over.

`Disturbances` decide what goes wrong meanwhile. Without them everything is fair from the start.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from models.broken import Broken, must
from models.disk import Disk
from models.fates import Fates
from models.masters import Masters
from models.network import FAIR, Network
from models.oracle import SEARCH_DEATHS, Oracle
from models.parts import SHIPPED, Parts
from models.process import Process
from models.quiet import Quiet
from models.results_watch import ResultsWatch
from models.scenario import Scenario
from models.scheduler import Scheduler
from models.slaves import Slaves
from models.source import Source, SourceFailed
from models.trace import KEPT, Trace
from models.watchdogs import Watchdogs
from models.witness import Witness

from taskmaster.core.failure import FailureRecord
from taskmaster.fleet.watchdog import silence_limit
from taskmaster.master.state.checkpoint import parse

FAIR_SECONDS = 400.0  # after the last fault, besides the work: several lives of a lease, and all backoffs of a job
RESTART_SECONDS = 5.0  # from the death of a slave until another has the same job
LEAVE_SECONDS = 300.0  # for slaves to learn that all is done, or to lose patience


@dataclass
class Result:
    """What came of one world; `hash` is that of its trace, `hours` are simulated."""

    seed: int
    scenario: Scenario
    broken: str | None
    hash: int
    hours: float
    counts: Counter[str]
    trace: list[str] = field(repr=False)


class Disturbances(Protocol):
    """What goes wrong, until it is `over`."""

    over: bool

    def begin(self) -> None: ...

    def end(self) -> None:
        """Put everything right."""

    def settle_disk(self) -> None:
        """A master was killed: decide what of its unsynced writes is on the disk."""


class Calm:
    """Nothing goes wrong."""

    over = True

    def __init__(self, world: World) -> None:
        self._world = world

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def settle_disk(self) -> None:
        self._world.disk.settle_down()


class World:
    """One run: `play` it once."""

    def __init__(self, scenario: Scenario, parts: Parts = SHIPPED, kept: int | None = KEPT,
                 disturbances: Callable[[World], Disturbances] = Calm) -> None:
        self.scenario = scenario
        self.parts = parts
        self.chance = Random(scenario.seed ^ 0x5EED)
        self.scheduler = Scheduler(self.chance)
        self.disk = Disk(self.scheduler)
        self.network = Network(self.scheduler)
        self.source = Source(scenario.jobs, scenario.cursors, scenario.bad)
        self.oracle = Oracle(self.source, scenario.size, scenario.attempts)
        self.fates = Fates(scenario, self.chance)
        self.trace = Trace(self.scheduler, kept)
        self.counts: Counter[str] = Counter()
        self.finished = False
        self.exit_codes: list[int] = []
        self.results = ResultsWatch(self.disk, self.oracle, scenario)
        self.masters = Masters(self, Witness(self.oracle))
        self.slaves = Slaves(self)
        self.watchdogs: Watchdogs | None = None  # unless nobody watches over the slaves
        self.disturbances = disturbances(self)
        self._processes: list[Process] = []
        self.disk.was_reset = self._was_reset

    # -- from beginning to end

    def play(self) -> Result:
        broken = None
        try:
            with Quiet():
                self._play()
        except Broken as found:
            broken = str(found)
        except Exception:  # the shipped code must not raise anything that its callers do not expect
            broken = "an exception: " + traceback.format_exc()
        finally:
            self._end_threads()
        self.counts["messages"] = self.network.messages
        self.counts.update(self.oracle.replays)
        return Result(self.scenario.seed, self.scenario, broken, self.trace.hash, self.scheduler.now / 3600,
                      self.counts, self.trace.lines())

    def _play(self) -> None:
        self.network.weather = self.scenario.weather
        self.masters.start()
        if self.scenario.watchdog:
            self.watchdogs = Watchdogs(self)
        for _ in range(self.scenario.slaves):
            self.scheduler.after(self.chance.random() * 0.2, self.slaves.start)
        for _ in range(self.scenario.foreigners):
            self.scheduler.after(self.chance.random() * 2.0, lambda: self.slaves.start("others.py"))
        self.disturbances.begin()
        self.scheduler.run(lambda: self.finished or self.disturbances.over)
        self._calm_down()
        end = self.scheduler.now
        self.scheduler.run(lambda: self.finished or self.scheduler.now > end + self._patience())
        must(self.finished, "I4: it never completes", self.masters.progress())
        self._check_end()

    def _patience(self) -> float:
        scenario, jobs = self.scenario, self.source.length
        hanging = scenario.fates.hangs * jobs * scenario.attempts * (scenario.job_timeout or 0.0)
        work = self.fates.work_seconds + jobs * scenario.source_seconds + hanging
        silence = (SEARCH_DEATHS + scenario.attempts) * (silence_limit(scenario.job_timeout) + RESTART_SECONDS)
        rounds = 1 + scenario.retries_failed + 2 * (scenario.budget is not None)  # of trying failed jobs again
        return FAIR_SECONDS + 3 * work + rounds * (300 * scenario.fates.killers + silence * scenario.fates.holders)

    def _calm_down(self) -> None:
        """From here on every message arrives, every process lives, and the disk is well."""
        self.trace.note("world", "plays fair")
        self.network.weather = FAIR
        self.disturbances.end()
        if not self.finished and self.masters.process is None:
            self.scheduler.after(0.1, self.masters.start)

    def _check_end(self) -> None:
        """The master says that all is done: is it?"""
        # Of a source that has changed, another job may fail at the offset where one of an earlier run failed.
        failures = Counter((one.offset, str(one.payload), _reason(one)) for one in self.disk.failures)
        twice = [offset for (offset, *_), times in failures.items() if times > 1]
        # Nor is it known, if it had changed when a master was killed, of which version the last records are: they stay.
        must(not twice or self.scenario.changes, "I10: a failure is written down twice", twice)
        failed = {offset for offset, *_ in failures}
        stale = failed & self.oracle.life.again & self.oracle.life.heard_done
        must(not stale, "I21: handled, and still in the failures file", stale)
        lost = [at for at in range(self.source.length) if not self.oracle.is_executed(at) and at not in failed]
        must(not lost, "I10: neither handled nor in the failures file", lost)
        assert self.disk.main is not None
        saved = parse(self.disk.main)
        must(saved.finished and saved.offset == self.source.length, "I10: not checkpointed as finished", saved)
        self.results.check_end(failed)
        until = self.scheduler.now + LEAVE_SECONDS
        self.scheduler.run(lambda: not self.slaves.living or self.scheduler.now > until)
        left = [one.slave_id for one in self.slaves.living]
        must(not left, "I4: told to stop, a slave never leaves", left)

    def _end_threads(self) -> None:
        """Now and in order; otherwise they would end whenever they are garbage collected."""
        for process in self._processes:
            process.kill()
            process.reap()

    # -- for masters and slaves

    def process(self, name: str) -> Process:
        process = Process(self.scheduler, name, skew=self.chance.uniform(0.0, 50_000.0))
        self._processes.append(process)
        return process

    def master_ended(self, code: int) -> None:
        """A master ended by itself."""
        self.exit_codes.append(code)

    def get_jobs(self) -> Any:
        """The user's `get_jobs`."""
        def get_jobs(last: Any = 0) -> Any:
            try:
                yield from self.source.jobs(last, self._before_job, self.fates.dressed)
            except SourceFailed:
                self.oracle.life.pulled_all = True
                raise
            self.oracle.life.pulled_all = True

        def get_all_jobs() -> Any:
            return get_jobs()

        return get_jobs if self.scenario.takes_last else get_all_jobs

    def _before_job(self, offset: int) -> None:
        scenario = self.scenario
        if scenario.source_seconds:
            self.scheduler.sleep(scenario.source_seconds * self.chance.random() * 2)
        if scenario.source_raises and not self.disturbances.over and self.chance.random() < 0.02:
            raise SourceFailed

    def change_source(self) -> None:
        """Not below the checkpoint, which is not read again."""
        saved = parse(self.disk.main).offset if self.disk.main is not None else 0
        first = saved + self.chance.choice([0, 0, self.chance.randint(0, self.scenario.size)])
        length = max(saved, self.source.length + self.chance.randint(-3, 5))
        self.source.change(min(first, length), length)
        self.results.source_changed = True
        self.trace.note("source", f"changes from {first} on, {length} jobs")

    def _was_reset(self) -> None:
        self.source.change(0, self.source.length)
        self.oracle.reset()
        self.results.reset()


def _reason(failure: FailureRecord) -> str:
    """What tells the jobs that could not be sent from one another; they are recorded without a payload."""
    return failure.message.partition(",")[0] if failure.payload is None else ""
