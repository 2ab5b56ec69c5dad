"""Slaves that run now more and now fewer jobs at once, without a reason."""

from __future__ import annotations

from random import Random

from taskmaster.core.concurrency import Reading

MOST_SLOTS = 6


class Breathing:
    """A policy that changes its mind at each look; half of the times it only tries."""

    def __init__(self, slots: int, now: float, seed: str) -> None:
        self.limit = self.slots = slots
        self.due = now
        self._chance = Random(seed)

    def observe(self, reading: Reading) -> None:
        self.due = reading.now + self._chance.choice([0.05, 0.3, 2.0])
        self.limit = self._chance.randint(1, MOST_SLOTS)
        if self._chance.random() < 0.5:
            self.slots = self.limit
