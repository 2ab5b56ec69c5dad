"""The job that everything else waits for."""

from __future__ import annotations

from collections.abc import Callable

from taskmaster import defaults
from taskmaster.core.chunks import State
from taskmaster.core.stats import Straggler
from taskmaster.core.window_view import WindowView


def straggler(window: WindowView, name_of: Callable[[str], str], now: float) -> Straggler | None:
    """The job that has held the watermark, with a slave, for STRAGGLER_SECONDS or more; `name_of` names its slave."""
    chunk = window.oldest()
    if chunk is None or chunk.state is not State.LEASED or now - chunk.since < defaults.STRAGGLER_SECONDS:
        return None
    cursor = None if window.next_is_plain else window.next_cursor
    return Straggler(window.watermark, cursor, now - chunk.since, name_of(chunk.holder))
