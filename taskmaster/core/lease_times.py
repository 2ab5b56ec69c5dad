"""How long jobs are with their slaves."""

from __future__ import annotations

from collections import deque

from taskmaster import defaults


class LeaseTimes:
    """How long jobs were out, from their lease until they were reported as done: a sample of the last ones.

    That includes the time for which they waited in the slave. So does the time of those that are still out.
    """

    def __init__(self) -> None:
        self.due = 0.0  # when the next sample is wanted: so a request of a busy master costs one comparison
        self.seconds: deque[float] = deque(maxlen=defaults.BACKUP_SAMPLES)

    def observe(self, seconds: float, now: float) -> None:
        self.seconds.append(seconds)
        self.due = now + defaults.BACKUP_SAMPLE_SECONDS
