"""Which pool runs a handler, and how many of its jobs at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from taskmaster import defaults
from taskmaster.errors import UsageError
from taskmaster.handlers import settings_of
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
