"""When the slave in a slot is replaced, and when the slot is closed for good.

Pure: the exit and the time are arguments. It knows nothing of processes.
"""

from __future__ import annotations

from taskmaster import defaults, errors
from taskmaster.core.backoff import Backoff
from taskmaster.fleet.base import Exit

# Spread, so that slaves which crash together do not all restart at once.
BACKOFF = Backoff(defaults.RESTART_SECONDS, defaults.RESTART_SECONDS_MOST, spread=-defaults.RESTART_SPREAD)

#: The same of slaves that a job or something outside killed: that needs no rest.
BACKOFF_OF_KILLS = Backoff(defaults.RESTART_SECONDS, defaults.KILLED_RESTART_SECONDS_MOST,
                           spread=-defaults.RESTART_SPREAD)


class RestartPolicy:
    """Decides for one slot, from the starts and exits of its slaves.

    A slave that ends with 75 asks for a new one, which is started at once, as it is for a slave that hung. Any other
    exit after which a new slave can do better is a crash, followed by a delay that doubles each time.
    """

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._started_at = 0.0
        self._crashes = 0
        self._young_crashes = 0
        self._young_deaths = 0
        self._young_kills = 0

    def started(self, now: float) -> None:
        """A slave was started in this slot at `now` (seconds)."""
        self._started_at = now

    def ended(self, last: Exit, now: float, ready: bool = False) -> float | None:
        """When to start the next slave, in seconds; None if the slot is to be closed. `ready`: it could have jobs."""
        if not last.restart:
            return None
        if last.code == errors.EXIT_INTERRUPTED or last.hung:  # a job that hangs says nothing about the next slave
            return now
        is_death, is_kill = last.blame and ready, last.code < 0 and not last.blame
        self._count_crash(now - self._started_at, is_death, is_kill)
        backoff = BACKOFF_OF_KILLS if is_death or is_kill else BACKOFF
        return None if self.crash_loop else now + backoff.delay(self._crashes, self._slot)

    @property
    def crash_loop(self) -> bool:
        """Whether slaves in this slot have crashed soon after their start too many times in a row.

        Deaths by a job and kills from outside say less about the next slave: it takes more of them.
        """
        return (self._young_crashes >= defaults.YOUNG_CRASHES or self._young_deaths >= defaults.YOUNG_DEATHS
                or self._young_kills >= defaults.YOUNG_KILLS)

    @property
    def young(self) -> int:
        """How many slaves in a row have crashed or were killed soon after their start."""
        return self._young_crashes + self._young_deaths + self._young_kills

    def _count_crash(self, lifetime: float, is_death: bool, is_kill: bool) -> None:
        self._crashes = 1 if lifetime >= defaults.STEADY_SECONDS else self._crashes + 1
        if lifetime >= defaults.YOUNG_SECONDS:
            self._young_crashes = self._young_deaths = self._young_kills = 0
        elif is_death:
            self._young_deaths += 1
        elif is_kill:
            self._young_kills += 1
        else:
            self._young_crashes += 1
