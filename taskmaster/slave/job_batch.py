"""Jobs that one call of the handler gets together."""

from __future__ import annotations

from dataclasses import dataclass

from taskmaster.core.runs import Run
from taskmaster.slave.slice import Slice


@dataclass(frozen=True)
class JobBatch:
    """`slices`, at least one, are of one attempt and one epoch; their jobs need not be neighbours.

    The jobs are numbered from 0, and named by runs of these numbers.
    """

    slices: tuple[Slice, ...]

    @property
    def epoch(self) -> int:
        return self.slices[0].epoch

    @property
    def attempt(self) -> int:
        return self.slices[0].attempt

    @property
    def results(self) -> bool:
        """Whether what the handler returns is to be reported."""
        return self.slices[0].results

    @property
    def count(self) -> int:
        """Its jobs."""
        return sum([one.count for one in self.slices])

    def parts(self, jobs: Run) -> list[Slice]:
        """Some of its jobs, in slices."""
        found, at, (first, count) = [], 0, jobs
        for one in self.slices:
            low, high = max(first, at), min(first + count, at + one.count)
            if low < high:
                found.append(one.part(one.first + low - at, high - low))
            at += one.count
        return found

    def offsets(self, jobs: Run) -> list[int]:
        """The offsets of some of its jobs, in their order."""
        return [offset for part in self.parts(jobs) for offset in range(part.first, part.first + part.count)]


Work = Slice | JobBatch
"""What a pool takes: jobs that are handled one by one, or together."""
