"""Requests to a server that can only work on so many at once, each of which leaves a mark when it is answered."""

from __future__ import annotations

from collections.abc import Iterator

import requests  # the job file beside this one
from stamps import stamp


def get_jobs(last: int = 0, count: int = 10_000, port: int = 0) -> Iterator[int]:
    yield from requests.get_jobs(last, count, port)


def handle_job(port: int) -> None:
    requests.handle_in_greenlet(port)
    stamp("handled")


async def handle_async(port: int) -> None:
    await requests.handle_job(port)
    stamp("handled")
