"""A run on this machine: a master and its fleet of slaves in one command, over a private socket."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from taskmaster import defaults
from taskmaster.console.progress import NullProgress, Progress
from taskmaster.console.screen import is_terminal
from taskmaster.core.interrupts import Interrupts
from taskmaster.fleet.command import slave_command
from taskmaster.fleet.fleet import Fleet
from taskmaster.fleet.local import LocalLauncher
from taskmaster.fleet.watchdog import silence_limit
from taskmaster.limits import check_files
from taskmaster.master.master import Master
from taskmaster.master.outcome import Outcome
from taskmaster.master.workload import Options, Workload
from taskmaster.targets import search_path
from taskmaster.transport.private_address import private_address


class LocalRun:
    """One run: call `run` in the main thread. The first interrupt drains and stops it, the second stops it now.

    Slaves search for modules where this process does, start in `folder`, and have `environment` besides this process's.
    """

    def __init__(self, workload: Workload, options: Options, slave_arguments: Sequence[str], slaves: int,
                 progress: Progress, job_timeout: float | None = None, interrupts: Interrupts | None = None,
                 folder: str = "", environment: Mapping[str, str] | None = None) -> None:
        self._interrupts = interrupts or Interrupts()
        self._master = Master(workload, options, progress, interrupts=self._interrupts)
        self._slave_arguments = list(slave_arguments)
        self._slaves = slaves
        self._silence_seconds = silence_limit(job_timeout)
        self._progress = progress
        self._folder = folder
        self._environment = environment or {}

    def run(self) -> Outcome:
        """Serve until the run ends. Raises StateUnwritable, StateMismatch or UsageError before it has begun."""
        with private_address() as address:
            try:
                self._master.open(address)
                return self._run()
            finally:
                self._master.close()

    def _run(self) -> Outcome:
        check_files(defaults.START_FILES + defaults.SLAVE_FILES * self._slaves)
        command = [*slave_command(), *self._slave_arguments, "--address", self._master.address, "--no-progress"]
        capture = None if isinstance(self._progress, NullProgress) else self._progress.write
        environment = {**search_path.bequeathed(), **self._environment}
        launcher = LocalLauncher(command, environment=environment, folder=self._folder or None, capture=capture,
                                 keep_stdout=not is_terminal(sys.stdout))
        with Fleet(launcher, self._slaves, silence_seconds=self._silence_seconds) as fleet:
            fleet.start()
            outcome = self._master.run(fleet)
            # Also after one interrupt, since slaves may have something to tear down.
            fleet.stop(0.0 if self._interrupts.stopping else defaults.FINISHED_GRACE_SECONDS)
        return outcome
