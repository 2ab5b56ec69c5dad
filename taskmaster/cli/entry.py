"""What every command does around its work: signals, log, errors, exit code."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Protocol

import click

from taskmaster import defaults
from taskmaster.cli.init import leave_process_1
from taskmaster.cli.log_format import make_formatter
from taskmaster.core.interrupts import STOPS, WARNINGS, Interrupts
from taskmaster.core.printable import lines_of
from taskmaster.errors import EXIT_INTERRUPTED, EXIT_USAGE, SetUpFailed, TaskmasterError, UserCodeError
from taskmaster.forks import call_in_children
from taskmaster.native import refused_thread
from taskmaster.outlet import open_standard_streams, outlet_of, silence_if_lost
from taskmaster.targets.frames import import_traceback, user_traceback

_installed: list[object] = []  # signal handlers, which live as long as the process


class LogStream(Protocol):
    """Where log lines go: standard error, or above the progress line."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


def configure_logging(level: str, form: str = "text", stream: LogStream | None = None) -> None:
    """Log to `stream`, else to standard error, in one of log_format.FORMATS.

    What the user's code logs is shown in the same way, unless it configures logging itself.
    """
    handler = logging.StreamHandler(stream or outlet_of(sys.stderr))  # type: ignore[arg-type]
    handler.setFormatter(make_formatter(form, level))
    ours = logging.getLogger("taskmaster")
    ours.handlers[:] = [handler]
    ours.propagate = False
    ours.setLevel(level.upper())
    # Not a handler of the root logger: with one there, logging.basicConfig in the user's module would do nothing.
    logging.lastResort = handler
    logging.getLogger().setLevel(level.upper())
    keep_logging()


class _Kept(logging.Logger):
    """A logger that is never disabled: dictConfig and fileConfig disable, by default, each logger they do not name."""

    @property  # type: ignore[override]
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        pass


def keep_logging() -> None:
    """Keep the user's code from accidentally disabling the loggers of ours that exist so far."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.split(".")[0] == "taskmaster" and type(logger) is logging.Logger:
            logger.__class__ = _Kept


def on_signals(interrupts: Interrupts) -> None:
    """From now on, signals that ask the process to end are only recorded in `interrupts`; the loops do the rest.

    Forked children get back the handlers that were there before, because multiprocessing ends its workers by SIGTERM.
    """
    _handle_signals(lambda warning: interrupts.add(time.monotonic(), warning))


def _end_at_signals() -> None:
    """Until there is something to drain, such a signal aborts whatever is happening, such as the user's import."""
    def end(warning: bool) -> None:
        raise KeyboardInterrupt

    _handle_signals(end)


def _handle_signals(act: Callable[[bool], object]) -> None:
    for name in (*STOPS, *WARNINGS):
        number = getattr(signal, name, None)  # Windows does not have all of them
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):  # nohup
            _handle_one(number, partial(_handle, act, name in WARNINGS))


def _handle_one(number: signal.Signals, handle: Callable[[int, FrameType | None], None]) -> None:
    before = signal.signal(number, handle)
    if before in _installed:
        before = signal.SIG_DFL  # ours, from an earlier stage of this command
    call_in_children(handle, lambda ours: _restore(number, before, ours))
    _installed.append(handle)


def _restore(number: signal.Signals, before: Any, ours: object) -> None:
    if before is not None and signal.getsignal(number) is ours:  # the user's own handlers are left alone
        signal.signal(number, before)


def _handle(act: Callable[[bool], object], warning: bool, signum: int, frame: FrameType | None) -> None:
    act(warning)


def say(text: str) -> None:
    """Show these lines to the user on standard error; they are lost if it cannot be written."""
    outlet_of(sys.stderr).write(lines_of(text).rstrip("\n") + "\n")


def report(error: BaseException) -> None:
    """Show one sentence for a known error, and a traceback for what the user's code raised."""
    if isinstance(error, (UserCodeError, SetUpFailed)):
        say(import_traceback(error))
    elif not isinstance(error, TaskmasterError):
        say(user_traceback(error))
        say("Error: get_jobs raised this exception. The jobs that it had yielded are settled and saved. Fix it, "
            "then run the same command again to resume.")
        return
    say(f"Error: {error}")


def run_command(command: click.Command, stuck: Callable[[], bool] = lambda: False) -> None:
    """Run a command and exit. `stuck` is asked at the end whether a thread is still in the user's code."""
    open_standard_streams()
    leave_process_1()
    atexit.register(_keep_exit_code)  # before the user's module is imported: so it is called after what that registers
    _end_at_signals()
    try:
        code = command.main(standalone_mode=False)
    except click.exceptions.Abort:  # a signal before there was anything to drain
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show(outlet_of(sys.stderr))  # type: ignore[arg-type]
        code = EXIT_USAGE
    except TaskmasterError as error:
        report(error)
        code = error.exit_code
    except RuntimeError as error:
        known = refused_thread(error)
        if not isinstance(known, TaskmasterError):
            raise
        report(known)
        code = known.exit_code
    _leave(int(code or 0), stuck())


def _keep_exit_code() -> None:
    """A signal that comes now is too late to change anything. Python would put back the default actions before it is
    gone, and a run that is done would end with 143: whoever stops a service as its work ends would see a failure."""
    for name in (*STOPS, *WARNINGS):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in _installed:
            signal.signal(number, signal.SIG_IGN)


def _leave(code: int, stuck: bool) -> None:
    outlet_of(sys.stderr).finish(defaults.OUTPUT_FINISH_SECONDS)
    silence_if_lost(sys.stdout)
    silence_if_lost(sys.stderr)
    if not stuck:
        gc.freeze()  # the interpreter's last collection would visit every object: 10 ms of a short run
        sys.exit(code)
    os._exit(code)
