"""How many jobs go into one lease."""

from __future__ import annotations

from math import ceil


def lease_size(want: int, ready: int, size: int, slaves: int, returned: bool = False, batch: int = 1) -> int:
    """Jobs for one lease: what the slave wants, as long as the other slaves keep their share.

    `ready` jobs of a window of `size` wait for a slave. A share is half of an equal part of the ready jobs, so that
    leases shrink towards the end of the source (guided self-scheduling), and at most a quarter of an equal part of
    the window, so that a slave always has one lease behind it and one ahead. A lease that takes the slave a fiftieth
    of the time it asked for (about 1 ms) is cut no further than to its whole equal part, and half of its part of the
    window: for no-ops the round trip to the master takes longer than the work. Of jobs that a slave has `returned`
    everyone gets a plain share: they were slower than that slave expected, and the next one may expect the same. If
    its handler takes a `batch`, a slave gets a whole one, as long as there is one for each slave.
    """
    share = min(ceil(ready / (2 * slaves)), ceil(size / (4 * slaves)))
    share = max(share, min(batch, ceil(ready / slaves), ceil(size / (2 * slaves))))
    little = 0 if returned else min(want // 50, ceil(ready / slaves), ceil(size / (2 * slaves)))
    return max(1, min(want, ready, max(share, little)))
