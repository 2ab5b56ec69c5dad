"""tm-spawn: keeps a number of slaves running on this machine."""

from __future__ import annotations

import logging
import signal
import time
from contextlib import closing
from math import inf
from pathlib import Path

import click

from taskmaster import defaults
from taskmaster.cli import entry, options
from taskmaster.cli.shared_key import slave_keys, warn_of_insecure_master
from taskmaster.control.death_reports import DeathReports
from taskmaster.core.interrupts import Interrupts
from taskmaster.core.slave_options import SlaveOptions
from taskmaster.errors import EXIT_DONE, EXIT_INTERRUPTED, TaskmasterError
from taskmaster.fleet.command import key_arguments, output_arguments, slave_command
from taskmaster.fleet.fleet import Fleet
from taskmaster.fleet.local import LocalLauncher
from taskmaster.fleet.watchdog import silence_limit
from taskmaster.limits import check_files
from taskmaster.transport import addresses
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.keys import Keys

log = logging.getLogger("taskmaster.cli.spawn")  # by name, since `python -m` calls this module __main__


@options.command(example="tm-spawn squares.py 8 --address tcp://master.example:3050")
@click.argument("target")
@click.argument("procs", type=click.IntRange(1))
@options.address_option
@options.key_options
@options.slave_options
@options.common_options
def command(target: str, procs: int, address: str, key_file: Path | None, insecure: bool, slave: SlaveOptions,
            grace: float | None, log_level: str, log_format: str, no_progress: bool) -> int:
    """Run PROCS slaves that call handle_job, or handle_jobs, for the jobs of the master at ADDRESS, and replace those
    that crash.

    TARGET is module, module:function, file.py or file.py:function. Ends when the master has no more jobs.
    """
    entry.configure_logging(log_level, log_format)
    shared = slave_keys(address, key_file, insecure)
    _preflight(address, shared)
    if insecure:
        warn_of_insecure_master(address)
    arguments = [*key_arguments(key_file, insecure), *slave.arguments(),
                 *output_arguments(log_level, log_format, grace)]
    interrupts = Interrupts()
    entry.on_signals(interrupts)
    target = f"./{target}" if target.startswith("-") else target  # a file, given after --
    argv = [*slave_command(), target, "--address", address, "--no-progress", *arguments]
    check_files(defaults.START_FILES + defaults.SLAVE_FILES * procs)
    reports = DeathReports(address, shared)
    with closing(reports), Fleet(LocalLauncher(argv), procs, scout=True,
                                 silence_seconds=silence_limit(slave.job_timeout)) as fleet:
        fleet.start()
        log.info("Running %d slave%s for the master at %s", procs, "" if procs == 1 else "s",
                 addresses.dial_address(address))
        return _keep(fleet, interrupts, grace, reports)


def _preflight(address: str, shared: Keys | None) -> None:
    """Raise KeyRefused here, once, instead of in every slave."""
    with closing(Dialer(address, shared)) as dialer:
        dialer.preflight()


def _keep(fleet: Fleet, interrupts: Interrupts, grace: float | None, reports: DeathReports) -> int:
    """Watch until every slave has ended, for good or because of an interrupt."""
    draining, stop_at = False, inf
    while fleet.verdict() is None or fleet.alive:
        now = time.monotonic()
        if interrupts.stopping or now >= stop_at:
            fleet.stop(0.0)
            break
        if interrupts.draining and not draining:
            draining, stop_at = True, inf if grace is None else now + grace + defaults.GRACE_MARGIN_SECONDS
            log.info("Finishing running jobs; press Ctrl-C again to quit immediately")
            fleet.signal(signal.SIGTERM)
        # Afterwards, so that slaves which were signalled together with this process are not replaced.
        reports.add(fleet.watch(now))
        reports.wait(defaults.FLEET_WATCH_SECONDS)
    verdict = fleet.verdict()
    if verdict == EXIT_INTERRUPTED:
        return verdict
    if verdict:
        raise _Ended(verdict)
    return EXIT_DONE


class _Ended(TaskmasterError):
    """The slaves ended for a reason that they have reported themselves."""

    def __init__(self, code: int) -> None:
        super().__init__("The slaves have ended; the reasons are above.")
        self.exit_code = code


def main() -> None:
    entry.run_command(command)


if __name__ == "__main__":
    main()
