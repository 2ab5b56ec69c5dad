"""What became of the jobs that ran at once under one limit, and whether that is enough to judge by."""

from __future__ import annotations

from math import sqrt

from taskmaster.core.concurrency import Reading


class Round:
    """The time since a reading. `look` adds to it."""

    def __init__(self, begin: Reading) -> None:
        self.jobs = 0  # ended, well or not
        self.failed = 0
        self.latency = 0.0  # seconds that a job took, on average
        self.elapsed = 0.0
        self.running = 0.0  # jobs at once, on average
        self._begin = self._last = begin
        self._parts: list[tuple[int, float]] = []  # of each look: jobs, and the seconds that they took

    def look(self, reading: Reading) -> None:
        """This is how things are now."""
        begin, last = self._begin, self._last
        self._last = reading
        self._parts.append((reading.ended - last.ended, reading.seconds - last.seconds))
        self.running += (reading.running - self.running) / len(self._parts)
        self.jobs, self.failed = reading.ended - begin.ended, reading.failed - begin.failed
        self.elapsed = reading.now - begin.now
        self.latency = (reading.seconds - begin.seconds) / max(1, self.jobs)

    @property
    def failing(self) -> float:
        """The share of the jobs that failed."""
        return self.failed / max(1, self.jobs)

    @property
    def error(self) -> float:
        """The standard error of the latency, as a part of it, from how much the looks differ."""
        total = self.latency * self.jobs
        return sqrt(sum([(seconds - self.latency * jobs) ** 2 for jobs, seconds in self._parts])) / max(total, 1e-9)
