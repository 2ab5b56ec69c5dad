"""The options that several commands share. The master is not imported here, so that slaves need not load it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults
from taskmaster.cli.help import FAILURES, HOW_MUCH, NETWORK, OUTPUT, Command, Option
from taskmaster.cli.log_format import FORMATS
from taskmaster.core.slave_options import SlaveOptions
from taskmaster.errors import UsageError
from taskmaster.targets.pool_choice import POOLS
from taskmaster.transport import keys

Decorator = Callable[[Any], Any]

SETTINGS = {"auto_envvar_prefix": "TASKMASTER", "help_option_names": ["-h", "--help"],
            "max_content_width": defaults.HELP_COLUMNS}
LEVELS = ("debug", "info", "warning", "error")


def command(example: str) -> Decorator:
    """Makes a function a command whose help ends with this example."""
    return click.command(cls=Command, context_settings=SETTINGS, example=example)


def compose(*decorators: Decorator) -> Decorator:
    """One decorator that applies these, as if they were stacked in this order."""
    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command
    return decorate


def option(*names: str, group: str, **settings: Any) -> Decorator:
    """An option of this group."""
    settings.setdefault("show_default", settings.get("default") is not None)
    return click.option(*names, cls=Option, group=group, show_envvar=False, **settings)


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"{context.info_name}, taskmaster {_version()}")
        context.exit()


def _version() -> str:
    """The version in setup.cfg, as it was when this was installed. Raises UsageError if it was not."""
    from importlib.metadata import PackageNotFoundError, version  # here: it takes 20 ms, and nobody else needs it

    try:
        return version("taskmaster")
    except PackageNotFoundError:
        raise UsageError("Taskmaster is not installed for this Python, so its version is unknown. Install it with "
                         "pip.") from None


address_option = option("--address", group=NETWORK, default=defaults.ADDRESS, metavar="ADDRESS",
                        help="Where the master listens: tcp://HOST:PORT, or ipc://PATH on a single machine.")

key_options = compose(
    option("--key-file", group=NETWORK, type=click.Path(path_type=Path, readable=False), metavar="FILE",
           help="The key that a master shares with its slaves, used with tcp addresses  "
                f"[default: ~/.config/taskmaster/key unless {keys.VARIABLE} holds one]"),
    option("--insecure", group=NETWORK, is_flag=True,
           help="Use no key: accept anyone who can reach the master's address."),
)


def _as_one_value(command: Any) -> Any:
    """Passes the options of slaves to the command as its argument `slave`, a SlaveOptions."""
    @wraps(command)
    def with_slave(**given: Any) -> Any:
        slave = SlaveOptions(**{one.name: given.pop(one.name) for one in fields(SlaveOptions)})
        return command(slave=slave, **given)
    return with_slave


slave_options = compose(
    option("--concurrency", group=HOW_MUCH, type=click.IntRange(1, defaults.CONCURRENCY_MOST), metavar="N",
           help=f"Jobs, or batches, that each slave runs at once  [default: the handler's own, else "
                f"{defaults.CONCURRENCY} threads, or {defaults.CONCURRENCY_ASYNC} with asyncio or greenlets; batches: "
                f"{defaults.CONCURRENCY_BATCHES}, or {defaults.CONCURRENCY_BATCHES_ASYNC}]"),
    option("--pool", group=HOW_MUCH, type=click.Choice(POOLS), metavar="POOL",
           help="What runs the handler in a slave: threads, asyncio or greenlets  [default: asyncio for an async "
                "handler, else threads]"),
    option("--batch", group=HOW_MUCH, type=click.IntRange(1, defaults.BATCH_MOST_JOBS), metavar="N",
           help="Maximum jobs in one call of handle_jobs  [default: the handler's own, else "
                f"{defaults.BATCH_JOBS}]"),
    option("--job-timeout", group=FAILURES, type=click.FloatRange(0, min_open=True), metavar="SECONDS",
           help="Fail an attempt that takes longer than this, and replace its slave if it cannot be ended  [default: "
                "the handler's own]"),
    option("--max-jobs-per-slave", group=HOW_MUCH, type=click.IntRange(1), metavar="N",
           help="Replace a slave once it has run N jobs or a few more."),
    option("--max-memory", group=HOW_MUCH, type=click.FloatRange(1), metavar="MB",
           help="Replace a slave once it takes this much memory."),
    option("--lifetime", group=HOW_MUCH, type=click.FloatRange(0, min_open=True), metavar="SECONDS",
           help="Replace a slave once it is this old."),
    option("--timeout", group=NETWORK, type=click.IntRange(defaults.REPLY_TIMEOUT_MS_LEAST),
           default=defaults.REPLY_TIMEOUT_MS, metavar="MS",
           help="Milliseconds that a slave waits for an answer before asking again."),
    option("--retries", group=NETWORK, type=click.IntRange(1), default=defaults.RETRIES, metavar="N",
           help="How often a slave asks before giving up; it waits N x MS in total."),
    _as_one_value,
)

common_options = compose(
    option("--grace", group=FAILURES, type=click.FloatRange(0), metavar="SECONDS",
           help="When asked to end, wait at most this long for running jobs; then give them back."),
    option("--log-level", group=OUTPUT, type=click.Choice(LEVELS), default="info", metavar="LEVEL",
           help="Log this level and above to standard error: debug, info, warning or error."),
    option("--log-format", group=OUTPUT, type=click.Choice(FORMATS), default="text", metavar="FORMAT",
           help="Log format: text, or json for one JSON object per line."),
    option("--no-progress", group=OUTPUT, is_flag=True, help="Do not show progress."),
    # Not from the environment: in a container that sets TASKMASTER_VERSION no command would run.
    option("--version", group=OUTPUT, is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
           allow_from_autoenv=False, help="Show the version and exit."),
)
