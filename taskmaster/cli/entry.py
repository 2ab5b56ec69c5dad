"""What every command does around its work: signals, log, errors, exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Protocol

import click

from taskmaster.errors import EXIT_ERROR, EXIT_USAGE, TaskmasterError, UserCodeError
from taskmaster.forks import call_in_children
from taskmaster.targets.frames import import_traceback, user_traceback

_installed: list[object] = []  # signal handlers, kept for as long as the process lives


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


def on_signals(interrupt: Callable[[], object]) -> None:
    """SIGINT and SIGTERM only call `interrupt`, which takes note; the loops do the rest.

    Forked children get the handlers back that were there before: multiprocessing ends its workers by SIGTERM.
    """
    def handle(signum: int, frame: FrameType | None) -> None:
        interrupt()

    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    call_in_children(handle, lambda ours: _restore(before, ours))
    _installed.append(handle)


def _restore(before: Mapping[signal.Signals, Any], ours: object) -> None:
    for signum, handler in before.items():
        if handler is not None and signal.getsignal(signum) is ours:  # the user's own handlers are left alone
            signal.signal(signum, handler)


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
    _leave(int(code or 0), stuck())


def _leave(code: int, stuck: bool) -> None:
    if not stuck:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
