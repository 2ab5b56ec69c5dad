"""Waiting for something to become so, with a generous limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SECONDS = 10.0
COMMAND_SECONDS = 40.0  # for a command to start and do something, on a busy machine


def awaited(look: Callable[[], Any], wait: Callable[[float], None], seconds: float = SECONDS) -> Any:
    """What `look` returns as soon as it is true; its last value if that is not in time. `wait` passes the time."""
    end = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < end:
        wait(0.05)
    return found


def wait_until(fact: Callable[[], object], seconds: float = COMMAND_SECONDS) -> bool:
    """Whether it became so in time."""
    return bool(awaited(fact, lambda _: time.sleep(0.01), seconds))
