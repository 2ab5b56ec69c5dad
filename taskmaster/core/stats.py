"""The figures of a run and of a slave, as values; `console/text.py` turns them into text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

RUNNING: Final = "running"


@dataclass(frozen=True)
class Straggler:
    """The job that holds the watermark back: its own cursor, None without one; how long `slave` has had it."""

    offset: int
    cursor: Any
    seconds: float
    slave: str


@dataclass(frozen=True)
class Stats:
    """A run at one moment.

    `settled` counts the jobs of all runs on this state; `run_settled`, `handled`, `failed`, `retried`, `replayed` and
    `duplicates` those of this run; `failed_before` counts the jobs of earlier runs that are still in the failures file.
    Of the jobs `in_flight`, pulled and not settled, `running` are in a handler.
    `backups` counts the slow jobs at the end that a second slave was given as well, `backups_won` those of them with
    which it was done first.
    `rate` is the recent rate in jobs/s; `elapsed` is in seconds. `first_offset` is where this run began, `offset` is
    the watermark: every job below it is settled.
    """

    run_settled: int = 0
    settled: int = 0
    handled: int = 0
    failed: int = 0
    failed_before: int = 0
    retried: int = 0
    replayed: int = 0
    duplicates: int = 0
    backups: int = 0
    backups_won: int = 0
    in_flight: int = 0
    running: int = 0
    slaves: int = 0
    rate: float = 0.0
    elapsed: float = 0.0
    total: int | None = None
    offset: int = 0
    first_offset: int = 0
    straggler: Straggler | None = None
    state: str = RUNNING
    finished: bool = False

    @property
    def queued(self) -> int:
        """Jobs in flight that no handler has yet: with the master, or behind others in a slave."""
        return self.in_flight - self.running

    @property
    def eta(self) -> float | None:
        """Seconds until all jobs are settled at the recent rate; None if unknown."""
        if self.total is None or self.finished or self.rate <= 0.0:
            return None
        return max(0, self.total - self.settled) / self.rate

    @property
    def mean_rate(self) -> float:
        """Jobs/s over the whole run."""
        return self.run_settled / self.elapsed if self.elapsed > 0.0 else 0.0

    @property
    def part(self) -> tuple[int, int] | None:
        """The settled jobs and the total; None without a total."""
        return None if self.total is None else (min(self.settled, self.total), self.total)


@dataclass(frozen=True)
class SlaveStats:
    """One slave at one moment: the recent `rate` in jobs/s, `elapsed` in seconds, the address of its `master`."""

    handled: int = 0
    failed: int = 0
    running: int = 0
    queued: int = 0
    rate: float = 0.0
    master: str = ""
    elapsed: float = 0.0
    state: str = RUNNING

    @property
    def part(self) -> None:
        """A slave does not know how many jobs there are."""
        return None
