"""Pieces of work by the offset of their first job, the lowest at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar


class Piece(Protocol):
    @property
    def first(self) -> int: ...


P = TypeVar("P", bound=Piece)


class ByOffset(Generic[P]):
    """To add one or to take the lowest costs the logarithm of how many there are."""

    def __init__(self) -> None:
        self._pieces: dict[int, P] = {}
        self._firsts: list[int] = []  # a heap of its keys

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[P]:
        """In no order."""
        return iter(self._pieces.values())

    def add(self, piece: P) -> None:
        """No other one may begin at its offset."""
        self._pieces[piece.first] = piece
        heappush(self._firsts, piece.first)

    def lowest(self) -> P | None:
        return self._pieces[self._firsts[0]] if self._firsts else None

    def pop_lowest(self) -> P:
        """Remove it and return it; IndexError when there is none."""
        return self._pieces.pop(heappop(self._firsts))

    def ascending(self) -> list[P]:
        return [self._pieces[first] for first in sorted(self._pieces)]

    def replace(self, pieces: Iterable[P]) -> None:
        """Keep these alone, which ascend."""
        self._pieces = {one.first: one for one in pieces}
        self._firsts = list(self._pieces)  # ascending, which is a heap
