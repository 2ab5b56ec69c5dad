"""The workload `auto`: requests of 200 ms to a server that works on 200 at once, and slaves that do not know that.

What counts is the rate after 10 s, compared with that of the best fixed number: 2 slaves with 100 each. With fewer, the
server has nothing to do for part of the time; with more, they only wait longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks import ours
from benchmarks.ours import Ours
from benchmarks.report import Plan, Report, Verdict, at_least
from benchmarks.requests import server
from benchmarks.sample import Sample, Standing, take_turns, wrongs

AT_ONCE, SLAVES = 200, 2
AFTER_SECONDS = 10.0
LEAST = 0.9
KINDS = {"threads": (), "asyncio": ("--handle-job-callback", "handle_async"),
         "greenlets": ("--pool", "greenlets")}


def auto(name: str, plan: Plan) -> Report:
    """Each kind of pool, with the best number and with auto."""
    seconds = ours.job_module("requests").SECONDS
    count = 400 if plan.quick else int(25 * AT_ONCE / seconds)
    best = ("--concurrency", str(AT_ONCE // SLAVES))
    with server(seconds, AT_ONCE) as port:
        contenders = [Ours("service", count, SLAVES, {"port": port}, slave_options=(*options, *number))
                      for options in KINDS.values() for number in (best, ("--concurrency", "auto"))]
        standings = take_turns(contenders, plan.rounds, plan.tell)
    fixed, found = ([_rate(one, plan.quick) for one in standings[at::2]] for at in (0, 1))
    rows = [[kind, f"{with_best:,.0f}", f"{with_auto:,.0f}", f"{with_auto / with_best:.2f}" if with_best else "-",
             f"{count:,}"] for kind, with_best, with_auto in zip(KINDS, fixed, found)]
    return Report(name, f"requests of {seconds * 1000:.0f} ms to a server that works on {AT_ONCE} at once",
                  ("jobs/s after 10 s", "best number", "auto", "ratio", "jobs"), rows,
                  plan.judged(_judge(fixed, found)), (), wrongs(standings), [one.json() for one in standings])


def _rate(standing: Standing, quick: bool) -> float:
    return median([_late_rate(one, 0.0 if quick else AFTER_SECONDS) for one in standing.samples])


def _late_rate(sample: Sample, after: float) -> float:
    """Jobs/s from that many seconds after the first slave was ready until the first slot may be idle: at the last start
    of a job, roughly a second before the end."""
    begin = min([mark.time for mark in sample.marks if mark.word == "ready"], default=0.0) + after
    times = sorted(mark.time for mark in sample.marks if mark.word == "handled" and mark.time >= begin)
    end = times[-1] - min(1.0, (times[-1] - begin) / 4) if times else begin
    return sum(time < end for time in times) / (end - begin) if end > begin else 0.0


def _judge(fixed: Sequence[float], found: Sequence[float]) -> Iterator[Verdict]:
    for kind, best, rate in zip(KINDS, fixed, found):
        share = rate / best if best else 0.0
        yield at_least(f"{kind}: >= 90 % of the rate of the best number after 10 s", share, LEAST, f"{share:.1%}")
