"""What tm-run and tm-master share: their options, what to run, and how a run ended."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults
from taskmaster.cli.entry import report, say
from taskmaster.cli.help import FAILURES, HOW_MUCH, NETWORK, OUTPUT, STATE, WHAT
from taskmaster.cli.options import compose, option
from taskmaster.cli.shorthands import Shorthand, load_source
from taskmaster.console.paths import shown_path
from taskmaster.core.budget import parse_budget
from taskmaster.core.codec import CODECS
from taskmaster.core.selection import Selection, parse_selection
from taskmaster.errors import StateUnwritable, UsageError
from taskmaster.master.outcome import Outcome, write_summary
from taskmaster.master.workload import Options, Workload, workload_of
from taskmaster.targets.load import Target, load_module, load_target
from taskmaster.targets.search_path import working_folder
from taskmaster.targets.signature import convert_arguments


def _from_here(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """The same path when the user's code has changed the working folder."""
    return None if path is None else Path(working_folder()) / path


# Options of a single run, which the command that resumes it leaves out.
_ONCE = ("--reset", "--retry-failed")
_ONCE_WITH_VALUE = ("--where", "--offsets")

master_options = compose(
    option("--limit", group=WHAT, type=click.IntRange(1), metavar="N", help="Pull at most N jobs in this run."),
    option("--size", group=HOW_MUCH, type=click.IntRange(1), default=defaults.WINDOW_JOBS, metavar="JOBS",
           help="Maximum jobs read ahead of the oldest unfinished one; limits memory and replays."),
    option("--rate", group=HOW_MUCH, type=click.FloatRange(0, min_open=True), metavar="N",
           help="Hand out at most N jobs per second."),
    option("--no-backup-attempts", group=HOW_MUCH, is_flag=True,
           help="At the end, do not let idle slaves also run what others have been running for long."),
    option("--attempts", group=FAILURES, type=click.IntRange(1), metavar="N",
           help=f"Attempts at a job before it is recorded as failed  [default: the handler's own, else "
                f"{defaults.ATTEMPTS}]"),
    option("--max-failures", group=FAILURES, default=defaults.MAX_FAILURES, metavar="N|P%|none",
           help="Stop when more than N jobs have failed, or more than P % of at least "
                f"{defaults.MAX_FAILURES_SAMPLE} finished jobs."),
    option("--retry-failed", group=FAILURES, is_flag=True,
           help="Try the jobs in the failures file again, and pull none from the source."),
    option("--where", group=FAILURES, multiple=True, metavar="FIELD=VALUE",
           help="With --retry-failed: only jobs whose record has error=TYPE or kind=KIND; may be repeated."),
    option("--offsets", group=FAILURES, metavar="N,N-N,...",
           help="With --retry-failed: only jobs at these offsets, such as 12,40-90."),
    option("--state", group=STATE, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
           help="Folder for the checkpoint and the failures file  "
                "[default: .taskmaster/TARGET-HASH in the working folder]"),
    option("--reset", group=STATE, is_flag=True, help="Start over; the old state is moved aside."),
    option("--force-resume", group=STATE, is_flag=True,
           help="Resume by count, even if the source now yields a different job at that point."),
    option("--codec", group=NETWORK, type=click.Choice(CODECS), default="pickle",
           help="How jobs are encoded: json for handlers that are not Python (it turns tuples into lists)."),
    option("--results", group=OUTPUT, type=click.Path(path_type=Path), metavar="FILE",
           help="Write what the handlers return to FILE: .jsonl, .csv, .sqlite, or a folder of .parquet parts."),
    option("--unordered", group=OUTPUT, is_flag=True,
           help="Write each result as soon as it is there, not in the order of the jobs."),
    option("--results-with-failures", group=OUTPUT, is_flag=True,
           help="In place of the result of a job that failed, write why it failed."),
    option("--total", group=OUTPUT, type=click.IntRange(0), metavar="N",
           help="Total number of jobs, for estimating when the run will end."),
    option("--summary", group=OUTPUT, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
           callback=_from_here, help="Write a summary of the run to FILE, as a JSON object."),
)


def master_settings(given: dict[str, Any], grace: float | None) -> Options:
    """The options of a master as one value. Raises UsageError."""
    names = ("size", "attempts", "limit", "rate", "total", "codec", "reset", "force_resume")
    results = given["results"]
    if results is None and (given["unordered"] or given["results_with_failures"]):
        raise UsageError("--unordered and --results-with-failures say how to write results. Add --results FILE.")
    return Options(retry=_selection(given), budget=parse_budget(given["max_failures"]), grace=grace,
                   results=None if results is None else results.absolute(), in_order=not given["unordered"],
                   results_with_failures=given["results_with_failures"],
                   backup_attempts=not given["no_backup_attempts"], **{name: given[name] for name in names})


def _selection(given: dict[str, Any]) -> Selection | None:
    """The failed jobs to try again, None without --retry-failed. Raises UsageError."""
    where, offsets = given["where"], given["offsets"]
    if not given["retry_failed"]:
        if where or offsets is not None:
            raise UsageError("--where and --offsets say which failed jobs to try again. Add --retry-failed.")
        return None
    if given["reset"] or given["limit"] is not None:
        raise UsageError("--retry-failed pulls nothing from the source, so it takes neither --reset nor --limit.")
    return parse_selection(where, offsets)


def workload(source: Target, handler: Target, pairs: Sequence[str], state: Path | None,
             apart: bool = False) -> Workload:
    """The workload: imports the user's module and converts its arguments. Raises TargetError, UsageError.

    If they stand `apart`, in two modules, `handle_result` is looked for beside the handler.
    """
    get_jobs = load_source(source) if isinstance(source, Shorthand) else load_target(source)
    arguments = convert_arguments(get_jobs, pairs)
    texts = dict(pair.split("=", 1) for pair in pairs)
    beside = handler if apart else source
    module = None if isinstance(beside, Shorthand) else load_module(beside, search_here=apart)
    handle_result = getattr(module, defaults.HANDLE_RESULT, None)
    found = workload_of(get_jobs, source, handler, arguments, texts, state, apart)
    return replace(found, handle_result=handle_result)


def check_summary(summary: Path | None) -> None:
    """Raise UsageError now, rather than after hours of work, if the summary cannot be written there."""
    if summary is not None and not (summary.parent.is_dir() and os.access(summary.parent, os.W_OK)):
        raise UsageError(f"--summary {shown_path(summary)} cannot be written: {shown_path(summary.parent)} is not a "
                         "folder that you may write to.")


def conclude(outcome: Outcome, summary: Path | None) -> int:
    """Print how a run ended, and return its exit code."""
    command = _same_command()
    if outcome.error is not None:
        report(outcome.error)
    say(outcome.text(command))
    try:
        if summary is not None:
            write_summary(summary, outcome, command)
    except StateUnwritable as error:
        report(error)
        return outcome.exit_code or error.exit_code
    return outcome.exit_code


def _same_command() -> str:
    """The command line that resumes this run, also after it was one that tried failed jobs again."""
    program = Path(sys.argv[0])
    # With `python -m` the program is the module's file, which cannot be run by its name.
    name = f"tm-{program.stem}" if program.suffix == ".py" else program.name
    kept, skip = [], False
    for argument in sys.argv[1:]:
        skip, value_of_one = argument in _ONCE_WITH_VALUE, skip
        once = argument in _ONCE or argument.startswith(tuple(f"{option}=" for option in _ONCE_WITH_VALUE))
        kept += [] if skip or once or value_of_one else [argument]
    return shlex.join([name, *kept])
