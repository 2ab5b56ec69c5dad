"""One box: a master and its fleet of slaves in one command, over a private socket."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from taskmaster.console.progress import NullProgress, Progress
from taskmaster.fleet.command import SLAVE_COMMAND
from taskmaster.fleet.fleet import Fleet
from taskmaster.master.master import Master
from taskmaster.master.outcome import Outcome
from taskmaster.master.workload import Options, Workload
from taskmaster.transport.addresses import private_address

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0  # for slaves to end by themselves once the run has


class LocalRun:
    """A run on one box: `run` it in the main thread; `interrupt` may come from a signal handler."""

    def __init__(self, workload: Workload, options: Options, slave_arguments: Sequence[str], slaves: int,
                 progress: Progress) -> None:
        self._master = Master(workload, options, progress)
        self._slave_arguments = list(slave_arguments)
        self._slaves = slaves
        self._progress = progress

    def run(self) -> Outcome:
        """To the end of the run. Raises StateUnwritable, StateMismatch, UsageError before it has begun."""
        with private_address() as address:
            try:
                self._master.open(address)
                return self._run()
            finally:
                self._master.close()

    def interrupt(self) -> None:
        """Once: drain and stop. Twice: stop now."""
        self._master.interrupt()

    def _run(self) -> Outcome:
        command = [*SLAVE_COMMAND, *self._slave_arguments, "--address", self._master.address, "--no-progress"]
        capture = None if isinstance(self._progress, NullProgress) else self._progress.write
        with Fleet(command, self._slaves, capture=capture, keep_stdout=not sys.stdout.isatty()) as fleet:
            fleet.start()
            outcome = self._master.run(fleet)
            fleet.stop(GRACE_SECONDS if outcome.stats.finished else 0.0)
        return outcome
