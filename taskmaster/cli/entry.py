"""What every command does around its work: signals, errors, the exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType

import click

from taskmaster.errors import EXIT_ERROR, EXIT_USAGE, TaskmasterError, UserCodeError
from taskmaster.targets.load import traceback_of


def on_signals(interrupt: Callable[[], None]) -> None:
    """SIGINT and SIGTERM only call `interrupt`: it counts, and the loop does the rest."""
    def handle(signum: int, frame: FrameType | None) -> None:
        interrupt()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def report(error: BaseException) -> None:
    """One clear line for what we know, the user's traceback for what the user's code raised."""
    if isinstance(error, UserCodeError):
        click.echo(traceback_of(error), err=True)
    elif not isinstance(error, TaskmasterError):
        click.echo("".join(traceback.format_exception(type(error), error, _below_us(error))), err=True, nl=False)
        click.echo("Error: get_jobs raised; what it gave before is settled and kept. Mend it and run the same "
                   "command again to go on.", err=True)
        return
    click.echo(f"Error: {error}", err=True)


def _below_us(error: BaseException) -> TracebackType | None:
    """The traceback from the user's first frame on; all of it where there is none, for then it is ours to mend."""
    trace = error.__traceback__
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("taskmaster."):
        trace = trace.tb_next
    return trace or error.__traceback__


def run_command(command: click.Command, ends: Callable[[], bool] = lambda: False) -> None:
    """Run a command to its exit code. `ends` says at the end whether a thread is stuck in the user's code."""
    try:
        code = command.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = EXIT_ERROR
    except click.ClickException as error:
        error.show()
        code = EXIT_USAGE
    except TaskmasterError as error:
        report(error)
        code = error.exit_code
    _leave(int(code or 0), ends())


def _leave(code: int, stuck: bool) -> None:
    if not stuck:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
