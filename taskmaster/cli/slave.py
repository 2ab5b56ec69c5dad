"""tm-slave: calls the user's handler for the jobs of a master."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from taskmaster import defaults
from taskmaster.cli import entry, options
from taskmaster.console.log import configure_logging
from taskmaster.console.progress import make_progress
from taskmaster.core.agent import Patience
from taskmaster.errors import EXIT_DONE
from taskmaster.slave import lifeline
from taskmaster.slave.slave import Slave
from taskmaster.targets.load import load_target, parse_target
from taskmaster.targets.signature import check_arity

_slaves: list[Slave] = []


@click.command(context_settings=options.SETTINGS)
@click.argument("target")
@options.address_option
@options.key_options
@options.slave_options
@options.common_options
def command(target: str, address: str, key_file: Path | None, insecure: bool, concurrency: int,
            job_timeout: float | None, timeout: int, retries: int, log_level: str, no_progress: bool) -> int:
    """Call handle_job for each job of the master at ADDRESS.

    TARGET is module, module:function, file.py or file.py:function.
    """
    kept = lifeline.guard()
    progress = make_progress(not no_progress, sys.stderr)
    configure_logging(log_level, progress)
    shared = options.slave_keys(address, key_file, insecure)
    if insecure and not kept:
        options.warn_of_insecure_master(address)
    wanted = parse_target(target, defaults.HANDLE_JOB)
    handler = load_target(wanted)
    check_arity(handler)
    lifeline.say_ready()
    early: list[None] = []  # interrupts while the slave is made: by themselves they end it with a 1
    entry.on_signals(lambda: _slaves[0].drain() if _slaves else early.append(None))
    slave = Slave(handler, str(wanted), address, threads=concurrency, patience=Patience(timeout / 1000, retries),
                  job_timeout=job_timeout, show=progress.draw, keys=shared)
    _slaves.append(slave)
    for _ in early:
        slave.drain()
    try:
        code = slave.run()
    finally:
        progress.close()
    if slave.error is not None:
        if lifeline.say_error(str(slave.error)):
            return slave.error.exit_code
        raise slave.error
    if slave.dismissed:
        lifeline.say_over()
    if code == EXIT_DONE:
        lifeline.say_done()
    return code


def main() -> None:
    entry.run_command(command, ends=lambda: any(slave.stuck for slave in _slaves))


if __name__ == "__main__":
    main()
