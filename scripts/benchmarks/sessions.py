"""The workload `slaves` as a report: slaves.py plays the sessions and measures, this judges."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.report import Plan, Report, Verdict, at_least, at_most

COUNTS = (1, 2, 10, 100, 1_000)


def slaves(name: str, plan: Plan) -> Report:
    """A row for each number of sessions, every field of it in a column."""
    about = "slaves' sessions, played by one process, against one master"
    try:
        player = importlib.import_module("benchmarks.slaves")
    except ImportError as error:
        return Report(name, about, ("",), [], notes=[f"not run: {error}"])
    counts, seconds = ((2,), 0.3) if plan.quick else (COUNTS, 3.0)
    plan.tell(f"slaves: {', '.join(map(str, counts))} sessions")
    try:
        rows: Sequence[Any] = player.run(counts, seconds)
    except Exception as error:  # a wrong count, a master that stalls: the other workloads continue
        return Report(name, about, ("",), [], wrong=[f"{type(error).__name__}: {error}"])
    columns = [field.name.replace("_", " ") for field in dataclasses.fields(rows[0])]
    cells = [[_cell(value) for value in dataclasses.astuple(row)] for row in rows]
    return Report(name, about, columns, cells, plan.judged(_judge(rows)),
                  data=[dataclasses.asdict(row) for row in rows])


def _cell(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _judge(rows: Sequence[Any]) -> Iterator[Verdict]:
    by_count = {row.sessions: row for row in rows}
    two, most = by_count.get(2, rows[0]), by_count[max(by_count)]
    share = most.jobs_per_second / two.jobs_per_second
    yield at_least(f"no-op jobs/s of {most.sessions:,} sessions >= 80 % of that of 2", share, 0.8, f"{share:.0%}")
    yield at_least("the master answers >= 15,000 requests/s on one core", most.requests_per_second, 15_000,
                   f"{most.requests_per_second:,.0f}/s")
    yield at_most(f"join of {most.sessions:,} within 5 s", most.join_seconds, 5.0, f"{most.join_seconds:.2f} s")
    yield at_most("an idle fleet costs the master under 5 % of a core", most.idle_core or 1e-9, 0.05,
                  f"{most.idle_core:.1%}")
