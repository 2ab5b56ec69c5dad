"""tm-master: pulls jobs from the user's iterator and hands them to slaves, wherever those run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults
from taskmaster.cli import entry, master_options, options
from taskmaster.cli.help import NETWORK, WHAT
from taskmaster.cli.shared_key import hide_key, master_keys
from taskmaster.cli.shorthands import Shorthand, parse_source
from taskmaster.console.log import Lines
from taskmaster.console.progress import make_progress
from taskmaster.core.interrupts import Interrupts
from taskmaster.master.master import Master
from taskmaster.targets.code import describe
from taskmaster.targets.load import Target, parse_target
from taskmaster.transport import addresses
from taskmaster.transport.keys import Keys

log = logging.getLogger("taskmaster.cli.master")  # by name, since `python -m` calls this module __main__


@options.command(example="tm-master squares.py count=1000000 --address tcp://0.0.0.0:3050")
@click.argument("target")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@options.address_option
@options.key_options
@options.option("--handler", "apart", group=WHAT, metavar="FILE",
                help="The file or module of the handler, where it is not that of the source.")
@options.option("--any-handler", group=NETWORK, is_flag=True,
                help="Accept slaves whose handler is in another module than get_jobs.")
@master_options.master_options
@options.common_options
def command(target: str, arguments: tuple[str, ...], address: str, key_file: Path | None, insecure: bool,
            apart: str | None, any_handler: bool, state: Path | None, summary: Path | None, grace: float | None,
            log_level: str, log_format: str, no_progress: bool, **master: Any) -> int:
    """Hand the jobs that get_jobs(KEY=VALUE...) yields to the slaves that connect.

    TARGET is module, module:function, file.py or file.py:function, or a source such as lines:urls.txt. After Ctrl-C or
    a crash, run the same command again to resume.
    """
    progress = make_progress(not no_progress, sys.stderr)
    entry.configure_logging(log_level, log_format, Lines(progress))
    master_options.check_summary(summary)
    address = addresses.absolute(address)  # the user's module may change the working folder
    source = parse_source(target, defaults.GET_JOBS)
    handler = parse_target(apart, defaults.HANDLE_JOB) if apart else source
    shared = master_keys(address, key_file, insecure)
    hide_key()
    interrupts = Interrupts()
    entry.on_signals(interrupts)
    work = master_options.workload(source, handler, arguments, state, apart is not None)
    settings, code = master_options.master_settings(master, grace), _code(source, handler, any_handler)
    one = Master(work, settings, progress, interrupts=interrupts, code=code)
    try:
        one.open(address, shared)
        _say_how_to_connect(one.address, shared)
        outcome = one.run()
    finally:
        one.close()
    return master_options.conclude(outcome, summary)


def _code(source: Target, handler: Target, any_handler: bool) -> dict[str, str]:
    """What slaves are compared with. A shorthand says nothing of a handler."""
    code = describe(handler)
    if any_handler or isinstance(handler, Shorthand):
        del code["module"], code["source"]
    return {**code, "target": str(source)}


def _say_how_to_connect(address: str, shared: Keys | None) -> None:
    """Log it for slaves on this machine and, if they can reach the address, on others."""
    log.info("Listening at %s; start slaves with tm-spawn or tm-slave --address %s", address,
             addresses.dial_address(address))
    if shared is not None and addresses.is_local(address):
        log.info("Slaves of another user need a copy of key %s, which is in %s", shared.name, shared.origin)
    elif shared is not None:
        log.info("Slaves on another machine need --address %s and a copy of key %s, which is in %s",
                 addresses.far_address(address), shared.name, shared.origin)


def main() -> None:
    entry.run_command(command)


if __name__ == "__main__":
    main()
