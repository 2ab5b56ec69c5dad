"""Interrupts that come far enough apart for each to count."""

from __future__ import annotations

from taskmaster import defaults
from taskmaster.core.interrupts import Interrupts


def interrupt(interrupts: Interrupts, times: int = 1, now: float = 0.0) -> None:
    """Ctrl-C, `times` times, the first at `now`; nothing waits for the time to pass."""
    for number in range(times):
        interrupts.add(now + 2 * number * defaults.INTERRUPT_SECONDS)
