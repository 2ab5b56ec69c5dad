"""What the commands with a master in them share: its options, what to run, and how a run ended."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults
from taskmaster.cli.entry import report
from taskmaster.cli.options import compose, option
from taskmaster.core.budget import parse_budget
from taskmaster.core.codec import CODECS
from taskmaster.errors import StateUnwritable, UsageError
from taskmaster.master.outcome import Outcome, write_summary
from taskmaster.master.workload import Options, Workload, workload_of
from taskmaster.targets.load import Target, load_target
from taskmaster.targets.signature import convert_arguments

master_options = compose(
    option("--size", type=click.IntRange(1), default=defaults.WINDOW_JOBS, metavar="JOBS",
           help="Most jobs between the first unfinished one and the newest pulled: bounds memory and replays."),
    option("--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
           help="Folder of checkpoint and failures file  [default: .taskmaster/TARGET-HASH in the working folder]"),
    option("--reset", is_flag=True, help="Start over; the old state is moved aside."),
    option("--force-resume", is_flag=True, help="Go on by count though the source now gives another job there."),
    option("--attempts", type=click.IntRange(1), default=defaults.ATTEMPTS, metavar="N",
           help="Times a job is tried before it goes to the failures file."),
    option("--max-failures", default=defaults.MAX_FAILURES, metavar="N|P%|none",
           help=f"Stop when more jobs failed: a number, or a share of at least {defaults.MAX_FAILURES_SAMPLE} "
                "finished jobs."),
    option("--limit", type=click.IntRange(1), metavar="N", help="Pull at most this many jobs in this run."),
    option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Hand out at most N jobs a second."),
    option("--total", type=click.IntRange(0), metavar="N", help="How many jobs there are in all, for the ETA."),
    option("--codec", type=click.Choice(CODECS), default="pickle",
           help="How jobs travel; json for handlers that are not Python (it turns tuples into lists)."),
    option("--summary", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
           help="Write the summary of the run there, as one JSON object."),
)


def master_settings(given: dict[str, Any]) -> Options:
    """The options of a master or a box as one value. Raises UsageError."""
    names = ("size", "attempts", "limit", "rate", "total", "codec", "reset", "force_resume")
    return Options(budget=parse_budget(given["max_failures"]), **{name: given[name] for name in names})


def workload(source: Target, handler: Target, pairs: Sequence[str], state: Path | None) -> Workload:
    """What to run, with the user's module imported and its arguments converted. Raises TargetError, UsageError."""
    get_jobs = load_target(source)
    arguments = convert_arguments(get_jobs, pairs)
    return workload_of(get_jobs, source, handler, arguments, dict(pair.split("=", 1) for pair in pairs), state)


def check_summary(summary: Path | None) -> None:
    """Raise UsageError where no summary can be written: told after hours of work it would be told too late."""
    if summary is not None and not (summary.parent.is_dir() and os.access(summary.parent, os.W_OK)):
        raise UsageError(f"--summary {summary} cannot be written: {summary.parent} is no folder that you may write to.")


def conclude(outcome: Outcome, summary: Path | None) -> int:
    """Say how a run ended, and return its exit code."""
    resume = None if outcome.stats.finished else _same_command()
    if outcome.error is not None:
        report(outcome.error)
    click.echo(outcome.text(resume), err=True)
    try:
        if summary is not None:
            write_summary(summary, outcome, resume)
    except StateUnwritable as error:
        report(error)
        return outcome.exit_code or error.exit_code
    return outcome.exit_code


def _same_command() -> str:
    """What goes on where this command stopped."""
    program = Path(sys.argv[0])
    # Started by `python -m`, the program is the module's file, which nobody can start by its name.
    name = f"tm-{program.stem}" if program.suffix == ".py" else program.name
    return shlex.join([name, *(argument for argument in sys.argv[1:] if argument != "--reset")])
