"""tm-run: a master and its slaves on this box."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults
from taskmaster.api.local_run import LocalRun
from taskmaster.cli import entry, master_options, options
from taskmaster.console.log import configure_logging
from taskmaster.console.progress import make_progress
from taskmaster.fleet.command import slave_arguments
from taskmaster.targets.load import load_target, parse_target
from taskmaster.targets.signature import check_arity


@click.command(context_settings=options.SETTINGS)
@click.argument("target", metavar="FILE")
@click.argument("procs", type=click.IntRange(1))
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@options.option("--get-jobs-callback", default=defaults.GET_JOBS, metavar="NAME", help="The iterator's name in FILE.")
@options.option("--handle-job-callback", default=defaults.HANDLE_JOB, metavar="NAME",
                help="The handler's name in FILE.")
@master_options.master_options
@options.slave_options
@options.common_options
def command(target: str, procs: int, arguments: tuple[str, ...], get_jobs_callback: str, handle_job_callback: str,
            state: Path | None, summary: Path | None, concurrency: int, job_timeout: float | None, timeout: int,
            retries: int, log_level: str, no_progress: bool, **master: Any) -> int:
    """Call handle_job, in PROCS slave processes, for each job that get_jobs(KEY=VALUE...) yields.

    FILE is a file.py or a module. Ctrl-C stops in good order; the same command goes on where it stopped.
    """
    progress = make_progress(not no_progress, sys.stderr)
    configure_logging(log_level, progress)
    master_options.check_summary(summary)
    handler = parse_target(target, handle_job_callback)
    work = master_options.workload(parse_target(target, get_jobs_callback), handler, arguments, state)
    check_arity(load_target(handler))
    slave = [str(handler), *slave_arguments(concurrency, job_timeout, timeout, retries, log_level)]
    box = LocalRun(work, master_options.master_settings(master), slave, procs, progress)
    entry.on_signals(box.interrupt)
    return master_options.conclude(box.run(), summary)


def main() -> None:
    entry.run_command(command)


if __name__ == "__main__":
    main()
