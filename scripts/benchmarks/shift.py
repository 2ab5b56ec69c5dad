"""The workload `shift`: jobs that do nothing, then jobs of 50 ms; a slave that held thousands must not keep them.

What a slave holds cannot be seen from outside. But jobs leave the master in their order, so once any slave has begun a
job, those before it have left. Those of them that a slave begins later waited with it, or were given back and waited
with the master. They are therefore the most that it can have held, in seconds of all its threads' work: if that is
little the target is met, if it is much nothing is known. The tail is how long one slave continued alone after
another's last job, which is the cost of held work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import ours
from benchmarks.marks import Mark
from benchmarks.ours import Ours
from benchmarks.peers import Peer
from benchmarks.races import POOL, missing
from benchmarks.report import Plan, Report, Verdict, at_most
from benchmarks.sample import Contender, Sample, Standing, take_turns, wrongs

SLAVES, THREADS = 2, 10
HELD_SECONDS = 1.0
SEEN = 3  # slow jobs, after which a slave should have adapted


@dataclass(frozen=True)
class Call:
    """A slow job's handler: `number` is its place among the slow ones."""

    pid: int
    number: int
    began: float
    ended: float


def shift(name: str, plan: Plan) -> Report:
    """Rows for as many quick jobs as slow ones, and for very many quick ones before them."""
    slow = 40 if plan.quick else 2_000
    many = 1_000 if plan.quick else 2_000_000
    contenders: list[Contender] = [
        *(Ours("shift", quick + slow, arguments={"quick": quick}) for quick in (slow, many)),
        *(Peer(POOL, "shift", quick + slow, {"procs": SLAVES * THREADS, "chunk": chunk}, {"quick": quick})
          for chunk, quick in ((1, slow), (100, many)))]
    standings = take_turns(contenders, plan.rounds, plan.tell)
    ideal = slow * ours.job_module("shift").SLOW_SECONDS / (SLAVES * THREADS)
    rows = [_row(one, ideal) for one in standings if not one.missing]
    return Report(
        name, f"jobs that do nothing, then {slow:,} of 50 ms, {SLAVES * THREADS} at once: the slow ones' time",
        ("", "quick before", "s", "min", "max", "of ideal", "held s, at most", "tail s"), rows,
        plan.judged(_judge(standings[:2], ideal)),
        [f"ideal {ideal:.2f} s; held: the most that one slave can have held from {SEEN} slow jobs on, what it gave "
         "back included; tail: how long one continued after another's last job", *missing(standings)],
        wrongs(standings), [one.json() for one in standings])


def calls(sample: Sample) -> list[Call]:
    """The slow handlers' calls in the order in which they began."""
    def call(mark: Mark) -> Call:
        return Call(mark.pid, int(mark.numbers[0]), mark.numbers[1], mark.time)
    return sorted((call(mark) for mark in sample.marks if mark.word == "slow"), key=lambda one: one.began)


def seconds(sample: Sample) -> float:
    """From the start of the first slow job to the end of the last."""
    found = calls(sample)
    return max(one.ended for one in found) - found[0].began if found else 0.0


def tail(sample: Sample) -> float:
    """Between the ends of the slaves' last jobs."""
    last: dict[int, float] = defaultdict(float)
    for one in calls(sample):
        last[one.pid] = max(last[one.pid], one.ended)
    return max(last.values()) - min(last.values()) if last else 0.0


def held(sample: Sample) -> float:
    """The most that one slave can have held once it had seen SEEN slow jobs end, in seconds of its THREADS."""
    found = calls(sample)
    each: float = ours.job_module("shift").SLOW_SECONDS / THREADS
    most = max((len(_waiting(found, pid)) for pid in {one.pid for one in found}), default=0)
    return most * each


def _waiting(found: Sequence[Call], pid: int) -> list[Call]:
    """The most jobs at one moment that this slave began only after another slave had begun a job behind them."""
    own = sorted((one for one in found if one.pid == pid), key=lambda one: one.ended)
    if len(own) < SEEN:
        return []
    most: list[Call] = []
    for moment in sorted(one.began for one in own if one.began >= own[SEEN - 1].ended):
        head = max(one.number for one in found if one.began <= moment)
        waiting = [one for one in own if one.began > moment and one.number < head]
        most = max(most, waiting, key=len)
    return most


def _row(standing: Standing, ideal: float) -> list[str]:
    contender = standing.contender
    assert isinstance(contender, (Ours, Peer))
    spent = standing.of(seconds)
    middle = standing.middle(seconds)
    # A pool's workers take one chunk at a time: what its other end holds says nothing.
    held_text = f"{standing.middle(held):.2f}" if isinstance(contender, Ours) else "-"
    return [standing.label, f"{int(str(contender.arguments['quick'])):,}", f"{middle:.2f}", f"{spent[0]:.2f}",
            f"{spent[-1]:.2f}", f"{middle / ideal:.3f}", held_text, f"{standing.middle(tail):.2f}"]


def _judge(standings: Sequence[Standing], ideal: float) -> Iterator[Verdict]:
    for standing, before in zip(standings, ("as many", "very many"), strict=True):
        ratio, work = standing.middle(seconds) / ideal, standing.middle(held)
        yield at_most(f"finish within 1.10 x the ideal, after {before} quick jobs", ratio, 1.10, f"{ratio:.3f} x")
        target = f"no slave holds more than about 1 s of work, after {before} quick jobs"
        known = work <= HELD_SECONDS
        yield Verdict(target, f"at most {work:.2f} s, tail {standing.middle(tail):.2f} s", True if known else None)
