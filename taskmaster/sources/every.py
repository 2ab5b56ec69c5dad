"""A job each time that so many seconds have passed, as by a clock on the wall."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from time import time
from typing import Any, Literal

from taskmaster.defaults import CLOCK_SECONDS
from taskmaster.errors import UsageError
from taskmaster.job import Job
from taskmaster.sources.base import Source, refuse_cursor
from taskmaster.waiting import wait

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TICK = timedelta(microseconds=1)


def every(seconds: float | timedelta, last: Any = None, *, missed: Literal["one", "all"] = "one") -> Source:
    """The time of each tick, a datetime in UTC; ticks are at multiples of `seconds` since 1970. Without end.

    So every(3600) ticks at each full hour, whenever the run began. Ticks that passed while no run was there, or while
    jobs could not be handed out, come late: the newest "one" of them, or "all". The cursor is the tick.
    """
    period = (seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)) // _TICK
    if period < 1000:
        raise UsageError(f"seconds must be at least 0.001, not {seconds}.")
    if missed not in ("one", "all"):
        raise UsageError(f"missed must be 'one' or 'all', not {missed!r}.")
    name = f"every({seconds})"
    return Source(name, partial(_ticks, name, period, missed == "all"), last)


def _ticks(name: str, period: int, all_missed: bool, last: Any) -> Iterator[Job]:
    """All numbers are microseconds."""
    before = (_now() if last is None else _parsed(name, last)) // period * period
    while True:
        due = before + period
        while (early := due - _now()) > 0:
            wait(min(early / 1e6, CLOCK_SECONDS))  # then look again: the clock may be set, or the machine sleep
        before = due if all_missed else _now() // period * period
        tick = _EPOCH + before * _TICK
        yield Job(tick, tick.isoformat())


def _now() -> int:
    return int(time() * 1e6)


def _parsed(name: str, last: Any) -> int:
    try:
        return (datetime.fromisoformat(last) - _EPOCH) // _TICK
    except (TypeError, ValueError):
        refuse_cursor(name, last)
