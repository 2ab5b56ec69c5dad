"""What a workload is asked to do and what it reports, as values, independent of how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Plan:
    """How thorough to be: `quick` uses tiny counts, only to see that all works; `tell` receives progress messages."""

    rounds: int
    quick: bool
    tell: Callable[[str], None]

    def judged(self, verdicts: Iterable[Verdict]) -> list[Verdict]:
        """The same for tiny counts, which say nothing about speed."""
        return [replace(one, met=None, reading=f"{one.reading}, with tiny counts") if self.quick else one
                for one in verdicts]


@dataclass(frozen=True)
class Verdict:
    """A target, the reading, and whether it is met; None if it was not judged, and `reading` then tells why."""

    target: str
    reading: str
    met: bool | None


@dataclass(frozen=True)
class Bar:
    """A rate for the plot; `plain` is a peer without tuning."""

    name: str
    how: str
    rate: float
    plain: bool

    @property
    def label(self) -> str:
        return f"{self.name} {self.how}".strip()


@dataclass(frozen=True)
class Report:
    """A table and what belongs to it. `wrong` lists what invalidates it: the benchmark then exits with 1."""

    name: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    verdicts: Sequence[Verdict] = ()
    notes: Sequence[str] = ()
    wrong: Sequence[str] = ()
    data: Any = field(default_factory=list)
    bars: Sequence[Bar] = ()  # the first is taskmaster's

    def json(self) -> dict[str, Any]:
        """For a program; the rows as they are shown and the numbers behind them."""
        return {"about": self.about, "columns": list(self.columns), "rows": [list(row) for row in self.rows],
                "targets": [vars(verdict) for verdict in self.verdicts], "notes": list(self.notes),
                "wrong": list(self.wrong), "data": self.data}


def at_least(target: str, reading: float, least: float, shown: str) -> Verdict:
    """Met if the reading is at least that high; not judged if there is none (0)."""
    return Verdict(target, shown, reading >= least) if reading else Verdict(target, "nothing to compare with", None)


def at_most(target: str, reading: float, most: float, shown: str) -> Verdict:
    """Met if the reading is at least that low; not judged if there is none (0)."""
    return Verdict(target, shown, reading <= most) if reading else Verdict(target, "nothing to compare with", None)
