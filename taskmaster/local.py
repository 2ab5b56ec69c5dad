"""One box: a master and its fleet of slaves in one command, over a private socket."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from taskmaster import defaults, targets
from taskmaster.addresses import private_address
from taskmaster.core.budget import parse_budget
from taskmaster.errors import TargetError
from taskmaster.fleet import Fleet
from taskmaster.master.keeper import Identity
from taskmaster.master.master import Master, Options, Outcome, Workload
from taskmaster.master.progress import NullProgress, Progress

log = logging.getLogger(__name__)

SLAVE_COMMAND = (sys.executable, "-m", "taskmaster.cli.slave")
GRACE_SECONDS = 5.0  # for slaves to end by themselves once the run has


class Box:
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


def run(get_jobs: Callable[..., Any], handle_job: Callable[[Any], Any], *, slaves: int = 2,
        arguments: dict[str, Any] | None = None, state: str | Path | None = None,
        concurrency: int = defaults.CONCURRENCY, job_timeout: float | None = None, progress: bool = False,
        max_failures: str = defaults.MAX_FAILURES, **options: Any) -> Outcome:
    """Run `handle_job` once for each job of `get_jobs`, in `slaves` processes; call it from the main thread.

    Both must be importable, by module and name or by file and name, for the slaves import the handler afresh;
    in a script, call `run` under ``if __name__ == "__main__":``. `arguments` go to `get_jobs`; further `options`
    are the fields of `Options`: size, attempts, limit, rate, total, codec, reset, force_resume. Returns the
    outcome, whose `exit_code` is what `tm-run` would have ended with. Raises TaskmasterError for what keeps the
    run from beginning.
    """
    from taskmaster.master.progress import make_progress

    source, handler = _target_of(get_jobs), _target_of(handle_job)
    targets.check_arity(handle_job)
    given = arguments or {}
    texts = {key: str(value) for key, value in given.items()}
    folder = Path(state) if state else Path(defaults.STATE_FOLDER) / targets.state_name(source, texts)
    workload = Workload(get_jobs, given, Identity(str(source), texts, str(handler)), folder)
    slave = [str(handler), "--concurrency", str(concurrency)]
    slave += ["--job-timeout", str(job_timeout)] if job_timeout is not None else []
    chosen = Options(budget=parse_budget(max_failures), **options)
    return Box(workload, chosen, slave, slaves, make_progress(progress, sys.stderr)).run()


def _target_of(function: Callable[..., Any]) -> targets.Target:
    """How another process finds this function. Raises TargetError where it cannot."""
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "") or ""
    if not name or "<" in name:
        raise TargetError(f"{function!r} has no name that a slave could import: define it with `def` in a module.")
    if module != "__main__":
        return targets.parse_target(f"{module}:{name}", name)
    return targets.parse_target(f"{inspect.getsourcefile(function)}:{name}", name)
