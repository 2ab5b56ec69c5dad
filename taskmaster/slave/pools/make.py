"""Makes the pool that was chosen. Those of coroutines and greenlets are imported for slaves that need them only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskmaster.slave.pools.base import Pool
from taskmaster.slave.pools.threads import ThreadPool
from taskmaster.targets.pool_choice import ASYNCIO, GREENLETS, PoolChoice
from taskmaster.targets.search_path import without_users


def patch_for_greenlets() -> None:
    """Make the standard library switch greenlets where it waits. Call it before the user's module is imported.

    Logging keeps its native lock, because the control thread, which has no greenlets, logs as well.
    """
    from gevent import monkey  # here: only greenlets need it

    monkey.patch_thread(logging=False)
    monkey.patch_all(thread=False)


def make_pool(choice: PoolChoice, handler: Callable[[Any], Any], clock: Callable[[], float],
              wake: Callable[[], None], leave_thread: Callable[[], object] = lambda: None) -> Pool:
    """A pool of this kind, which is at work at once. `leave_thread` is called by a thread that has nothing more to run.
    """
    # Each here, because only one is needed: asyncio alone takes 40 ms to import, a tenth of a slave's start.
    if choice.kind == ASYNCIO:
        with without_users():  # also while the loop is made, which imports more
            from taskmaster.slave.pools.coroutines import CoroutinePool  # see above

            return CoroutinePool(handler, choice.slots, clock, wake)
    if choice.kind == GREENLETS:
        with without_users():
            from taskmaster.slave.pools.greenlets import GreenletPool  # see above

            return GreenletPool(handler, choice.slots, clock, wake)
    return ThreadPool(handler, choice.slots, clock, wake, leave_thread)
