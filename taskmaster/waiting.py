"""Lets a source of ours that waits, for a line or a time, end as soon as its run ends.

A generator cannot be closed by another thread while it waits. So the thread that pulls from it has a flag here, by
which all that waits below it in that thread is interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from taskmaster.native import Flag, get_ident

_flags: dict[int, Flag] = {}  # by thread


class Interrupted(BaseException):
    """The run ends. Not an Exception, so that the user's `except Exception` around a source does not stop it."""


@contextmanager
def interruptible(flag: Flag) -> Iterator[None]:
    """Within it, in this thread, `wait` raises once `flag` is set."""
    ident = get_ident()
    _flags[ident] = flag
    try:
        yield
    finally:
        del _flags[ident]


def wait(seconds: float) -> None:
    """Sleep. Raises Interrupted when the run ends that this thread pulls jobs for."""
    flag = _flags.get(get_ident())
    if flag is None:
        time.sleep(seconds)
    elif flag.wait(seconds):
        raise Interrupted
