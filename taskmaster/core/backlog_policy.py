"""What to do with the jobs that wait in a slave, decided from plain numbers by how long jobs take at present."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from taskmaster import defaults
from taskmaster.core.job_duration import JobDuration
from taskmaster.core.prefetch_target import PrefetchTarget
from taskmaster.core.runs import Run, Runs


@dataclass
class Split:
    """A waiting run, split into what is kept and what goes back to the master."""

    kept: list[Run] = field(default_factory=list)
    returned: list[Run] = field(default_factory=list)


class BacklogPolicy:
    """Sizes the slices that handlers run, and decides when waiting jobs should run elsewhere."""

    INSTANT_SECONDS = 1e-5  # jobs faster than this are not spread over slots: one slice of them takes no time

    def __init__(self, job_duration: JobDuration, prefetch: PrefetchTarget) -> None:
        self._job_duration = job_duration
        self._prefetch = prefetch

    def slice_size(self, jobs: int) -> int:
        """How many of `jobs` queued jobs one slot should take: SLICE_SECONDS of work, and no more than its share."""
        guess = self._job_duration.guess
        if guess is None:
            return 1
        share = ceil(jobs / self._prefetch.slots) if guess > self.INSTANT_SECONDS else jobs
        return max(1, min(int(defaults.SLICE_SECONDS / guess), share))

    def is_held_up(self, unstarted: int) -> bool:
        """Whether this many jobs behind a running one are more than LEASE_SECONDS of work for other slots."""
        return unstarted * (self._job_duration.guess or 0.0) > defaults.LEASE_SECONDS

    def is_overfull(self, held: int) -> bool:
        """Whether a slave that holds this many jobs should give some back."""
        return held > self._prefetch.most()

    def split(self, waiting: Sequence[Run], running: int, cancelled: Runs) -> list[Split]:
        """What to keep of each waiting run and what to give back, while `running` jobs are with the handlers.

        The first jobs are kept, up to the prefetch target; cancelled ones go back.
        """
        room = self._prefetch.target() - running
        splits = []
        for run in waiting:
            split = Split(returned=cancelled.inside(*run))
            for first, count in cancelled.outside(*run):
                kept = max(0, min(count, room))
                room -= kept
                if kept:
                    split.kept.append((first, kept))
                if kept < count:
                    split.returned.append((first + kept, count - kept))
            splits.append(split)
        return splits
