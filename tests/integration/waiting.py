"""Waiting for what a socket brings."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SECONDS = 10.0


def awaited(look: Callable[[], Any], wait: Callable[[float], None], seconds: float = SECONDS) -> Any:
    """What `look` gives, once it gives something; nothing when it does not in time."""
    end = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < end:
        wait(0.05)
    return found
