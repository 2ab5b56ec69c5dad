"""What every command does around its work: signals, log, errors, exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Protocol

import click

from taskmaster.cli.init import leave_process_1
from taskmaster.core.interrupts import WARNINGS, WISHES, Interrupts
from taskmaster.errors import EXIT_INTERRUPTED, EXIT_USAGE, TaskmasterError, UserCodeError
from taskmaster.targets.frames import import_traceback, user_traceback


class LogStream(Protocol):
    """Where log lines go: standard error, or above the progress line."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


def configure_logging(level: str, stream: LogStream | None = None) -> None:
    """Log to `stream`, else to standard error."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s" if level != "debug" else
                                           "%(asctime)s %(process)d %(name)s %(levelname)s: %(message)s"))
    root = logging.getLogger("taskmaster")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())


def on_signals(interrupts: Interrupts) -> None:
    """From now on a signal that asks to end is only noted in `interrupts`; the loops do the rest."""
    _handle_signals(lambda warning: interrupts.add(time.monotonic(), warning))


def _end_at_signals() -> None:
    """Until there is something to drain, such a signal ends whatever is going on, such as the user's import."""
    def end(warning: bool) -> None:
        raise KeyboardInterrupt

    _handle_signals(end)


def _handle_signals(act: Callable[[bool], object]) -> None:
    for name in (*WISHES, *WARNINGS):
        number = getattr(signal, name, None)  # Windows does not have all of them
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):  # nohup
            signal.signal(number, partial(_handle, act, name in WARNINGS))


def _handle(act: Callable[[bool], object], warning: bool, signum: int, frame: FrameType | None) -> None:
    act(warning)


def report(error: BaseException) -> None:
    """Show one sentence for a known error, and the user's traceback for what the user's code raised."""
    if isinstance(error, UserCodeError):
        click.echo(import_traceback(error), err=True)
    elif not isinstance(error, TaskmasterError):
        click.echo(user_traceback(error), err=True, nl=False)
        click.echo("Error: get_jobs raised this exception. The jobs it had yielded before are settled and saved. Fix "
                   "it, then run the same command again to resume.", err=True)
        return
    click.echo(f"Error: {error}", err=True)


def run_command(command: click.Command, stuck: Callable[[], bool] = lambda: False) -> None:
    """Run a command and exit. `stuck` tells at the end whether a thread is still in the user's code."""
    leave_process_1()
    _end_at_signals()
    try:
        code = command.main(standalone_mode=False)
    except click.exceptions.Abort:  # a signal before there was anything to drain
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = EXIT_USAGE
    except TaskmasterError as error:
        report(error)
        code = error.exit_code
    _leave(int(code or 0), stuck())


def _leave(code: int, stuck: bool) -> None:
    if not stuck:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
