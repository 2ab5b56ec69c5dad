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
    """One of POOLS, with `slots` calls at once, each with up to `batch` jobs; None for calls with one job, not a list.
    """

    kind: str = THREADS
    slots: int = defaults.CONCURRENCY
    batch: int | None = None

    @property
    def jobs_at_once(self) -> int:
        """How many jobs are handled at once, if there are enough."""
        return self.slots * (self.batch or 1)


def choose_pool(handler: Callable[..., Any], pool: str | None = None, concurrency: int | None = None,
                batch: int | None = None) -> PoolChoice:
    """The pool for this handler where these options are given or None. Raises UsageError if it cannot run there.

    The number of calls is that of the option, else of the handler's settings, else of the kind of pool. `batch` is what
    `batch_of` says of the handler.
    """
    kind = pool or (ASYNCIO if is_async(handler) else THREADS)
    if is_async(handler) and kind != ASYNCIO:
        raise UsageError(f"The handler is async, which --pool {kind} cannot run. Use --pool asyncio, or leave it out.")
    wanted = concurrency or settings_of(handler).concurrency
    return PoolChoice(kind, wanted or _usual_slots(kind, batch is not None), batch)


def _usual_slots(kind: str, batches: bool) -> int:
    if batches:
        return defaults.CONCURRENCY_BATCHES if kind == THREADS else defaults.CONCURRENCY_BATCHES_ASYNC
    return defaults.CONCURRENCY if kind == THREADS else defaults.CONCURRENCY_ASYNC


def check_handler(handler: Callable[..., Any], pool: str | None = None, batch: int | None = None) -> None:
    """Raise TargetError or UsageError unless this pool, or the one for this handler, can run it."""
    check_arity(handler, lifespan_of(handler) is not None, batch is not None)
    choose_pool(handler, pool)
