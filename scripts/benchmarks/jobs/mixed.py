"""99 jobs of 1 ms to 1 of 200 ms, in an order shuffled by a fixed seed: short jobs must not wait behind long ones."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from stamps import stamp

stamp("ready")

SHORT_SECONDS = 0.001
LONG_SECONDS = 0.2


def seconds_of(count: int) -> list[float]:
    """How long each job sleeps."""
    long = count // 100
    seconds = [LONG_SECONDS] * long + [SHORT_SECONDS] * (count - long)
    random.Random(1).shuffle(seconds)
    return seconds


def get_jobs(last: int = 0, count: int = 10_000) -> Iterator[float]:
    stamp("source")
    yield from seconds_of(count)[last:]


def handle_job(seconds: float) -> None:
    time.sleep(seconds)
