"""tm-run: a master and its slaves on this box."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults, targets
from taskmaster.cli import masters, options
from taskmaster.local import Box
from taskmaster.master.progress import make_progress


@click.command(context_settings=options.SETTINGS)
@click.argument("target", metavar="FILE")
@click.argument("procs", type=click.IntRange(1))
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@options.option("--get-jobs-callback", default=defaults.GET_JOBS, metavar="NAME", help="The iterator's name in FILE.")
@options.option("--handle-job-callback", default=defaults.HANDLE_JOB, metavar="NAME",
                help="The handler's name in FILE.")
@masters.master_options
@options.slave_options
@options.common_options
def command(target: str, procs: int, arguments: tuple[str, ...], get_jobs_callback: str, handle_job_callback: str,
            state: Path | None, summary: Path | None, concurrency: int, job_timeout: float | None, timeout: int,
            retries: int, log_level: str, no_progress: bool, **master: Any) -> int:
    """Call handle_job, in PROCS slave processes, for each job that get_jobs(KEY=VALUE...) yields.

    FILE is a file.py or a module. Ctrl-C stops in good order; the same command goes on where it stopped.
    """
    progress = make_progress(not no_progress, sys.stderr)
    options.configure_logging(log_level, progress)
    masters.check_summary(summary)
    handler = targets.parse_target(target, handle_job_callback)
    work = masters.workload(targets.parse_target(target, get_jobs_callback), handler, arguments, state)
    targets.check_arity(targets.load(handler))
    slave = [str(handler), *options.slave_arguments(concurrency, job_timeout, timeout, retries, log_level)]
    box = Box(work, masters.master_settings(master), slave, procs, progress)
    options.on_signals(box.interrupt)
    return masters.conclude(box.run(), summary)


def main() -> None:
    options.main_of(command)


if __name__ == "__main__":
    main()
