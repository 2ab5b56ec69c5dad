"""Reads what jobs/stamps.py wrote."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

STAMPS = "BENCH_STAMPS"  # names the file, in the environment of each process that imports a job file


@dataclass(frozen=True)
class Mark:
    """A word, the process, the time (CLOCK_MONOTONIC), and further numbers."""

    word: str
    pid: int
    time: float
    numbers: tuple[float, ...]


def read_marks(path: Path) -> list[Mark]:
    """All marks, in the order in which they were written."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Mark(word, int(pid), float(at), tuple(map(float, numbers))) for word, pid, at, *numbers in lines]


def first(marks: Iterable[Mark], word: str) -> float | None:
    """The time of the first mark of this word."""
    return min((mark.time for mark in marks if mark.word == word), default=None)
