"""When a retry is due."""

from __future__ import annotations

from taskmaster import defaults


def retry_delay(attempt: int, offset: int) -> float:
    """Seconds to wait after failed attempt number `attempt`: doubling, spread by up to a quarter by the offset."""
    delay = min(defaults.RETRY_SECONDS * float(1 << min(attempt - 1, 20)), defaults.RETRY_SECONDS_MOST)
    return delay * (1 + 0.25 * (offset * 7919 % 101) / 100)
