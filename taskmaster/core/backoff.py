"""How long to wait before the next try: longer after each failure, and spread so that tries do not coincide."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """`first` seconds after the first failure, twice as long after each further one, at most `most` seconds.

    `spread` is the largest share of a delay that is added to it, or subtracted if negative. How much of it is used
    depends on the key, so that things that failed together are not retried together.
    """

    first: float
    most: float
    spread: float = 0.0

    def delay(self, failures: int, key: int = 0) -> float:
        """Seconds to wait after failure number `failures`, counted from 1; `key` spreads those that failed together."""
        # The exponent is bounded before the power is taken: 2.0 ** 1024 raises OverflowError.
        doubled = self.first * 2.0 ** min(failures - 1, 60)
        return min(doubled, self.most) * (1.0 + self.spread * _part(key))


def _part(key: int) -> float:
    """Between 0 and 1: multiples of the golden ratio modulo 1, which stay far apart however many keys there are."""
    return key * 0x9E3779B97F4A7C15 % 2 ** 64 / 2 ** 64
