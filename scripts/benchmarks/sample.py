"""The results of one run, and of the runs of several rounds together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from benchmarks.marks import Mark
from benchmarks.measure import Measured


@dataclass(frozen=True)
class Sample:
    """One run of `count` jobs; `seconds` from workers ready to all settled, `whole` from command to exit.

    `wrong` says what invalidates it: a wrong count, an exit code. CPU is seconds, memory bytes, both of the
    process that has the jobs (the master) and of those that handle them (slaves: CPU of all, memory of the largest).
    `cpu` is that of all together, and finer. `began` is when the command was started, on the clock of the marks.
    """

    count: int
    handled: int = 0
    seconds: float = 0.0
    whole: float = 0.0
    master_cpu: float = 0.0
    slaves_cpu: float = 0.0
    master_peak: int = 0
    slave_peak: int = 0
    wrong: str = ""
    missing: str = ""
    cpu: float = 0.0
    began: float = 0.0
    marks: Sequence[Mark] = ()

    @property
    def rate(self) -> float:
        """Jobs/s from workers ready to all settled."""
        return self.handled / self.seconds if self.seconds else 0.0

    def numbers(self, word: str) -> list[float]:
        """The first number of each mark of this word."""
        return [mark.numbers[0] for mark in self.marks if mark.word == word]

    def json(self) -> dict[str, Any]:
        """All but the marks, of which there are very many."""
        kept = {key: value for key, value in vars(self).items() if key not in ("marks", "began")}
        return {**kept, "rate": self.rate, "whole_rate": self.whole_rate}

    @property
    def whole_rate(self) -> float:
        """Jobs/s from command to exit."""
        return self.handled / self.whole if self.whole else 0.0


def sample_of(measured: Sequence[Measured], marks: Sequence[Mark], count: int, handled: int, seconds: float,
              wrong: str) -> Sample:
    """`measured` are the commands of one run: the one that has the jobs, then, if on its own, one that has slaves."""
    master, *crews = measured
    if not wrong and handled != count:
        wrong = f"handled {handled:,} of {count:,} jobs"
    return Sample(
        count, handled, seconds, max(one.ended for one in measured) - master.began, master.own_cpu,
        master.below_cpu + sum(crew.own_cpu + crew.below_cpu for crew in crews), master.own_peak,
        max([master.below_peak, *(crew.below_peak for crew in crews)]), wrong, "",
        sum(one.cpu for one in measured), master.began, marks)


class Contender(Protocol):
    """Who takes part: taskmaster in one way of running it, or a peer in one tuning."""

    @property
    def name(self) -> str: ...

    @property
    def how(self) -> str: ...

    def run(self) -> Sample: ...


@dataclass
class Standing:
    """A contender and its samples of all rounds."""

    contender: Contender
    samples: list[Sample] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.contender.name} {self.contender.how}".strip()

    @property
    def missing(self) -> str:
        """Why it did not take part; empty if it did."""
        return next((sample.missing for sample in self.samples if sample.missing), "")

    @property
    def wrong(self) -> str:
        """What invalidated its runs; empty if nothing did."""
        return next((sample.wrong for sample in self.samples if sample.wrong), "")

    def of(self, value: Callable[[Sample], float]) -> list[float]:
        """One number of each sample, sorted."""
        return sorted(value(sample) for sample in self.samples)

    def middle(self, value: Callable[[Sample], float]) -> float:
        """The median of one number."""
        return median(self.of(value)) if self.samples else 0.0

    @property
    def rate(self) -> float:
        """Median jobs/s; 0 if missing or wrong, so that it never counts as the best."""
        return 0.0 if self.missing or self.wrong else self.middle(lambda sample: sample.rate)

    def json(self) -> dict[str, Any]:
        """All of it, for a program."""
        return {"name": self.contender.name, "how": self.contender.how, "missing": self.missing, "wrong": self.wrong,
                "rate": self.rate, "samples": [sample.json() for sample in self.samples]}


def take_turns(contenders: Sequence[Contender], rounds: int, tell: Callable[[str], None]) -> list[Standing]:
    """A B C C B A ...: other load on the machine then affects all equally, even if it becomes slower and slower.

    One that is missing sits out.
    """
    standings = [Standing(contender) for contender in contenders]
    for number in range(1, rounds + 1):
        for standing in standings if number % 2 else reversed(standings):
            if not standing.missing:
                tell(f"round {number} of {rounds}: {standing.label}")
                standing.samples.append(standing.contender.run())
    return standings


def median_ratio(one: Standing, other: Standing) -> float:
    """The ratio of the rates of two standings, round by round; 0 if there is none."""
    pairs = [(mine.rate, its.rate) for mine, its in zip(one.samples, other.samples)]
    ratios = [mine / its for mine, its in pairs if mine and its]
    return median(ratios) if ratios and not (one.wrong or other.wrong) else 0.0


def wrongs(standings: Sequence[Standing]) -> list[str]:
    """Whose runs were invalidated, and by what."""
    return [f"{one.label}: {one.wrong}" for one in standings if one.wrong]
