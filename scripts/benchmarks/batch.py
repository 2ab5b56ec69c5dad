"""The workload `batch`: rows into SQLite, 1,000 to a transaction, beside a loop written by hand in two processes.

Each process of that loop makes its half of the rows itself and inserts them with executemany, with the same statement
and settings. SQLite writes for one at a time, so what counts is how well the others' waiting is used.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.ours import LIMIT_SECONDS, Ours, environment, job_module
from benchmarks.races import rate_cells, three
from benchmarks.report import Plan, Report, Verdict, at_least
from benchmarks.sample import Sample, Standing, median_ratio, sample_of, take_turns, wrongs

PROCESSES = 2
LEAST = 0.95


@dataclass(frozen=True)
class ByHand:
    """The loop, as a contender."""

    count: int
    name: str = "by hand"
    how: str = f"executemany in {PROCESSES} processes"

    def run(self) -> Sample:
        """In a fresh process, as ours is."""
        command = [sys.executable, "-c", "from benchmarks import batch; batch.main()", str(self.count)]
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            try:
                found = measure.run(command, Path(name), environment({}), LIMIT_SECONDS)
            except measure.Overtime as error:
                return Sample(self.count, wrong=str(error))
        said: dict[str, Any] = json.loads(found.said.splitlines()[-1]) if found.code == 0 and found.said else {}
        wrong = "" if said else f"exit code {found.code}: {found.told.strip()[-300:]}"
        return sample_of([found], [], self.count, said.get("rows", 0), said.get("seconds", 0.0), wrong)


def main() -> None:
    """Insert so many rows, and print how long it took and how many there are then."""
    count = int(sys.argv[1])
    job_module("batch").connect().close()
    ready = multiprocessing.Barrier(PROCESSES + 1)
    edges = [count * number // PROCESSES for number in range(PROCESSES + 1)]
    workers = [multiprocessing.Process(target=_insert, args=(ready, *part)) for part in zip(edges, edges[1:])]
    for worker in workers:
        worker.start()
    ready.wait()
    begin = time.monotonic()
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - begin
    [(rows,)] = job_module("batch").connect().execute("SELECT count(*) FROM rows")
    print(json.dumps({"seconds": seconds, "rows": rows}))


def _insert(ready: Any, first: int, end: int) -> None:
    module = job_module("batch")
    db, rows = module.connect(), module.get_jobs(first, end)
    ready.wait()
    while batch := list(islice(rows, module.BATCH)):
        module.insert(db, batch)


def batch(name: str, plan: Plan) -> Report:
    """Both in turns."""
    count = 20_000 if plan.quick else 4_000_000
    standings = take_turns([Ours("batch", count, PROCESSES), ByHand(count)], plan.rounds, plan.tell)
    rows = [[one.label, *rate_cells(one), three(one.middle(lambda sample: sample.cpu) / count * 1e6), f"{count:,}"]
            for one in standings]
    return Report(name, "rows into SQLite, 1,000 to a transaction", ("", "rows/s", "min", "max", "us/row, all", "rows"),
                  rows, plan.judged(_judge(standings)), (), wrongs(standings), [one.json() for one in standings])


def _judge(standings: Sequence[Standing]) -> Iterator[Verdict]:
    share = median_ratio(*standings)
    yield at_least(">= 0.95 x the loop written by hand", share, LEAST, f"{share:.3f} x")
