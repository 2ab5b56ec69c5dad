"""A job for each number of a range."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

from taskmaster.errors import UsageError
from taskmaster.job import Job
from taskmaster.sources.base import Source, refuse_cursor

_NUMBER = re.compile(r"-?\d{1,300}")


def numbers(start: int, stop: int | None, last: Any = None, *, step: int = 1) -> Source:
    """The numbers from `start` on, below `stop`, as `range` gives them; without end if `stop` is None.

    The cursor is the number as text. A range whose `stop` has changed can be resumed.
    """
    if step == 0:
        raise UsageError("step must not be 0.")
    name = f"numbers({start}, {stop}{'' if step == 1 else f', step={step}'})"
    length = None if stop is None else partial(_length, name, start, stop, step)
    return Source(name, partial(_numbers, name, start, stop, step), last, length)


def _numbers(name: str, start: int, stop: int | None, step: int, last: Any) -> Iterator[Job]:
    first = _first(name, start, step, last)
    for number in count(first, step) if stop is None else range(first, stop, step):
        yield Job(number, str(number))


def _length(name: str, start: int, stop: int, step: int, last: Any) -> int:
    return len(range(_first(name, start, step, last), stop, step))


def _first(name: str, start: int, step: int, last: Any) -> int:
    if last is None:
        return start
    if not isinstance(last, str) or not _NUMBER.fullmatch(last):
        refuse_cursor(name, last)
    steps, rest = divmod(int(last) - start, step)
    if steps < 0 or rest:
        refuse_cursor(name, last)
    return int(last) + step
