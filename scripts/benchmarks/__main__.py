"""The command: runs workloads, prints a table for each, and writes them as JSON and as a picture."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click
from benchmarks import machine, plot, table
from benchmarks.report import Plan, Report
from benchmarks.workloads import WORKLOADS

BUSY = 0.5  # of a core used by others: readings taken then cannot be trusted


def _listed() -> str:
    return "\b\n" + "\n".join(f"{name:<10} {workload.about}" for name, workload in WORKLOADS.items())


@click.command(epilog="Workloads:\n\n" + _listed(), context_settings={"max_content_width": 100})
@click.argument("names", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--rounds", type=click.IntRange(1), metavar="N", help="Turns of each contender  [3; with --quick 1]")
@click.option("--quick", is_flag=True, help="Use tiny counts, under a minute: shows that it works, not how fast it is.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write all readings to this file.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg",
              help="Draw the rates next to the best peer's.")
def main(names: tuple[str, ...], rounds: int | None, quick: bool, json_file: Path | None,
         plot_file: Path | None) -> None:
    """Run taskmaster at its defaults and its peers at their best, in turns, and compare.

    Without a workload, all are run. Exits with 1 if a count was wrong; a missed target is only reported.
    """
    for name in names:
        if name not in WORKLOADS:
            raise click.UsageError(f"No workload {name!r}. Choose from {', '.join(WORKLOADS)}.")
    found = machine.describe()
    click.echo(machine.line(found))
    if machine.load() > BUSY and not quick:
        click.echo("The machine is busy: do not trust the following readings.", err=True)
    plan = Plan(rounds or (1 if quick else 3), quick, _tell)
    reports = [_run(name, plan) for name in names or WORKLOADS]
    if json_file is not None:
        everything = {"machine": found, "time": time.strftime("%FT%TZ", time.gmtime()), "rounds": plan.rounds,
                      "quick": quick, "workloads": {report.name: report.json() for report in reports}}
        json_file.write_text(json.dumps(everything, indent=1) + "\n")
    if plot_file is not None:
        plot_file.write_text(plot.svg(reports, machine.line(found)), "utf-8")
    sys.exit(1 if any(report.wrong for report in reports) else 0)


def _run(name: str, plan: Plan) -> Report:
    report = WORKLOADS[name].run(name, plan)
    click.echo(table.text(report))
    return report


def _tell(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main(prog_name="scripts/bench")
