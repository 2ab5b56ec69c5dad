"""How a slave finds out how many jobs to run at once: from what its handlers have done, to a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Reading:
    """What a slave's handlers have done until `now`.

    `running` jobs are in a handler, and `waiting` slices are behind them. All others count from the start: CPU seconds
    of the process without its control thread, jobs whose handler returned or failed, and the seconds that these took.
    """

    now: float
    cpu: float = 0.0
    running: int = 0
    waiting: int = 0
    handled: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def ended(self) -> int:
        """Jobs whose handler has returned or failed."""
        return self.handled + self.failed


class ConcurrencyPolicy(Protocol):
    """Decides how many jobs may run at once."""

    @property
    def limit(self) -> int:
        """How many may run now."""

    @property
    def slots(self) -> int:
        """The same without a trial of milliseconds, for which nobody need fetch or give back jobs."""

    @property
    def due(self) -> float:
        """When to call `observe`, if jobs are there."""

    def observe(self, reading: Reading) -> None:
        """This is how things are now."""
