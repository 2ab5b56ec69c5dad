"""Waking a poll: no wake-up is lost, whenever it comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from select import select
from typing import Any

import pytest

from taskmaster.transport.waker import Waker

SECONDS = 10.0


@pytest.fixture
def waker() -> Iterator[Waker]:
    waker = Waker()
    yield waker
    waker.close()


def rings(waker: Waker, seconds: float = SECONDS) -> bool:
    return bool(select([waker.fileno()], [], [], seconds)[0])


def test_it_ends_a_poll_once_however_often_it_was_woken(waker: Waker) -> None:
    waker.wake()
    waker.wake()
    assert rings(waker)
    waker.clear()
    assert not rings(waker, 0)
    waker.wake()
    assert rings(waker)


class Meanwhile:
    """The reading end, with something that happens just before or after it is read."""

    def __init__(self, reader: Any, before: Any, after: Any) -> None:
        self._reader, self._before, self._after = reader, before, after

    def recv(self, size: int) -> bytes:
        self._before()
        try:
            found: bytes = self._reader.recv(size)
            return found
        finally:
            self._after()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_wake_up_in_the_middle_of_clearing_leaves_it_able_to_ring(waker: Waker, when: str) -> None:
    """With the flag cleared before the read, such a wake-up set the flag, lost its byte, and was the last one."""
    waker.wake()
    reader = waker._reader
    nothing = lambda: None  # noqa: E731
    waker._reader = Meanwhile(reader, *((waker.wake, nothing) if when == "before" else (nothing, waker.wake)))
    waker.clear()
    waker._reader = reader
    waker.wake()
    assert rings(waker, 1.0)


def test_under_stress_no_reason_waits_for_its_wake_up(waker: Waker) -> None:
    """A reason that was given before its wake-up is seen by the turn after it at the latest."""
    turns = 20_000
    given = [0]
    seen = threading.Semaphore(1)

    def give() -> None:
        for _ in range(turns):
            assert seen.acquire(timeout=SECONDS), "the other thread is deaf"
            given[0] += 1
            waker.wake()
            waker.wake()

    giver = threading.Thread(target=give)
    giver.start()
    taken = 0
    while taken < turns and rings(waker):
        waker.clear()
        while taken < given[0]:
            taken += 1
            seen.release()
    giver.join()
    assert taken == turns
