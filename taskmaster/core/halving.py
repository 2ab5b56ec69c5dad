"""Which jobs of a batch one call of the handler gets: first all of them, then halves of what raised."""

from __future__ import annotations

from collections.abc import Iterable
from math import isqrt

from taskmaster.core.runs import Run


class Halving:
    """The calls that are left for one batch, whose jobs are numbered; the one with the lowest numbers comes first.

    A call that raises is replaced by its two halves, until a job that raises was alone. One bad job among n takes at
    most 2 log2(n) calls after the first, n rounded up to a power of two; if all are bad, it is 2n - 2.
    """

    __slots__ = ("_left",)

    def __init__(self, runs: Iterable[Run]) -> None:
        self._left = list(runs)[::-1]

    def __bool__(self) -> bool:
        return bool(self._left)

    def next(self) -> Run | None:
        """The jobs of the next call, which are no longer left; None after the last."""
        return self._left.pop() if self._left else None

    def halve(self, run: Run) -> bool:
        """A call with these jobs raised. False if it had one job alone, which is to blame; else its halves are left."""
        first, count = run
        if count == 1:
            return False
        half = (count + 1) // 2
        self._left += [(first + half, count - half), (first, half)]
        return True

    def take(self) -> list[Run]:
        """Remove and return what is left, in order."""
        left, self._left = self._left[::-1], []
        return left


def most_together(batch: int, attempt: int) -> int:
    """How many jobs may share a call at this attempt, where a first one may have `batch`.

    A handler in a thread that exceeds its timeout cannot be ended, so all jobs of the call have failed; and so they
    have when it raised Retry. A job has fewer neighbours at its next attempt, and none at each further one.
    """
    if attempt <= 1:
        return batch
    return isqrt(batch) if attempt == 2 else 1
