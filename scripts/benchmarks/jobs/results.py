"""Jobs that return a small dict: what is left is what carrying and writing it costs.

    tm-run results.py 2 count=4000000 --results results.jsonl
"""

from __future__ import annotations

from collections.abc import Iterator

from stamps import stamp

stamp("ready")


def get_jobs(last: int = 0, count: int = 1_000_000) -> Iterator[int]:
    stamp("source")
    yield from range(last, count)


def handle_job(number: int) -> dict[str, object]:
    return {"number": number, "square": number * number, "name": f"job {number}"}
