"""The workloads by name. To add one, add a line here: what it is about, and the module and function that run it.

The function takes the name and a Plan and returns a Report. A module is imported only when its workload is run, so one
whose requirements are missing does not affect the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.report import Plan, Report


@dataclass(frozen=True)
class Workload:
    """`place` is module:function in this package."""

    about: str
    place: str

    def run(self, name: str, plan: Plan) -> Report:
        module, _, function = self.place.partition(":")
        found: Report = getattr(importlib.import_module(f"benchmarks.{module}"), function)(name, plan)
        return found


WORKLOADS: Mapping[str, Workload] = {
    "noop": Workload("jobs that do nothing, compared with peers", "races:report"),
    "payload5k": Workload("jobs of 5,000 bytes, compared with peers", "races:report"),
    "sleep10ms": Workload("jobs that wait 10 ms, 2 x 32 threads, compared with peers", "races:report"),
    "mixed": Workload("short jobs among a few long ones, compared with peers", "races:report"),
    "cpu": Workload("1 ms of pure Python per job, compared with peers", "races:report"),
    "results": Workload("small dict results to a file, in order, compared with Pool.imap", "races:report"),
    "async": Workload("2 x 1,000 requests of 200 ms at once, by asyncio and by greenlets", "requests:requests"),
    "auto": Workload("requests to a server of unknown capacity: does --concurrency auto find it", "auto:auto"),
    "tail": Workload("the last jobs when one slave is slow, with and without backup attempts", "tail:tail"),
    "batch": Workload("rows into SQLite, 1,000 a call, beside a loop written by hand", "batch:batch"),
    "trickle": Workload("a job every 10 ms: from its yield to its handler", "latency:trickle"),
    "shift": Workload("no-ops, then jobs of 50 ms: does a slave hold too many of them", "shift:shift"),
    "memory": Workload("resident memory at 10^6, 10^7 and 10^8 jobs", "memory:memory"),
    "slaves": Workload("1 to 1,000 slaves' sessions against one master", "sessions:slaves"),
    "startup": Workload("one job: from the command to its handler, and to the exit", "latency:startup"),
    "features": Workload("checkpoints, progress and failures, on and off", "features:features"),
    "keys": Workload("no-ops and 5,000 bytes over tcp, with and without the key", "keys:keys"),
    "growth": Workload("CPU per job, by jobs, window, threads and bytes", "growth:growth"),
}
