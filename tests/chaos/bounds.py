"""How much may be repeated, how long something may take, how much memory a master may use."""

from __future__ import annotations

import math

from chaos.commands import THREADS

LIMIT_SECONDS = 60.0  # for anything that is waited for
MEMORY_MIB = 90.0  # of a master with a small window: 60 is promised for one of 100,000 jobs; this is a leak's alarm
STALL_SECONDS = 0.7  # for which the machine did not run us: after that nothing can be said about times
LEASE_SECONDS = 0.05  # of work that a slave holds behind its threads, as the README and the design say
SAVED_SECONDS = 1.5  # a checkpoint is at most a second old, and takes up to half a second to reach the disk


def held_by_slave(seconds: float, threads: int = THREADS) -> int:
    """How many jobs of so many seconds a slave may have begun or finished that its master has not heard are done.

    One for each thread, what it holds behind them, and what it finished since its last report, 50 ms ago.
    """
    return threads + 2 * math.ceil(threads * LEASE_SECONDS / seconds)
