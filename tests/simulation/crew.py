"""The slaves that a master keeps itself, as a fleet tells of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Gone:
    """A process that ended, as the fleet tells of it."""

    pid: int
    status: str


class Crew:
    """The master's own slaves, as a fleet tells of them."""

    def __init__(self, take: Callable[[], list[Gone]], tell: Callable[[str], object]) -> None:
        self._take = take
        self._tell = tell

    def watch(self, now: float) -> Sequence[Gone]:
        dead = self._take()
        for one in dead:
            self._tell(f"slave{one.pid:03}")
        return dead

    def verdict(self) -> int | None:
        """There is always somebody left."""
        return None
