"""Jobs of 5,000 bytes (`size`) that nobody looks at: what is left is what carrying them costs.

Each job is an object of its own with bytes of its own: of one object yielded again and again, a pickle of a thousand
jobs would hold a single copy.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from stamps import stamp

stamp("ready")


def get_jobs(last: int = 0, count: int = 100_000, size: int = 5_000) -> Iterator[bytes]:
    stamp("source")
    rest = random.Random(1).randbytes(size - 8)
    for number in range(last, count):
        yield number.to_bytes(8, "little") + rest


def handle_job(payload: bytes) -> None:
    pass
