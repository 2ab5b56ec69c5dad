"""Many seeds on all processors, and their results together."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

from models.oracle import REPLAYS
from models.world import Result
from simulation.play import play

BATCH = 50  # seeds for each process between two looks at the time


@dataclass
class Tally:
    """The results so far; `broken` are the seeds in which an invariant did not hold."""

    seeds: int = 0
    hours: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    hash: int = 0
    broken: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.hours += result.hours
        self.counts.update(result.counts)
        self.hash ^= crc32(f"{result.seed} {result.hash}".encode())
        if result.broken is not None:
            self.broken.append(result)

    def line(self) -> str:
        """Everything in one line."""
        counts = self.counts
        replays = ", ".join(f"{counts[reason]:,} {reason}" for reason in REPLAYS)
        return (f"{self.seeds:,} seeds, {len(self.broken)} broken: {counts['handled']:,} jobs handled, "
                f"{counts['abandoned']:,} abandoned, {sum(counts[one] for one in REPLAYS):,} replays ({replays}); "
                f"{counts['crashes']:,} master crashes, {counts['slave deaths']:,} slave deaths, "
                f"{counts['partitions']:,} partitions, {counts['messages']:,} messages, "
                f"{self.hours:,.1f} simulated hours; trace {self.hash:08x}")


def run(first: int, seeds: int | None, seconds: float | None) -> Iterator[Tally]:
    """Play seeds from `first` on, this many or for this long, until some are broken; yields the tally now and then."""
    tally, at, end = Tally(), first, None if seconds is None else time.monotonic() + seconds
    with _processes() as pool:
        while seeds is None or tally.seeds < seeds:
            if end is not None and time.monotonic() >= end:
                break
            most = BATCH * (os.cpu_count() or 1)
            count = most if seeds is None else min(most, seeds - tally.seeds)
            for result in pool.imap(_play, range(at, at + count), 5):
                tally.add(result)
            at += count
            yield tally
            if tally.broken:
                break


def _play(seed: int) -> Result:
    result = play(seed)
    return result if result.broken is not None else replace(result, trace=[])


@contextmanager
def _processes() -> Iterator[Any]:
    """Spawned, so that they share nothing with this one."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield pool
