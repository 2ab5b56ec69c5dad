"""The workload `async`: 2 slaves with 1,000 requests at once, 200 ms each, to a server on the same machine.

The server, the master and the slaves share the cores, so on two of them this shows what requests cost more than what
waits for an answer. uvloop is used by the server and by async handlers if it is installed.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import ours
from benchmarks.ours import Ours
from benchmarks.races import rate_cells
from benchmarks.report import Plan, Report, Verdict, at_least
from benchmarks.sample import Standing, take_turns, wrongs

SERVER = Path(__file__).resolve().parent / "requests_server.py"
AT_ONCE, SLAVES = 1000, 2
LEAST = 0.95
KINDS = {"asyncio": (), "greenlets": ("--pool", "greenlets", "--handle-job-callback", "handle_in_greenlet")}


def requests(name: str, plan: Plan) -> Report:
    """Each kind of pool in turns, compared with the rate at which every slot always waits for an answer."""
    seconds = ours.job_module("requests").SECONDS
    ideal = SLAVES * AT_ONCE / seconds
    with _server(seconds) as port:
        contenders = [Ours("requests", 4_000 if plan.quick else 200_000, SLAVES, {"port": port},
                           slave_options=("--concurrency", str(AT_ONCE), *options)) for options in KINDS.values()]
        standings = take_turns(contenders, plan.rounds, plan.tell)
    rows = [[kind, *rate_cells(one), f"{one.rate / ideal:.1%}", f"{one.middle(_slaves_cpu):.0f}",
             f"{one.samples[0].count:,}"] for kind, one in zip(KINDS, standings)]
    return Report(name, f"{SLAVES} x {AT_ONCE:,} requests at once, of {seconds * 1000:.0f} ms",
                  ("", "jobs/s", "min", "max", f"of the ideal {ideal:,.0f}", "us/job slaves", "jobs"), rows,
                  plan.judged(_judge(standings, ideal)), (), wrongs(standings), [one.json() for one in standings])


def _slaves_cpu(sample: object) -> float:
    return float(sample.slaves_cpu) / int(sample.count) * 1e6  # type: ignore[attr-defined]


def _judge(standings: Sequence[Standing], ideal: float) -> Iterator[Verdict]:
    for kind, one in zip(KINDS, standings):
        share = one.rate / ideal
        yield at_least(f"{kind}: >= 95 % of the ideal", share, LEAST, f"{share:.1%}")


@contextlib.contextmanager
def _server(seconds: float) -> Iterator[int]:
    """The port of a server that runs meanwhile."""
    with subprocess.Popen([sys.executable, str(SERVER), str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()
