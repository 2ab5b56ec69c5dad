"""The quickstart: write down the squares of a hundred thousand numbers.

Run it with two slaves, from any folder you like:   tm-run examples/quickstart.py 2
Run it with more jobs:                              tm-run examples/quickstart.py 2 count=1000000
Look at what it did:                                sort -n -u squares.txt | wc -l

Press Ctrl-C, or kill -9 it, and run the same command again to resume. A job that was running at that moment
runs again, so its line may appear twice; the lines are identical, and `sort -u` keeps one.
A finished run has nothing left to do: `--reset` starts it again from the first job.
"""

from __future__ import annotations

from collections.abc import Iterator


def get_jobs(last: int = 0, count: int = 100_000) -> Iterator[int]:
    yield from range(last, count)


def handle_job(number: int) -> None:
    with open("squares.txt", "a") as squares:
        squares.write(f"{number} {number ** 2}\n")
