"""The options that commands share, and what every command does around its work. A slave loads no master for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from taskmaster import defaults
from taskmaster.errors import KeyRefused
from taskmaster.transport import addresses, handshake, keys
from taskmaster.transport.keys import Keys

log = logging.getLogger(__name__)

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]

SETTINGS = {"auto_envvar_prefix": "TASKMASTER", "help_option_names": ["-h", "--help"], "max_content_width": 100}
LEVELS = ("debug", "info", "warning", "error")


def compose(*decorators: Decorator) -> Decorator:
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

key_options = compose(
    option("--key-file", type=click.Path(path_type=Path, readable=False), metavar="FILE",
           help="The key that a master shares with its slaves, for tcp addresses  "
                f"[default: ~/.config/taskmaster/key unless {keys.VARIABLE} holds one]"),
    option("--insecure", is_flag=True, help="Use no key: let anybody in who reaches the master's address."),
)

common_options = compose(
    option("--log-level", type=click.Choice(LEVELS), default="info", help="How much to say on standard error."),
    option("--no-progress", is_flag=True, help="Show no progress."),
)

slave_options = compose(
    option("--concurrency", type=click.IntRange(1, 10_000), default=defaults.CONCURRENCY, metavar="N",
           help="Threads in each slave that call the handler."),
    option("--job-timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
           help="Fail an attempt that takes longer, and replace its slave."),
    option("--timeout", type=click.IntRange(100), default=defaults.REPLY_TIMEOUT_MS, metavar="MS",
           help="Silence of the master, in milliseconds, after which a slave asks again."),
    option("--retries", type=click.IntRange(1), default=defaults.RETRIES, metavar="N",
           help="Times that a slave asks before it gives up: it waits N x MS in all."),
)


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
                         f"{handshake.how_to_copy(dialed, str(path))}")
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
