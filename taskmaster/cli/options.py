"""The options that commands share, and what every command does around its work. A slave loads no master for it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar

import click

from taskmaster import addresses, defaults, keys, knock, targets
from taskmaster.errors import EXIT_ERROR, EXIT_USAGE, KeyRefused, TaskmasterError, UserCodeError
from taskmaster.keys import Keys
from taskmaster.master.progress import Progress

log = logging.getLogger(__name__)

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]

SETTINGS = {"auto_envvar_prefix": "TASKMASTER", "help_option_names": ["-h", "--help"], "max_content_width": 100}
LEVELS = ("debug", "info", "warning", "error")


def all_of(*decorators: Decorator) -> Decorator:
    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command
    return decorate


def option(*names: str, **settings: Any) -> Decorator:
    settings.setdefault("show_default", settings.get("default") is not None)
    return click.option(*names, show_envvar=False, **settings)


address_option = option("--address", default=defaults.ADDRESS, metavar="ADDRESS",
                        help="Where the master listens: tcp://HOST:PORT, or ipc://PATH on one box.")

key_options = all_of(
    option("--key-file", type=click.Path(path_type=Path, readable=False), metavar="FILE",
           help="The key that a master shares with its slaves, for tcp addresses  "
                f"[default: ~/.config/taskmaster/key unless {keys.VARIABLE} holds one]"),
    option("--insecure", is_flag=True, help="Use no key: let anybody in who reaches the master's address."),
)

common_options = all_of(
    option("--log-level", type=click.Choice(LEVELS), default="info", help="How much to say on standard error."),
    option("--no-progress", is_flag=True, help="Show no progress."),
)

slave_options = all_of(
    option("--concurrency", type=click.IntRange(1, 10_000), default=defaults.CONCURRENCY, metavar="N",
           help="Threads in each slave that call the handler."),
    option("--job-timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
           help="Fail an attempt that takes longer, and replace its slave."),
    option("--timeout", type=click.IntRange(100), default=defaults.REPLY_TIMEOUT_MS, metavar="MS",
           help="Silence of the master, in milliseconds, after which a slave asks again."),
    option("--retries", type=click.IntRange(1), default=defaults.RETRIES, metavar="N",
           help="Times that a slave asks before it gives up: it waits N x MS in all."),
)


def slave_arguments(concurrency: int, job_timeout: float | None, timeout: int, retries: int,
                    log_level: str) -> list[str]:
    """The same options for a slave's command line."""
    given = {"--concurrency": concurrency, "--job-timeout": job_timeout, "--timeout": timeout, "--retries": retries,
             "--log-level": log_level}
    return [text for name, value in given.items() if value is not None for text in (name, str(value))]


def key_arguments(key_file: Path | None, insecure: bool) -> list[str]:
    """The same options for a slave's command line."""
    named = ["--key-file", str(key_file)] if key_file is not None else []
    return named + (["--insecure"] if insecure else [])


def master_keys(address: str, key_file: Path | None, insecure: bool) -> Keys | None:
    """The keys for a master's address, made at first use; None where none are used. Raises KeyRefused, UsageError."""
    if not _wants_keys(address):
        return None
    if insecure:
        log.warning("--insecure: no key is asked for at %s. Whoever reaches it can read the jobs and say that they "
                    "are done", address)
        return None
    return keys.find(key_file, os.environ) or _made(keys.place(key_file, os.environ))


def slave_keys(address: str, key_file: Path | None, insecure: bool) -> Keys | None:
    """The keys for a slave of the master at `address`; None where none are used. Raises KeyRefused, UsageError.

    They are made at first use for this user's own master, which may start later; for another box's they cannot be.
    """
    if insecure or not _wants_keys(address):
        return None
    found, dialed = keys.find(key_file, os.environ), addresses.dial_address(address)
    path = keys.place(key_file, os.environ)
    if found is None and not (addresses.is_local(dialed) and key_file is None):
        raise KeyRefused(f"This slave has no key for the master at {dialed}: there is no {path}. "
                         f"{knock.how_to_copy(dialed, str(path))}")
    return found or _made(path)


def warn_of_insecure_master(address: str) -> None:
    """For a slave: its master may be anybody. Without a word where the address is a file of this user's."""
    if _wants_keys(address):
        log.warning("--insecure: whoever answers at %s is taken for the master", addresses.dial_address(address))


def _wants_keys(address: str) -> bool:
    """Not for a socket file, which its mode keeps to its owner. Raises UsageError for what is no address."""
    return not addresses.ipc_path(addresses.check_address(address))


def _made(path: Path) -> Keys:
    made = keys.make(path)
    log.info("Made a key for you: %s", path)
    return made


def configure_logging(level: str, progress: Progress) -> None:
    """Log lines go through the progress, so that they do not tear it."""
    handler = logging.StreamHandler(_Lines(progress))
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s" if level != "debug" else
                                           "%(asctime)s %(process)d %(name)s %(levelname)s: %(message)s"))
    root = logging.getLogger("taskmaster")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())


class _Lines:
    """A stream for logging that writes whole lines to a progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def write(self, text: str) -> None:
        if text.strip("\n"):
            self._progress.write(text.rstrip("\n"))

    def flush(self) -> None:
        """Each line is written at once."""


def on_signals(interrupt: Callable[[], None]) -> None:
    """SIGINT and SIGTERM only call `interrupt`: it counts, and the loop does the rest."""
    def handle(signum: int, frame: FrameType | None) -> None:
        interrupt()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def report(error: BaseException) -> None:
    """One clear line for what we know, the user's traceback for what the user's code raised."""
    if isinstance(error, UserCodeError):
        click.echo(targets.traceback_of(error), err=True)
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


def main_of(command: click.Command, ends: Callable[[], bool] = lambda: False) -> None:
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
