"""Jobs that do nothing, and from one job to the next take 50 ms: who holds thousands by then must not keep them.

A job is its number among the slow ones, or -1.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from stamps import stamp

stamp("ready")

SLOW_SECONDS = 0.05


def get_jobs(last: int = 0, count: int = 2_000, quick: int = 2_000) -> Iterator[int]:
    """`quick` jobs that do nothing, then the rest of `count`."""
    stamp("source")
    for number in range(last, count):
        yield max(-1, number - quick)


def handle_job(number: int) -> None:
    if number >= 0:
        began = time.monotonic()
        time.sleep(SLOW_SECONDS)
        stamp("slow", number, began)
