"""The workload `features`: what checkpoints, progress and failures cost, with each on and off in turns.

"On" draws the live line on a terminal (which nobody watches) and saves every second, as by default. "Off" shows no
progress and, using a job file made for this, saves only at the end. Failures are turned on by jobs that raise: one in
500 of the first half, each tried three times and then written to the failures file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.ours import Ours
from benchmarks.races import rate_cells
from benchmarks.report import Plan, Report, Verdict, at_least
from benchmarks.sample import Standing, median_ratio, take_turns, wrongs

LEAST = 0.97
EACH = 500


@dataclass(frozen=True)
class Pair:
    """The same jobs with a feature on and off."""

    what: str
    on: Ours
    off: Ours


def features(name: str, plan: Plan) -> Report:
    """Twice the rounds, compared round by round, because the difference is small compared with the noise."""
    pairs = _pairs(plan.quick)
    contenders = [one for pair in pairs for one in (pair.on, pair.off)]
    standings = take_turns(contenders, plan.rounds if plan.quick else 2 * plan.rounds, plan.tell)
    rows = []
    for at, pair in enumerate(pairs):
        on, off = standings[2 * at:2 * at + 2]
        rows += [[f"{pair.what}: {how}", *rate_cells(one), f"{median_ratio(one, off):.3f}",
                  f"{one.samples[0].count:,}"] for how, one in (("on", on), ("off", off))]
    return Report(name, "checkpoints, progress and failures, on and off",
                  ("", "jobs/s", "min", "max", "of off in its round", "jobs"), rows,
                  plan.judged(_judge(pairs, standings)), (),
                  wrongs(standings), [one.json() for one in standings])


def _pairs(quick: bool) -> Sequence[Pair]:
    noop, sleep, cpu = (20_000, 200, 600) if quick else (40_000_000, 16_000, 24_000)
    threads = ("--concurrency", "32")
    silent = ("--no-progress",)
    failing = (cpu // 2 + EACH - 2) // EACH
    return [
        Pair("no-op, checkpoints and progress", Ours("noop", noop, terminal=True),
             Ours("unsaved", noop, slave_options=silent)),
        Pair("10 ms sleep, checkpoints and progress",
             Ours("sleep", sleep, slave_options=threads, terminal=True),
             Ours("sleep", sleep, slave_options=(*threads, *silent))),
        Pair("1 ms of Python, failures", Ours("cpu", cpu, arguments={"failing": EACH}, failing=failing),
             Ours("cpu", cpu)),
    ]


def _judge(pairs: Sequence[Pair], standings: Sequence[Standing]) -> Iterator[Verdict]:
    for at, pair in enumerate(pairs):
        on, off = standings[2 * at:2 * at + 2]
        share = median_ratio(on, off)
        yield at_least(f"{pair.what}: costs <= 3 % of the rate", share, LEAST, f"{1 - share:+.1%}")
