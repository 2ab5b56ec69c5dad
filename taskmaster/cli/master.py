"""tm-master: pulls jobs from the user's iterator and hands them to slaves, wherever they are."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from taskmaster import defaults, targets
from taskmaster.cli import options
from taskmaster.master.master import Master
from taskmaster.master.progress import make_progress

log = logging.getLogger(__name__)


@click.command(context_settings=options.SETTINGS)
@click.argument("target")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@options.address_option
@options.master_options
@options.common_options
def command(target: str, arguments: tuple[str, ...], address: str, state: Path | None, summary: Path | None,
            log_level: str, no_progress: bool, **master: Any) -> int:
    """Hand the jobs that get_jobs(KEY=VALUE...) yields to the slaves that connect.

    TARGET is module, module:function, file.py or file.py:function. Ctrl-C stops in good order; the same command
    goes on where it stopped.
    """
    progress = make_progress(not no_progress, sys.stderr)
    options.configure_logging(log_level, progress)
    options.check_summary(summary)
    source = targets.parse_target(target, defaults.GET_JOBS)
    work = options.workload(source, source, arguments, state)
    one = Master(work, options.master_settings(master), progress)
    options.on_signals(one.interrupt)
    try:
        one.open(address)
        log.info("Listening at %s; start slaves with tm-spawn or tm-slave --address %s", one.address, one.address)
        outcome = one.run()
    finally:
        one.close()
    return options.conclude(outcome, summary)


def main() -> None:
    options.main_of(command)


if __name__ == "__main__":
    main()
