"""Neighbouring jobs that go to the handlers as one piece."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from taskmaster.slave.leased_cursors import LeasedCursors


@dataclass(frozen=True)
class Slice:
    """`payloads` are the jobs from `first` on, all of one attempt, leased in one epoch of the agent.

    While they are `sealed`, each is a pickle, which the thread that calls the handler opens just before the call. With
    `results`, what the handler returns is to be reported. `cursors` are those of the whole lease.
    """

    epoch: int
    first: int
    attempt: int
    payloads: list[Any]
    sealed: bool = False
    results: bool = False
    cursors: LeasedCursors | None = None

    @property
    def count(self) -> int:
        """Its jobs."""
        return len(self.payloads)

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Itself, as a batch has several."""
        return (self,)

    def cut(self, size: int) -> list[Slice]:
        """All of it, in slices of at most `size` jobs."""
        if size >= len(self.payloads):
            return [self]
        return [self.part(self.first + at, min(size, len(self.payloads) - at))
                for at in range(0, len(self.payloads), size)]

    def part(self, first: int, count: int) -> Slice:
        """The `count` jobs from offset `first` on, all of which are in it."""
        if count == self.count:
            return self
        start = first - self.first
        return replace(self, first=first, payloads=self.payloads[start:start + count])
