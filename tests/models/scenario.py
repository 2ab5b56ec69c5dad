"""What a world is like: how large, how fast, and what may go wrong in it."""

from __future__ import annotations

from dataclasses import dataclass

from models.network import FAIR, Weather

SECONDS = {  # that a handler takes, least and most
    "no-op": (0.0, 0.0),
    "quick": (1e-5, 1e-2),
    "plain": (1e-3, 0.3),
    "slow": (0.1, 5.0),
    "mixed": (1e-5, 20.0),
}


@dataclass(frozen=True)
class FateShares:
    """Shares of the jobs whose handler does not simply return."""

    raises: float = 0.0  # always
    raises_once: float = 0.0
    exits: float = 0.0
    undecodable: float = 0.0
    holds: float = 0.0  # the interpreter lock
    hangs: float = 0.0
    kills_once: float = 0.0
    killers: int = 0  # this many jobs kill every slave that runs them,
    holders: int = 0  # and this many hold the interpreter lock for ever; needs a watchdog


@dataclass(frozen=True)
class Scenario:
    """The defaults are a small, quiet world: nothing goes wrong."""

    seed: int = 1
    jobs: int = 10
    size: int = 4
    attempts: int = 2
    slaves: int = 2
    threads: int = 1
    speed: str = "quick"
    fates: FateShares = FateShares()
    weather: Weather = FAIR
    faults: tuple[str, ...] = ()  # that may happen,
    many: int = 0  # and how many do
    gap: int = 1  # messages between two faults, roughly
    cursors: int = 0  # every so many jobs have a cursor of their own; 0: none
    bad: int = 0  # every so many jobs cannot be encoded; 0: none
    takes_last: bool = True
    source_seconds: float = 0.0
    source_raises: bool = False
    changes: bool = False  # the source, between two masters
    retries_failed: bool = False  # once the run is over, its failed jobs are tried again
    crew: bool = False  # the master keeps its slaves itself
    fleet: bool = False  # something else keeps them, and reports how they died
    backups: bool = True  # at the end, idle slaves also run what others have been running for long
    slow: int = 0  # so many slaves take ten times as long as the others
    watchdog: bool = False  # whoever keeps them kills those that are silent
    local: bool = True
    job_timeout: float | None = None
    rate: float | None = None
    limit: int | None = None
    budget: int | None = None
    retries: int = 60
    breathes: bool = False  # each slave: runs now more and now fewer jobs at once
    batch: int | None = None  # jobs that a call of the handler takes
    results: bool = False  # are wanted,
    in_order: bool = True
    with_failures: bool = False  # and of failed jobs, too
    foreigners: int = 0  # slaves with the handler of other jobs, which come while the run begins
