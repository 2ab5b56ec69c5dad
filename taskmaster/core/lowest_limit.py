"""How many jobs run at once in threads, where both what they wait for and the interpreter lock may bound the number."""

from __future__ import annotations

from taskmaster.core.auto_limit import AutoLimit
from taskmaster.core.concurrency import Reading
from taskmaster.core.lock_limit import LockLimit


class LowestLimit:
    """The number that `auto` finds, and what `lock` makes of it."""

    def __init__(self, auto: AutoLimit, lock: LockLimit) -> None:
        self._auto = auto
        self._lock = lock

    @property
    def limit(self) -> int:
        """How many may run now."""
        return self._lock.limit

    @property
    def slots(self) -> int:
        """The same without a trial."""
        return self._lock.slots

    @property
    def due(self) -> float:
        """When to call `observe`."""
        return min(self._auto.due, self._lock.due)

    def observe(self, reading: Reading) -> None:
        """Take a reading, and change the limit if it calls for that."""
        self._auto.observe(reading)
        self._lock.allow(self._auto.limit)
        self._lock.observe(reading)
