"""A source that gives a job every 10 ms: how long from there to the start of its handler?

A job is its kind and a number. "short" carries the time at which it was yielded; "long" the seconds that it keeps a
thread, and `long` of them go first. The first second is for the slaves to come up, and its delays do not count.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from stamps import stamp

stamp("ready")

EVERY_SECONDS = 0.01
WARM_SECONDS = 1.0
WARM_JOBS = int(WARM_SECONDS / EVERY_SECONDS)


def get_jobs(last: int = 0, count: int = 500, long: int = 0) -> Iterator[tuple[str, float]]:
    """`count` are those that count, besides the long ones and those of the first second."""
    stamp("source")
    for _ in range(long):
        yield "long", WARM_SECONDS + count * EVERY_SECONDS + 0.5
    for number in range(WARM_JOBS + count):
        time.sleep(EVERY_SECONDS)
        yield ("short" if number >= WARM_JOBS else "warm"), time.monotonic()


def handle_job(job: tuple[str, float]) -> None:
    kind, number = job
    if kind == "short":
        stamp("delay", time.monotonic() - number)
    elif kind == "long":
        time.sleep(number)
