"""Jobs that do nothing: what is left is what the exchange costs.  tm-run noop.py 2 count=30000000"""

from __future__ import annotations

from collections.abc import Iterator

from stamps import stamp

stamp("ready")


def get_jobs(last: int = 0, count: int = 1_000_000) -> Iterator[int]:
    stamp("source")
    yield from range(last, count)


def handle_job(number: int) -> None:
    pass
