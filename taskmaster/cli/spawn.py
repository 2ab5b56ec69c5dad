"""tm-spawn: keeps a number of slaves alive on this box."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import click

from taskmaster.cli import entry, options
from taskmaster.console.log import configure_logging
from taskmaster.console.progress import NullProgress
from taskmaster.errors import EXIT_DONE, TaskmasterError
from taskmaster.fleet.command import SLAVE_COMMAND, key_arguments, slave_arguments
from taskmaster.fleet.fleet import Fleet
from taskmaster.transport import addresses
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.keys import Keys

log = logging.getLogger("taskmaster.cli.spawn")  # also where `python -m` calls this module __main__

WATCH_SECONDS = 0.1


@click.command(context_settings=options.SETTINGS)
@click.argument("target")
@click.argument("procs", type=click.IntRange(1))
@options.address_option
@options.key_options
@options.slave_options
@options.common_options
def command(target: str, procs: int, address: str, key_file: Path | None, insecure: bool, concurrency: int,
            job_timeout: float | None, timeout: int, retries: int, log_level: str, no_progress: bool) -> int:
    """Keep PROCS slaves alive that call handle_job for the jobs of the master at ADDRESS.

    TARGET is module, module:function, file.py or file.py:function. Ends when the master has no more jobs.
    """
    configure_logging(log_level, NullProgress(sys.stderr))
    _knock(address, options.slave_keys(address, key_file, insecure))
    if insecure:
        options.warn_of_insecure_master(address)
    arguments = key_arguments(key_file, insecure)
    arguments += slave_arguments(concurrency, job_timeout, timeout, retries, log_level)
    interrupted = threading.Event()
    interrupts: list[float] = []

    def interrupt() -> None:
        interrupts.append(time.monotonic())
        interrupted.set()

    entry.on_signals(interrupt)
    with Fleet([*SLAVE_COMMAND, target, "--address", address, "--no-progress", *arguments], procs, scout=True) as fleet:
        fleet.start()
        log.info("Keeping %d slaves at work for the master at %s", procs, addresses.dial_address(address))
        return _keep(fleet, interrupts)


def _knock(address: str, shared: Keys | None) -> None:
    """Raise here what each slave would meet, so that it is told once. Raises KeyRefused."""
    with closing(Dialer(address, shared)) as dialer:
        dialer.preflight()


def _keep(fleet: Fleet, interrupts: list[float]) -> int:
    told = 0
    while (verdict := fleet.verdict()) is None or fleet.alive:
        fleet.watch(time.monotonic())
        if len(interrupts) > told:
            told += 1
            if told > 1:
                fleet.stop(0.0)
                break
            log.info("Letting the slaves finish what they are running; once more ends them now")
            fleet.signal(signal.SIGTERM)
        time.sleep(WATCH_SECONDS)
    if verdict:
        raise _Ended(verdict)
    return EXIT_DONE


class _Ended(TaskmasterError):
    """The slaves have ended for a reason that they have told themselves."""

    def __init__(self, code: int) -> None:
        super().__init__("The slaves have ended; what each met is above.")
        self.exit_code = code


def main() -> None:
    entry.run_command(command)


if __name__ == "__main__":
    main()
