"""Jobs of about 1 ms of pure Python: the cores should be busy with them and with little else.

One in `failing` of the first half raises, for the benchmark of what failures cost; none does by default. In the
second half it would be seen instead how long the last of them waits for its third attempt.
"""

from __future__ import annotations

from collections.abc import Iterator

from stamps import stamp

stamp("ready")

STEPS = 16_000  # 1 ms on a core of 2023


def get_jobs(last: int = 0, count: int = 5_000, failing: int = 0) -> Iterator[int]:
    stamp("source")
    for number in range(last, count):
        yield -number if failing and number % failing == 1 and number < count / 2 else number


def handle_job(number: int) -> None:
    total = 0
    for step in range(STEPS):
        total += step
    if number < 0:
        raise ValueError("one of those that fail")
