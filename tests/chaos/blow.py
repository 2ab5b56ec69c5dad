"""Something that was done to the product, and which replays it accounts for."""

from __future__ import annotations

from dataclasses import dataclass

from chaos.log import Attempt

SLACK_SECONDS = 0.02  # between a death and the moment at which it was noted


@dataclass(eq=False)
class Blow:
    """A job that ran more than once is this blow's doing if one of the earlier runs was under way, or not yet known to
    be done, between `at` and `until` (on the monotonic clock), in one of `pids` (None: any), and its number is not
    below `watermark`. `bound` is how many such replays are allowed. `again` are the jobs that it cut short.
    """

    kind: str
    at: float
    pids: frozenset[int] | None = None
    until: float = 0.0
    watermark: int = 0
    bound: int = 0
    again: frozenset[str] = frozenset()
    within: float = float("inf")  # seconds in which `again` must have begun anew
    replays: int = 0
    kills: int = 1

    def explains(self, earlier: Attempt, later: Attempt) -> bool:
        """Whether it is why `later` ran although `earlier` had; never, if it may cause no replay."""
        if self.bound == 0:
            return False
        touched = self.pids is None or earlier.pid in self.pids or later.pid in self.pids
        above = not earlier.job.isdigit() or int(earlier.job) >= self.watermark
        return touched and above and earlier.start <= self.until + SLACK_SECONDS and later.start >= self.at
