"""How many jobs to pull from the source at once."""

from __future__ import annotations

from taskmaster import defaults


class PullSize:
    """About PULL_SECONDS of pulling.

    A slow source is pulled one job at a time, so that each can be sent at once; a fast one by the thousand.
    """

    __slots__ = ("_jobs", "_pulls", "single")

    PULL_SECONDS = 0.002  # how long a job may wait for the others of its pull
    MOST = 4096  # a lease of fast jobs is a few whole slices: cutting one costs as much as encoding it
    # A lease of large jobs is one slice: several in one message are copied once more at both ends.
    MOST_BYTES = defaults.LEASE_BYTES * 7 // 8

    def __init__(self) -> None:
        self._jobs = 1
        self._pulls = 0
        self.single = False  # one at a time, however long it takes

    @property
    def jobs(self) -> int:
        """The second pull is a single job too, so that two jobs have been timed before any are pulled together."""
        return 1 if self.single or self._pulls < 2 else self._jobs

    def took(self, jobs: int, seconds: float, size: int) -> None:
        """Pulling `jobs` jobs took `seconds`, and they came to `size` bytes encoded."""
        self._pulls += 1
        if seconds > 4 * self.PULL_SECONDS:
            self._jobs = max(1, int(jobs * self.PULL_SECONDS / seconds))
        elif seconds < self.PULL_SECONDS and jobs >= self._jobs:
            self._jobs = min(2 * self._jobs, self.MOST)
        if size > self.MOST_BYTES // 2:
            self._jobs = min(self._jobs, max(1, jobs * self.MOST_BYTES // size))
