"""Which function of a module is the handler, and whether it takes one job at a time or a batch of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from taskmaster import defaults
from taskmaster.errors import UsageError
from taskmaster.handlers import settings_of
from taskmaster.targets.load import Target, load_module, load_target, parse_target


log = logging.getLogger(__name__)


def parse_handler(text: str, name: str | None = None) -> tuple[Target, bool]:
    """Where the handler is, and whether `text` or else `name` names it. Call it before user code can change the working
    folder. Raises what `parse_target` does."""
    target = parse_target(text, name or defaults.HANDLE_JOB)
    return target, name is not None or target == parse_target(text, defaults.HANDLE_JOBS)


def load_handler(target: Target, is_named: bool, search_here: bool = True,
                 say: Callable[..., object] = log.info) -> tuple[Target, Callable[..., Any]]:
    """Import what `parse_handler` found; if it is not named, `handle_jobs` if the module has that, else `handle_job`.

    Raises what `load_target` does.
    """
    if not is_named and hasattr(load_module(target, search_here), defaults.HANDLE_JOBS):
        if hasattr(load_module(target, search_here), defaults.HANDLE_JOB):
            say("%s has handle_job and handle_jobs: handle_jobs is called. Name the other to have that called instead",
                target.source)
        target = replace(target, function=defaults.HANDLE_JOBS)
    return target, load_target(target, search_here)


def batch_of(handler: Callable[..., Any], name: str, wanted: int | None = None) -> int | None:
    """How many jobs a call of the handler with this name takes at most; None if it takes one job rather than a list.

    It is `wanted`, if given, else what its settings say, else BATCH_JOBS. Raises UsageError.
    """
    own = settings_of(handler).batch
    if own is None and name.rpartition(".")[2] != defaults.HANDLE_JOBS:
        if wanted is not None:
            raise UsageError(f"--batch is for a handler that takes a list of jobs, and {name} takes one job. Write def "
                             "handle_jobs(jobs), or decorate the function with @taskmaster.handler(batch=N).")
        return None
    size = next(one for one in (wanted, own, defaults.BATCH_JOBS) if one is not None)
    if not (type(size) is int and 1 <= size <= defaults.BATCH_MOST_JOBS):
        raise UsageError(f"A batch of {size!r} jobs is not possible. Give a number from 1 to "
                         f"{defaults.BATCH_MOST_JOBS:,}.")
    return size
