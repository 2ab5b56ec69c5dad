"""The workload `tail`: short jobs among a few long ones, one slave of four ten times as slow as the others.

At the end all wait for what the slow slave has begun, unless other slaves run that as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.ours import Ours
from benchmarks.report import Plan, Report, Verdict, at_most
from benchmarks.sample import Sample, Standing, take_turns, wrongs

SLAVES = 4
MOST = 0.8


def tail(name: str, plan: Plan) -> Report:
    """From the command to its exit: what still runs at the end must not delay that either."""
    count = 200 if plan.quick else 4_000
    contenders = [Ours("tail", count, SLAVES, repeats=True),
                  Ours("tail", count, SLAVES, master_options=("--no-backup-attempts",))]
    standings = take_turns(contenders, plan.rounds, plan.tell)
    rows = [_row(one) for one in standings]
    return Report(name, "99 % jobs of 10 ms, 1 % of 500 ms, 40 at once; one slave of four takes ten times as long",
                  ("", "s to the exit", "min", "max", "jobs"), rows, plan.judged(_judge(standings)), (),
                  wrongs(standings), [one.json() for one in standings])


def _whole(sample: Sample) -> float:
    return sample.whole


def _row(standing: Standing) -> list[str]:
    spent = standing.of(_whole)
    return [standing.label, f"{standing.middle(_whole):.2f}", f"{spent[0]:.2f}", f"{spent[-1]:.2f}",
            f"{standing.samples[0].count:,}", *(["WRONG: " + standing.wrong] if standing.wrong else [])]


def _judge(standings: list[Standing]) -> Iterator[Verdict]:
    backed_up, waited = (one.middle(_whole) for one in standings)
    ratio = backed_up / waited if waited else 0.0
    yield at_most(f"<= {MOST:g} x the time without backup attempts", ratio, MOST, f"{ratio:.2f} x")
