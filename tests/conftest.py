"""A time limit on every test: one that hangs fails with its stack, and the next one runs."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

LIMIT_SECONDS = 60.0
AGAIN_SECONDS = 5.0  # until it is raised again if the test swallowed it


class OverTime(BaseException):
    """A test ran longer than its limit.

    Not an Exception, which the code under test might handle; nor pytest's own Failed, which Hypothesis takes for a
    failing example and would run again, without a limit, to shrink it.
    """


@contextmanager
def _limited(item: pytest.Item) -> Iterator[None]:
    """Limits setup, call and teardown separately, since pytest has work to do between them."""
    marker = item.get_closest_marker("limit")
    seconds = float(marker.args[0]) if marker else LIMIT_SECONDS

    swallowed = ""

    def over(signum: int, frame: FrameType | None) -> None:
        nonlocal swallowed
        swallowed = f"{item.nodeid} ran longer than {seconds:g} s{_other_threads()}"
        raise OverTime(swallowed)

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
        if swallowed:
            raise OverTime(swallowed)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _other_threads() -> str:
    """The stacks of all threads but this one, which is in the report: a join hangs because of what they do."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    stacks = {names.get(ident, ident): traceback.format_stack(frame) for ident, frame in frames.items()}
    return "".join(f"\n\nThread {name}:\n{''.join(stack)}" for name, stack in stacks.items())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with _limited(item):
        return (yield)
