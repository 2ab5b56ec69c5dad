"""When the slave in a slot is replaced, and when the slot is closed for good.

Pure: the exit and the time are arguments. It does not know processes.
"""

from __future__ import annotations

from taskmaster import defaults, errors
from taskmaster.fleet.base import Exit


class RestartPolicy:
    """Decides for one slot, from the starts and exits of its slaves.

    A slave that ends with 75 has asked for a fresh one, which is started at once. Any other exit after which a new
    slave can do better is a crash, followed by a delay that doubles from one crash to the next.
    """

    def __init__(self, slot: int) -> None:
        self._spread = _spread(slot)
        self._started_at = 0.0
        self._crashes = 0
        self._young_crashes = 0

    def started(self, now: float) -> None:
        """A slave was started in this slot at `now` (seconds)."""
        self._started_at = now

    def ended(self, last: Exit, now: float) -> float | None:
        """When to start the next slave, in seconds; None if the slot is to be closed."""
        if not last.restart:
            return None
        if last.code == errors.EXIT_INTERRUPTED:
            return now
        self._count_crash(now - self._started_at)
        return None if self.crash_loop else now + self._delay()

    @property
    def crash_loop(self) -> bool:
        """Whether slaves in this slot have crashed soon after their start too many times in a row."""
        return self._young_crashes >= defaults.YOUNG_CRASHES

    def _count_crash(self, lifetime: float) -> None:
        self._crashes = 1 if lifetime >= defaults.STEADY_SECONDS else self._crashes + 1
        self._young_crashes = self._young_crashes + 1 if lifetime < defaults.YOUNG_SECONDS else 0

    def _delay(self) -> float:
        # The exponent is bounded before the power is taken: 2.0 ** 1024 raises OverflowError.
        doubled = defaults.RESTART_SECONDS * 2.0 ** min(self._crashes - 1, 16)
        return min(doubled, defaults.RESTART_SECONDS_MOST) * self._spread


def _spread(slot: int) -> float:
    """A factor in (0.75, 1] that differs between neighbouring slots, so that their slaves do not start all at once."""
    # Multiples of the golden ratio, taken modulo 1, stay far apart for any number of slots.
    return 1.0 - defaults.RESTART_SPREAD * ((slot * 0.6180339887) % 1.0)
