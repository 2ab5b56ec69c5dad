"""Work for a fleet, the fleet that does it, and the ideal that it is measured against. Times are in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace

from taskmaster import defaults

HOP = 60e-6  # the network, one way
PULL = 5e-8  # one step of a generator
COMPUTES = 5e-5  # a job that takes less only computes, and so holds the interpreter lock


@dataclass(frozen=True, repr=False)
class Work:
    """Each job's seconds, spent waiting unless the jobs compute; `pull` is what the source takes for each."""

    seconds: Sequence[float]
    computing: bool = False
    pull: float = PULL

    def computes(self, seconds: float) -> bool:
        return self.computing or seconds < COMPUTES


@dataclass(frozen=True)
class Fleet:
    """Slaves with this many threads, `hop` seconds away; the first `slow` of them take ten times as long."""

    slaves: int
    threads: int = defaults.CONCURRENCY
    slow: int = 0
    hop: float = HOP
    size: int = defaults.WINDOW_JOBS
    backups: bool = False  # whether slow jobs are run twice at the end

    def factor(self, slave: int) -> float:
        return 10.0 if slave < self.slow else 1.0


def ideal_seconds(work: Work, fleet: Fleet) -> float:
    """What a single queue takes that costs nothing: each job goes, in order, to the thread that is free first."""
    slaves = range(fleet.slaves)
    computed = sum(filter(work.computes, work.seconds)) / sum(1 / fleet.factor(slave) for slave in slaves)
    free = [(0.0, fleet.factor(slave)) for slave in slaves for _ in range(fleet.threads)]
    for offset, seconds in enumerate(work.seconds):
        if not work.computes(seconds):
            at, factor = free[0]
            heapreplace(free, (max(at, offset * work.pull) + seconds * factor, factor))
    return max(computed + max(free)[0], len(work.seconds) * work.pull)
