"""The slaves that a master runs itself, as the server sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Gone:
    """A slave process that ended."""

    pid: int
    status: str
    blame: bool


class Crew:
    """`take_dead` returns who ended since the last call; `tell` is called with the id of each."""

    def __init__(self, take_dead: Callable[[], list[Gone]], tell: Callable[[str], object],
                 drain: Callable[[], object]) -> None:
        self._take_dead = take_dead
        self._tell = tell
        self._drain = drain

    def watch(self, now: float) -> Sequence[Gone]:
        dead = self._take_dead()
        for one in dead:
            self._tell(f"slave{one.pid:03}")
        return dead

    def signal(self, signum: int) -> None:
        self._drain()

    def verdict(self) -> int | None:
        """None: there is always a slave left."""
        return None
