"""The workload `growth`: CPU per job by the number of jobs, the window, the threads and the bytes of a job.

The time of a run of a single job is start-up and shutdown, and is subtracted; below 10^6 jobs the rest is mostly noise
from that. Bytes are listed next to the time that one copy of them takes on this machine: a payload is copied about
five times on its way (pickled, joined, into the socket and out of it, unpickled).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.ours import Ours
from benchmarks.races import rate_cells, three
from benchmarks.report import Plan, Report
from benchmarks.sample import Standing, take_turns, wrongs

COPIED_BYTES = 64 << 20  # more than the caches hold
SMALL = 100_000  # jobs; a run of that few is cheap, and all noise
SMALL_TURNS = 3


@dataclass(frozen=True)
class Point:
    """One run on one axis; `size` is the bytes of its jobs, where they are what varies."""

    axis: str
    value: int
    run: Ours
    size: int = 0


def growth(name: str, plan: Plan) -> Report:
    """All axes in turns, including a run of one job."""
    points = _few(list(_points())) if plan.quick else list(_points())
    runs = [Ours("noop", 1), *(point.run for point in points)]
    start, *standings = take_turns(runs, plan.rounds, plan.tell)
    short = [one for point, one in zip(points, standings, strict=True) if point.run.count <= SMALL and not point.size]
    _again([start, *short], plan)
    base = start.middle(lambda sample: sample.cpu)
    copy = copy_seconds()
    rows = [_row(point, standing, base, copy) for point, standing in zip(points, standings, strict=True)]
    return Report(
        name, "CPU per job, master and slaves together, without start-up and shutdown",
        ("", "jobs/s", "min", "max", "CPU us/job", "master", "slaves", "one copy us", "jobs"), rows, (),
        [f"start-up and shutdown take {base:.2f} s of CPU; one copy of a byte takes {1e9 * copy:.3f} ns "
         f"({1e-9 / copy:.1f} GB/s, {COPIED_BYTES >> 20} MiB at a time)"], wrongs([start, *standings]),
        [{"axis": point.axis, "value": point.value, **standing.json()}
         for point, standing in zip(points, standings, strict=True)])


def copy_seconds() -> float:
    """Seconds per byte, the best of several large copies."""
    source = memoryview(bytearray(COPIED_BYTES))
    target = memoryview(bytearray(COPIED_BYTES))

    def once() -> float:
        began = time.perf_counter()
        target[:] = source
        return time.perf_counter() - began
    return min(once() for _ in range(10)) / COPIED_BYTES


def _points() -> Iterator[Point]:
    for count in (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000):
        yield Point("jobs", count, Ours("noop", count))
    for window in (100, 1_000, 10_000, 100_000, 1_000_000):
        options = ("--size", str(window))
        yield Point("window", window, Ours("noop", min(20_000_000, 2_000 * window), master_options=options))
    for threads in (1, 2, 4, 10, 32, 64):
        options = ("--concurrency", str(threads))
        yield Point("threads", threads, Ours("noop", 20_000_000, slave_options=options))
    for size in (10, 100, 1_000, 10_000, 100_000, 1_000_000):
        count = min(5_000_000, 2_000_000_000 // size)
        yield Point("bytes", size, Ours("payload", count, arguments={"size": size}), size)


def _few(points: Sequence[Point]) -> list[Point]:
    """The first point of each axis, with few jobs."""
    first = {point.axis: point for point in reversed(points)}
    few = [replace(point, run=replace(point.run, count=min(point.run.count, 10_000))) for point in first.values()]
    return few[::-1]


def _again(small: Sequence[Standing], plan: Plan) -> None:
    """More turns for small runs, which are cheap and all noise."""
    for _ in range(0 if plan.quick else SMALL_TURNS * plan.rounds):
        for one in small:
            plan.tell(f"again: {one.label}, {one.samples[0].count:,} jobs")
            one.samples.append(one.contender.run())


def _row(point: Point, standing: Standing, base: float, copy: float) -> list[str]:
    count = point.run.count
    cpu = max(0.0, standing.middle(lambda sample: sample.cpu) - base)
    master, slaves = standing.middle(lambda one: one.master_cpu), standing.middle(lambda one: one.slaves_cpu)
    # Ticks are too coarse to subtract the start-up from each; the share of each is close enough.
    share = master / (master + slaves) if master + slaves else 0.0
    each = 1e6 * cpu / count
    return [f"{point.axis} {point.value:,}", *rate_cells(standing), three(each), three(each * share),
            three(each * (1 - share)), three(1e6 * copy * point.size) if point.size else "-", f"{count:,}"]
