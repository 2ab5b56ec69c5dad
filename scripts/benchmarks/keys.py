"""The workload `keys`: what CurveZMQ costs over tcp on loopback, with the key and with --insecure in turns."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.ours import Ours
from benchmarks.races import rate_cells
from benchmarks.report import Plan, Report
from benchmarks.sample import take_turns, wrongs

OPEN = ("--insecure",)


def keys(name: str, plan: Plan) -> Report:
    """No target: it shows what a user pays. The key is the user's own, created here if there was none."""
    pairs = _pairs(plan.quick)
    standings = take_turns([one for pair in pairs for one in pair], plan.rounds, plan.tell)
    rows = []
    for at in range(0, len(standings), 2):
        keyed, plain = standings[at:at + 2]
        rows += [[f"{pairs[at // 2][0].job}: {how}", *rate_cells(one),
                  f"{one.rate / plain.rate:.3f}" if plain.rate else "-", f"{one.samples[0].count:,}"]
                 for how, one in (("key", keyed), ("--insecure", plain))]
    return Report(name, "tcp on loopback, with and without a key", ("", "jobs/s", "min", "max", "of insecure", "jobs"),
                  rows, (), (), wrongs(standings), [one.json() for one in standings])


def _pairs(quick: bool) -> Sequence[tuple[Ours, Ours]]:
    counts = {"noop": 20_000, "payload": 2_000} if quick else {"noop": 20_000_000, "payload": 400_000}
    return [(Ours(job, count, tcp=True), Ours(job, count, tcp=True, master_options=OPEN, slave_options=OPEN))
            for job, count in counts.items()]
