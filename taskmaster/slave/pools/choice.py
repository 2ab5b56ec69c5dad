"""Which pool runs a handler, and how many of its jobs at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from taskmaster import defaults
from taskmaster.core.concurrency import ConcurrencyPolicy
from taskmaster.core.lock_limit import LockLimit
from taskmaster.errors import UsageError
from taskmaster.handlers import settings_of
from taskmaster.native import has_lock
from taskmaster.slave.pools.base import Pool
from taskmaster.targets.lazy import is_async
from taskmaster.targets.lifespans import lifespan_of
from taskmaster.targets.signature import check_arity

THREADS: Final = "threads"
ASYNCIO: Final = "asyncio"
GREENLETS: Final = "greenlets"
POOLS: Final = (THREADS, ASYNCIO, GREENLETS)


@dataclass(frozen=True)
class PoolChoice:
    """One of POOLS, with `slots` jobs at once."""

    kind: str = THREADS
    slots: int = defaults.CONCURRENCY


def choose_pool(handler: Callable[..., Any], pool: str | None = None, concurrency: int | None = None) -> PoolChoice:
    """The pool for this handler where these options are given or None. Raises UsageError if it cannot run there.

    The number of jobs is that of the option, else of the handler's settings, else of the kind of pool.
    """
    kind = pool or (ASYNCIO if is_async(handler) else THREADS)
    if is_async(handler) and kind != ASYNCIO:
        raise UsageError(f"The handler is async, which --pool {kind} cannot run. Use --pool asyncio, or leave it out.")
    wanted = concurrency or settings_of(handler).concurrency
    return PoolChoice(kind, wanted or (defaults.CONCURRENCY if kind == THREADS else defaults.CONCURRENCY_ASYNC))


def check_handler(handler: Callable[..., Any], pool: str | None = None) -> None:
    """Raise TargetError or UsageError unless this pool, or the one for this handler, can run it."""
    check_arity(handler, lifespan_of(handler) is not None)
    choose_pool(handler, pool)


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
        from taskmaster.slave.pools.coroutines import CoroutinePool  # see above

        return CoroutinePool(handler, choice.slots, clock, wake)
    if choice.kind == GREENLETS:
        from taskmaster.slave.pools.greenlets import GreenletPool  # see above

        return GreenletPool(handler, choice.slots, clock, wake)
    from taskmaster.slave.pools.threads import ThreadPool  # see above

    return ThreadPool(handler, choice.slots, clock, wake, leave_thread)


def make_policy(choice: PoolChoice, now: float) -> ConcurrencyPolicy | None:
    """What decides how many jobs run at once in such a pool; None if that is settled."""
    if choice.kind == THREADS and choice.slots > 1 and has_lock():
        return LockLimit(choice.slots, now)
    return None
