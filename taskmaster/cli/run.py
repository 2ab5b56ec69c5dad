"""tm-run: a master and its slaves on this machine."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults
from taskmaster.api.local_run import LocalRun
from taskmaster.cli import entry, master_options, options
from taskmaster.cli.help import WHAT
from taskmaster.cli.shared_key import hide_key
from taskmaster.cli.shorthands import Shorthand, parse_source
from taskmaster.console.log import Lines
from taskmaster.console.progress import make_progress
from taskmaster.core.interrupts import Interrupts
from taskmaster.core.slave_options import SlaveOptions
from taskmaster.errors import UsageError
from taskmaster.fleet.command import output_arguments
from taskmaster.targets.handler import batch_of, load_handler
from taskmaster.targets.load import Target, load_target
from taskmaster.targets.pool_choice import check_handler


@options.command(example="tm-run squares.py 4 count=1000000 --concurrency 20")
@click.argument("target", metavar="FILE")
@click.argument("procs", type=click.IntRange(1))
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@options.option("--handler", "apart", group=WHAT, metavar="FILE",
                help="The file or module of the handler, where it is not that of the source.")
@options.option("--get-jobs-callback", group=WHAT, default=defaults.GET_JOBS, metavar="NAME",
                help="The function in FILE that yields the jobs.")
@options.option("--handle-job-callback", group=WHAT, metavar="NAME",
                help="The function in FILE that handles a job  [default: handle_jobs if there is one, which takes a "
                     "list of jobs, else handle_job]")
@master_options.master_options
@options.slave_options
@options.common_options
def command(target: str, procs: int, arguments: tuple[str, ...], apart: str | None, get_jobs_callback: str,
            handle_job_callback: str | None, state: Path | None, summary: Path | None, slave: SlaveOptions,
            grace: float | None, log_level: str, log_format: str, no_progress: bool, **master: Any) -> int:
    """Call handle_job, in PROCS slave processes, for each job that get_jobs(KEY=VALUE...) yields; or handle_jobs, for
    lists of them.

    FILE is a file.py or the name of a module; or, with --handler, a source such as lines:urls.txt. After Ctrl-C or a
    crash, run the same command again to resume.
    """
    progress = make_progress(not no_progress, sys.stderr)
    entry.configure_logging(log_level, log_format, Lines(progress))
    master_options.check_summary(summary)
    hide_key()  # not needed here: the socket file belongs to this user
    source = _source(target, apart, get_jobs_callback)
    handler, function = load_handler(apart or target, handle_job_callback)
    work = master_options.workload(source, handler, arguments, state, apart is not None)
    check_handler(function, slave.pool, batch_of(function, handler.function, slave.batch))
    argv = [handler.located, *replace(slave, retries=defaults.RETRIES_OF_CHILDREN).arguments(),
            *output_arguments(log_level, log_format, grace)]
    interrupts = Interrupts()
    entry.on_signals(interrupts)
    settings = master_options.master_settings(master, grace)
    run = LocalRun(work, settings, argv, procs, progress, slave.timeout_of(function), interrupts, handler.folder)
    return master_options.conclude(run.run(), summary)


def _source(target: str, apart: str | None, get_jobs: str) -> Target:
    """Import it before the handler: if a file has neither, this is the one to be told about."""
    source = parse_source(target, get_jobs)
    if not isinstance(source, Shorthand):
        load_target(source)
    elif apart is None:
        raise UsageError(f"{str(source)!r} is a source without a handler. Add one, for example --handler handle.py "
                         "with def handle_job(job) in it.")
    return source


def main() -> None:
    entry.run_command(command)


if __name__ == "__main__":
    main()
