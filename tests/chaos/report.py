"""What the suite prints: a line for each fault, its violations below it, and a conclusion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chaos.blow import Blow
from chaos.oracle import Verdict, worst

HEAD = (f"{'fault':<58} {'jobs':>7} {'lost':>4} {'extra':>5} {'worst':>5} {'bound':>5} {'next':>7} {'again':>7} "
        f"{'kept':>5} {'false':>5} {'MiB':>4} {'took':>6}")


@dataclass
class Row:
    """All rounds of one fault. Times in seconds, memory in MiB."""

    number: int
    name: str
    jobs: int = 0
    lost: int = 0
    extra: int = 0
    false: int = 0  # runs that no blow explains: jobs taken from a slave that was well
    kills: int = 0
    next: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    memory: float = 0.0
    took: float = 0.0
    doubts: list[str] = field(default_factory=list)  # wrong once, late or on a busy machine; right when played again
    replays: tuple[int, int] = (0, 0)  # the worst of one blow, and its bound
    remarks: list[str] = field(default_factory=list)  # such as how many cases were played
    violations: list[str] = field(default_factory=list)
    skipped: str = ""

    def add(self, verdict: Verdict, blows: Iterable[Blow], memory: float) -> None:
        """The results of one scene."""
        self.jobs += verdict.jobs
        self.lost += len(verdict.lost)
        self.extra += verdict.extra
        self.false += len(verdict.unexplained)
        self.next += [span for span in verdict.next_completion if math.isfinite(span)]
        self.again += [span for span, _ in verdict.again if math.isfinite(span)]
        self.kept += [] if verdict.kept is None else [verdict.kept]
        self.memory = max(self.memory, memory)
        for blow in blows:
            self.kills += blow.kills
            self.replays = max(self.replays, (blow.replays, blow.bound), key=_share)

    def text(self) -> str:
        """One line, and one more for each violation."""
        if self.skipped:
            return f"{self._title} not played: {self.skipped}"
        kept = f"{100 * min(self.kept):.0f} %" if self.kept else "-"
        numbers = (f" {self.jobs:>7,} {self.lost:>4} {self.extra:>5} {self.replays[0]:>5} {self.replays[1]:>5} "
                   f"{_span(self.next):>7} {_span(self.again):>7} {kept:>5} {self.false:>5} {self.memory:>4.0f} "
                   f"{self.took:>5.1f}s")
        doubts = (f"      ? played again, for it was late or the machine busy: {text}" for text in self.doubts)
        remarks = (f"        {text}" for text in self.remarks)
        return "\n".join([self._title + numbers, *remarks, *doubts, *(f"      ! {text}" for text in self.violations)])

    @property
    def _title(self) -> str:
        return f"{self.number:>3} {self.name:<54}"


def _share(replays: tuple[int, int]) -> tuple[float, int]:
    """For ordering: how near a blow's replays came to their bound."""
    count, bound = replays
    return count / bound if bound else float(count), bound


def _span(values: Sequence[float]) -> str:
    """The 95th percentile in seconds."""
    found = worst(values)
    return "-" if found is None else f"{found:.2f} s"


def conclusion(rows: Sequence[Row]) -> str:
    """The last line."""
    kills, lost = sum(row.kills for row in rows), sum(row.lost for row in rows)
    count, bound = max((row.replays for row in rows), key=_share, default=(0, 0))
    sign = "<=" if count <= bound else ">"
    return f"{kills:,} kills, {lost:,} lost, worst replay {count:,} {sign} {bound:,}"


def legend() -> str:
    """What the columns mean."""
    return ("lost: jobs that no handler finished and no failures file names; extra: runs of jobs that had run before; "
            "worst, bound:\nthe most of them that one blow caused, and may; next, again: seconds from a blow to the "
            "next job done anywhere, and until\nthe last job that it cut short had begun anew (95th percentile); kept: "
            "the rate after it; false: extra runs without a\nreason; MiB: the largest master.")
