"""The workload `memory`: the memory of a master and a slave after 10^6, 10^7 and 10^8 no-op jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.ours import Ours
from benchmarks.report import Plan, Report, Verdict, at_most
from benchmarks.sample import Sample, Standing, take_turns, wrongs

MIB = float(1 << 20)


def memory(name: str, plan: Plan) -> Report:
    """One row for each number of jobs; with --quick 10^4 and 10^5 of them."""
    least, most = (10_000, 100_000) if plan.quick else (1_000_000, 100_000_000)
    contender = Ours("memory", most, arguments={"least": least})
    standing = take_turns([contender], plan.rounds, plan.tell)[0]
    weights = [weighed(sample) for sample in standing.samples]
    rows = [_row(jobs, [found[jobs] for found in weights]) for jobs in weights[0]]
    if not rows:
        standing.samples[0] = Sample(most, wrong=standing.wrong or "nothing was measured")
    peak = [f"{standing.middle(lambda one: one.master_peak) / MIB:.1f}",
            f"{standing.middle(lambda one: one.slave_peak) / MIB:.1f}"]
    return Report(
        name, "resident memory by number of jobs, in MiB, medians of the rounds", ("jobs", "master", "slave"),
        [*rows, ["peak of the run", *peak]], plan.judged(_judge(standing, weights) if rows else ()),
        ["slave: the larger of the two"], wrongs([standing]), [{str(jobs): pair for jobs, pair in one.items()}
                                                               for one in weights])


def weighed(sample: Sample) -> Mapping[int, tuple[float, float]]:
    """Bytes of master and slave by the number of jobs pulled."""
    return {int(mark.numbers[0]): (mark.numbers[1], mark.numbers[2]) for mark in sample.marks
            if mark.word == "weighed"}


def _row(jobs: int, pairs: Sequence[tuple[float, float]]) -> list[str]:
    return [f"{jobs:,}", *(f"{_middle([pair[who] for pair in pairs]) / MIB:.1f}" for who in (0, 1))]


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _judge(standing: Standing, weights: Sequence[Mapping[int, tuple[float, float]]]) -> Iterator[Verdict]:
    least, most = min(weights[0]), max(weights[0])
    for who, what in enumerate(("master", "slave")):
        growth = _middle([found[most][who] - found[least][who] for found in weights]) / MIB
        yield at_most(f"the {what} grows by less than 1 MiB from {least:,} to {most:,} jobs", growth or 1e-9, 1.0,
                      f"{growth:+.2f} MiB")
    for what, peak in (("master", standing.middle(lambda one: one.master_peak)),
                       ("slave", standing.middle(lambda one: one.slave_peak))):
        yield at_most(f"{what} under 60 MiB", peak / MIB, 60.0, f"peak {peak / MIB:.1f} MiB")
