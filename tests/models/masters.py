"""The masters of a world: one after the other, each started again when the last one has ended or was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.broken import must
from models.crew import Crew
from models.inside import window_of
from models.master import RESULTS, Place
from models.master_watch import MasterWatch
from models.process import Process
from models.source import SourceFailed
from models.watched_master import WatchedMaster
from models.witness import Witness

from taskmaster.core.budget import FailureBudget
from taskmaster.core.selection import Selection
from taskmaster.errors import (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_INTERRUPTED, EXIT_SOURCE_FAILED,
                               EXIT_STATE_MISMATCH, EXIT_STATE_UNWRITABLE, EXIT_TOO_MANY_FAILURES, TaskmasterError)
from taskmaster.master.outcome import Outcome
from taskmaster.master.workload import Options

if TYPE_CHECKING:
    from models.world import World


class Masters:
    """At most one lives at a time, in `process`."""

    def __init__(self, world: World, witness: Witness) -> None:
        self.watch = MasterWatch(world.scheduler, witness, world.disk, world.trace, world.counts, world.results)
        self.current: WatchedMaster | None = None
        self.process: Process | None = None
        self.reset = False  # the next one starts all over
        self._force = False  # the next one accepts that the source has changed
        self._unlimited = False  # from now on they run without limits
        self._retry = False  # the next one only tries failed jobs again
        self._may_retry = world.scenario.retries_failed
        self._world = world

    def start(self) -> None:
        world = self._world
        if self.process is not None or world.finished:
            return
        process = self.process = world.process("master")
        options = self._options()
        run = f"{world.chance.getrandbits(128):032x}"
        place = Place(process, world.network, world.disk, world.parts, run, world.scenario.local)
        world.counts["masters"] += 1
        self.current = None
        process.on_last_step = self.kill
        process.spawn(lambda: self._run(WatchedMaster(world.get_jobs(), options, place, self.watch), process))

    def kill(self) -> None:
        """kill -9, whatever it is doing."""
        world = self._world
        if self.process is None:
            return
        world.trace.note("master", "is killed")
        world.counts["crashes"] += 1
        self.process.kill()
        self._shut()
        self.watch.crashed()
        world.disturbances.settle_disk()
        self._replace()

    def interrupt(self) -> None:
        """Ctrl-C."""
        if self.current is not None and self.process is not None:
            self.current.interrupts.add(self._world.scheduler.now)

    def progress(self) -> str:
        window = window_of(self.current.server) if self.current is not None and self.current.server else None
        if window is None:
            return f"watermark none, head None of {self._world.source.length}"
        return f"watermark {window.watermark}, head {window.head} of {self._world.source.length}"

    # -- one life

    def _options(self) -> Options:
        scenario = self._world.scenario
        budget = FailureBudget(most=scenario.budget) if not self._unlimited else FailureBudget()
        limit, reset, force = None if self._unlimited else scenario.limit, self.reset, self._force
        self.reset = self._force = False
        self._retry &= self.watch.stopped and not reset  # once one has begun to, the next ones continue by themselves
        self._world.oracle.limit = 0 if self._retry else limit
        return Options(size=scenario.size, attempts=scenario.attempts, budget=budget, limit=limit, rate=scenario.rate,
                       reset=reset, force_resume=force, backup_attempts=scenario.backups,
                       retry=Selection() if self._retry else None, results=RESULTS if scenario.results else None,
                       in_order=scenario.in_order, results_with_failures=scenario.with_failures)

    def _run(self, master: WatchedMaster, process: Process) -> None:
        self.current = master
        try:
            master.open("simulated")
            outcome = master.run(self._crew())
            master.close()
        except TaskmasterError as error:
            self._ended(process, error.exit_code, finished=False)
        else:
            self._check_code(outcome)
            self._ended(process, outcome.exit_code, self._is_finished(master, outcome))

    def _crew(self) -> Crew | None:
        slaves = self._world.slaves
        return Crew(slaves.take_dead, self.watch.fleet_reports, slaves.drain) if self._world.scenario.crew else None

    def _check_code(self, outcome: Outcome) -> None:
        """A master ends for a reason; an error in its own code is none."""
        scenario, code = self._world.scenario, outcome.exit_code
        reasons = {
            EXIT_DONE: True, EXIT_DONE_WITH_FAILURES: True, EXIT_INTERRUPTED: True, EXIT_STATE_UNWRITABLE: True,
            EXIT_SOURCE_FAILED: isinstance(outcome.error, SourceFailed), EXIT_STATE_MISMATCH: scenario.changes,
            EXIT_TOO_MANY_FAILURES: scenario.budget is not None,
        }
        must(reasons.get(code), "I15: an end without a cause", code, repr(outcome.error))

    @staticmethod
    def _is_finished(master: WatchedMaster, outcome: Outcome) -> bool:
        stats = outcome.stats
        if outcome.exit_code not in (EXIT_DONE, EXIT_DONE_WITH_FAILURES):
            return False
        assert master.server is not None
        window = window_of(master.server)
        settled = stats.handled + stats.failed + window.passed_over
        must(settled == window.head - master.first + window.settled_again, "I15: the counts do not add up", stats)
        return stats.finished

    def _ended(self, process: Process, code: int, finished: bool) -> None:
        world = self._world
        world.trace.note("master", f"ends with exit code {code}")
        process.kill()
        self.watch.master = None
        world.master_ended(code)
        self._replace()
        world.finished = finished and not self._is_to_retry()
        self._force = code == EXIT_STATE_MISMATCH
        self.watch.stopped = code == EXIT_TOO_MANY_FAILURES or self._retry
        once_more = self.watch.stopped and world.chance.random() < 0.5
        self._unlimited |= code not in (EXIT_DONE, EXIT_STATE_MISMATCH) and not once_more or world.disturbances.over
        self._shut()

    def _is_to_retry(self) -> bool:
        """The run is over, but the user has its failed jobs tried again: once."""
        failed = any(one.payload is not None for one in self._world.disk.failures)
        self._retry, self._may_retry = self._may_retry and failed, False
        return self._retry

    # -- from one to the next

    def _shut(self) -> None:
        network = self._world.network
        if network.listener is not None:
            network.shut(network.listener)

    def _replace(self) -> None:
        self.process = None
        if not self._world.finished:
            self._world.scheduler.after(self._world.chance.uniform(0.05, 3.0), self._start_next)

    def _start_next(self) -> None:
        world = self._world
        if self.process is None and not world.finished:
            if world.scenario.changes and world.chance.random() < 0.5 and not world.disturbances.over:
                world.change_source()
            self.start()
