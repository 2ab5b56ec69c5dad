"""Jobs that wait 10 ms, as on a network: what counts is that no thread ever waits for its next job."""

from __future__ import annotations

import time
from collections.abc import Iterator

from stamps import stamp

stamp("ready")

SECONDS = 0.01


def get_jobs(last: int = 0, count: int = 10_000) -> Iterator[int]:
    stamp("source")
    yield from range(last, count)


def handle_job(number: int) -> None:
    time.sleep(SECONDS)
