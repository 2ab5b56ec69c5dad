"""tm-master: pulls jobs from the user's iterator and hands them to slaves, wherever they are."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults
from taskmaster.cli import entry, master_options, options
from taskmaster.console.log import configure_logging
from taskmaster.console.progress import make_progress
from taskmaster.master.master import Master
from taskmaster.targets.load import parse_target
from taskmaster.transport import addresses
from taskmaster.transport.keys import Keys

log = logging.getLogger("taskmaster.cli.master")  # also where `python -m` calls this module __main__


@click.command(context_settings=options.SETTINGS)
@click.argument("target")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@options.address_option
@options.key_options
@master_options.master_options
@options.common_options
def command(target: str, arguments: tuple[str, ...], address: str, key_file: Path | None, insecure: bool,
            state: Path | None, summary: Path | None, log_level: str, no_progress: bool, **master: Any) -> int:
    """Hand the jobs that get_jobs(KEY=VALUE...) yields to the slaves that connect.

    TARGET is module, module:function, file.py or file.py:function. Ctrl-C stops in good order; the same command
    goes on where it stopped.
    """
    progress = make_progress(not no_progress, sys.stderr)
    configure_logging(log_level, progress)
    master_options.check_summary(summary)
    source = parse_target(target, defaults.GET_JOBS)
    work = master_options.workload(source, source, arguments, state)
    shared = options.master_keys(address, key_file, insecure)
    one = Master(work, master_options.master_settings(master), progress)
    entry.on_signals(one.interrupt)
    try:
        one.open(address, shared)
        _tell_where(one.address, shared)
        outcome = one.run()
    finally:
        one.close()
    return master_options.conclude(outcome, summary)


def _tell_where(address: str, shared: Keys | None) -> None:
    """How slaves get here: those of this box, and those of another, where there can be some."""
    log.info("Listening at %s; start slaves with tm-spawn or tm-slave --address %s", address,
             addresses.dial_address(address))
    if shared is not None and addresses.is_local(address):
        log.info("Slaves of another user need a copy of key %s, which is in %s", shared.name, shared.origin)
    elif shared is not None:
        log.info("Slaves on another box need --address %s and a copy of key %s, which is in %s",
                 addresses.far_address(address), shared.name, shared.origin)


def main() -> None:
    entry.run_command(command)


if __name__ == "__main__":
    main()
