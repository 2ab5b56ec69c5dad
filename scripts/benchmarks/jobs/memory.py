"""Jobs that do nothing, very many of them; the source looks at what master and slaves weigh at 10^6, 10^7, ... jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks.measure import below, resident
from stamps import stamp

stamp("ready")


def get_jobs(last: int = 0, count: int = 100_000_000, least: int = 1_000_000) -> Iterator[int]:
    stamp("source")
    upto = least
    while last < count:
        yield from range(last, upto)
        last, upto = upto, min(10 * upto, count)
        stamp("weighed", last, resident(os.getpid()), max(map(resident, below(os.getpid())), default=0))


def handle_job(number: int) -> None:
    pass
