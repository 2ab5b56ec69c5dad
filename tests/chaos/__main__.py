"""The command: which faults, how often, from which seed; exit code 1 on any violation."""

from __future__ import annotations

import secrets
import sys
import time
from dataclasses import replace

import click
from chaos import report
from chaos.faults import Fault, chosen
from chaos.suite import AT_ONCE, play, repeat


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("faults", nargs=-1, metavar="[FAULT]...")
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True, help="How often each is played.")
@click.option("--seed", type=int, help="Repeats an earlier run; without it, each run differs.")
@click.option("--at-once", type=click.IntRange(1), default=AT_ONCE, show_default=True,
              help="How many faults are played at the same time.")
@click.option("--exhaustive", is_flag=True, help="Play every case of a fault that has hundreds, not a few by chance.")
@click.option("--list", "listed", is_flag=True, help="List the faults, and play none.")
def command(faults: tuple[str, ...], rounds: int, seed: int | None, at_once: int, exhaustive: bool,
            listed: bool) -> None:
    """Play faults against the real commands; report what was lost, what was repeated, and how long it took.

    FAULT is a number from --list or a word of its name; without any, all are played.
    """
    try:
        wanted = [replace(fault, exhaustive=exhaustive) for fault in chosen(faults)]
    except LookupError as error:
        raise click.UsageError(str(error.args[0]))
    if listed:
        for fault in wanted:
            click.echo(f"{fault.number:>3} {fault.name:<56} replays: {fault.bound}")
        return
    seed = secrets.randbelow(10**6) if seed is None else seed
    click.echo(f"{len(wanted)} faults, {rounds} rounds, seed {seed}\n\n{report.HEAD}")
    sys.exit(_play(wanted, rounds, seed, at_once))


def _play(wanted: list[Fault], rounds: int, seed: int, at_once: int) -> int:
    began = time.monotonic()
    rows = []
    for row in play(wanted, rounds, seed, at_once):
        click.echo(row.text())
        rows.append(row)
    bad = [row for row in rows if row.violations]
    skipped = [row for row in rows if row.skipped]
    click.echo(f"\n{report.legend()}\n\n{len(rows)} faults in {time.monotonic() - began:.0f} s, {len(skipped)} of them "
               f"not played, {len(bad)} with violations; to repeat: "
               f"{repeat(wanted if len(wanted) <= 8 else [], seed)} --rounds {rounds}")
    click.echo(report.conclusion(rows))
    return 1 if bad else 0


if __name__ == "__main__":
    command()
