"""`taskmaster.run`: a complete run from Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskmaster import defaults
from taskmaster.api.local_run import LocalRun
from taskmaster.console.progress import make_progress
from taskmaster.core.budget import parse_budget
from taskmaster.core.selection import Selection
from taskmaster.core.slave_options import SlaveOptions
from taskmaster.errors import TargetError, UsageError
from taskmaster.master.outcome import Outcome
from taskmaster.master.workload import Options, workload_of
from taskmaster.sources.base import Source
from taskmaster.targets import parent_main
from taskmaster.targets.handler import batch_of
from taskmaster.targets.load import Target, importing
from taskmaster.targets.pool_choice import check_handler


def run(get_jobs: Callable[..., Any], handle_job: Callable[[Any], Any], *, slaves: int = 2,
        arguments: dict[str, Any] | None = None, state: str | Path | None = None,
        concurrency: int | str | None = None, pool: str | None = None, batch: int | None = None,
        job_timeout: float | None = None, progress: bool = False, max_failures: str = defaults.MAX_FAILURES,
        retry_failed: bool = False, **options: Any) -> Outcome:
    """Call `handle_job` once for each job of `get_jobs`, in `slaves` processes. Call it from the main thread.

    A handler that is called `handle_jobs` or has `@handler(batch=N)` takes lists of jobs, of up to `batch` if given.

    Both functions must be importable from a module or a file, since each slave imports the handler itself; in a script,
    call `run` under ``if __name__ == "__main__":``. `get_jobs` may also be one of `taskmaster.sources`. Slaves search
    for modules where this process does, and find the classes of its script. `arguments` are passed to `get_jobs`. With
    `retry_failed`, the jobs in the failures file are tried again, and none is pulled from the source. `options` are the
    fields of `Options`: size, attempts, limit, rate, total, codec, reset, force_resume, results (a Path), in_order,
    backup_attempts. Returns the outcome, whose `exit_code` is that of the same `tm-run`. Raises TaskmasterError if the
    run cannot begin.
    """
    if importing():
        raise UsageError("run() was called while a slave was importing this module, which would start a run in each "
                         'slave. Put the call under: if __name__ == "__main__":')
    apart = isinstance(get_jobs, Source)
    source = Target("sources", repr(get_jobs), is_file=False) if apart else _target_of(get_jobs)
    handler = _target_of(handle_job)
    _check_reachable(handle_job)
    check_handler(handle_job, pool, batch_of(handle_job, handler.function, batch), concurrency)
    given = arguments or {}
    texts = {key: str(value) for key, value in given.items()}
    workload = workload_of(get_jobs, source, handler, given, texts, Path(state) if state else None, apart)
    slave = SlaveOptions(concurrency, pool, batch, job_timeout, retries=defaults.RETRIES_OF_CHILDREN)
    argv = [handler.located, *slave.arguments()]
    chosen = Options(budget=parse_budget(max_failures), retry=Selection() if retry_failed else None, **options)
    return LocalRun(workload, chosen, argv, slaves, make_progress(progress, sys.stderr),
                    slave.timeout_of(handle_job),
                    folder=handler.folder, environment=parent_main.bequeathed()).run()


def _target_of(function: Callable[..., Any]) -> Target:
    """How another process finds this function. Raises TargetError if it cannot."""
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "") or ""
    if not name or "<" in name:
        raise TargetError(f"Slaves could not import {function!r} by name. Define it with `def` at the top level of a "
                          "module.")
    if module != "__main__":
        return Target(module, name, is_file=False)
    found = parent_main.target_in_main(name)
    if found is None:
        raise TargetError(f"{name} is in a program that slaves cannot import, as it has no file whose name ends with "
                          f".py. Define it in a module:\n    from jobs import {name}")
    return found


def _check_reachable(handler: Callable[..., Any]) -> None:
    """Raise TargetError unless slaves that import the handler by its name get this very handler."""
    found: Any = sys.modules.get(handler.__module__)
    for part in handler.__qualname__.split("."):
        found = getattr(found, part, None)
    if found != handler:
        what = f"{handler.__module__}.{handler.__qualname__}"
        owner = getattr(handler, "__self__", None)
        why = "it would lose its instance" if owner is not None else "that name refers to something else"
        raise TargetError(f"Slaves import the handler as {what}, but {why}. Define a function at the top level of a "
                          "module that calls it:\n    def handle_job(job):\n        worker.handle(job)")
