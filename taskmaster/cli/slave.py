"""tm-slave: calls the user's handler for the jobs of a master."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from taskmaster.cli import entry, options
from taskmaster.cli.shared_key import hide_key, slave_keys, warn_of_insecure_master
from taskmaster.core.agent import Patience
from taskmaster.core.interrupts import Interrupts
from taskmaster.core.slave_options import SlaveOptions
from taskmaster.core.stats import SlaveStats
from taskmaster.errors import LimitReached, SetUpFailed, TaskmasterError
from taskmaster.slave import lifeline
from taskmaster.slave.pools.make import patch_for_greenlets
from taskmaster.slave.recycling import RecyclingLimits
from taskmaster.slave.slave import Slave
from taskmaster.targets import parent_main, search_path
from taskmaster.targets.code import describe
from taskmaster.targets.frames import import_traceback
from taskmaster.targets.handler import batch_of, load_handler, parse_handler
from taskmaster.targets.load import Target
from taskmaster.targets.pool_choice import GREENLETS, PoolChoice, check_handler, choose_pool
from taskmaster.transport import addresses

log = logging.getLogger("taskmaster.cli.slave")  # by name, since `python -m` calls this module __main__
_slaves: list[Slave] = []


@options.command(example="tm-slave squares.py --address tcp://master.example:3050")
@click.argument("target")
@options.address_option
@options.key_options
@options.slave_options
@options.common_options
def command(target: str, address: str, key_file: Path | None, insecure: bool, slave: SlaveOptions, grace: float | None,
            log_level: str, log_format: str, no_progress: bool) -> int:
    """Call handle_job for each job of the master at ADDRESS, or handle_jobs for lists of them.

    TARGET is module, module:function, file.py or file.py:function.
    """
    in_fleet = lifeline.guard()
    draw, close = _output(log_level, log_format, not no_progress)
    address = addresses.absolute(address)  # the handler's module may change the working folder
    shared = slave_keys(address, key_file, insecure)
    hide_key()
    if insecure and not in_fleet:
        warn_of_insecure_master(address)
    wanted, handler, pool = _load_handler(target, slave, in_fleet)
    try:
        one = Slave(handler, str(wanted), address, pool=pool,
                    patience=Patience(slave.timeout / 1000, slave.retries), job_timeout=slave.timeout_of(handler),
                    show=draw, keys=shared, grace=grace, code=describe(wanted),
                    limits=RecyclingLimits(slave.max_jobs_per_slave, slave.max_memory, slave.lifetime),
                    beat=lifeline.say_beat if in_fleet else None)
        one.set_up()
        return _serve(one, in_fleet)
    except (LimitReached, SetUpFailed) as error:
        return _say_once(error)
    finally:
        close()
        if any(one.stuck for one in _slaves):
            lifeline.say_stuck()
        lifeline.say_done()  # whatever happened: only a handler that ends the process skips this


def _load_handler(target: str, slave: SlaveOptions, in_fleet: bool) -> tuple[Target, Callable[..., Any], PoolChoice]:
    """Import the user's module, with what the chosen pool needs before that. Raises TargetError or UsageError."""
    if slave.pool == GREENLETS:
        patch_for_greenlets()
    parent_main.inherit()
    say = log.debug if in_fleet else log.info  # its others would say the same
    wanted, handler = load_handler(*parse_handler(target), search_here=not search_path.inherit(), say=say)
    batch = batch_of(handler, wanted.function, slave.batch)
    check_handler(handler, slave.pool, batch)
    return wanted, handler, choose_pool(handler, slave.pool, slave.concurrency, batch)


def _output(log_level: str, log_format: str,
            progress_wanted: bool) -> tuple[Callable[[SlaveStats], None], Callable[[], None]]:
    """Set up logging; returns the functions that draw and close the progress."""
    if not progress_wanted:
        entry.configure_logging(log_level, log_format)
        return lambda stats: None, lambda: None
    # Here: the slaves of a fleet show no progress, so they start faster and stay smaller without it.
    from taskmaster.console.log import Lines
    from taskmaster.console.progress import make_progress

    progress = make_progress(True, sys.stderr)
    entry.configure_logging(log_level, log_format, Lines(progress))
    return progress.draw, progress.close


def _serve(slave: Slave, in_fleet: bool) -> int:
    """Serve until the slave ends; returns its exit code. Raises what ended it."""
    lifeline.say_ready()
    _slaves.append(slave)
    # systemd signals the whole unit, and the fleet of a slave passes its signal on: that is one request.
    interrupts = Interrupts(once=in_fleet)
    entry.on_signals(interrupts)
    interrupts.pass_on_to(slave.drain)
    code = slave.run()
    if slave.error is not None:
        return _say_once(slave.error)
    if slave.dismissed:
        lifeline.say_over()
    return code


def _say_once(error: TaskmasterError) -> int:
    """Leave it to the fleet to show this error, which its other slaves may have as well; without one, raise it."""
    trace = import_traceback(error) if isinstance(error, SetUpFailed) else ""
    if lifeline.say_error(trace + str(error)):
        return error.exit_code
    raise error


def main() -> None:
    entry.run_command(command, stuck=lambda: any(slave.stuck for slave in _slaves))


if __name__ == "__main__":
    main()
