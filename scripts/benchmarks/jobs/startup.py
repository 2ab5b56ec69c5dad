"""One job, to see how long it takes until its handler is called."""

from __future__ import annotations

from collections.abc import Iterator

from stamps import stamp


def get_jobs(last: int = 0, count: int = 1) -> Iterator[int]:
    stamp("source")
    yield from range(last, count)


def handle_job(number: int) -> None:
    stamp("handled")


stamp("ready")
