"""What the death of a slave says about the jobs it held: who is a suspect, and which job kills its slaves.

One death is an accident of the slave. A second one makes suspects of all jobs that both slaves held. Suspects are
isolated: cut into pieces, each leased to a slave that holds nothing else, until the one that keeps killing its slave
is alone. This file knows neither slaves nor leases; the window asks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from taskmaster.core.runs import Run, pieces
from taskmaster.core.wire import FailedAttempt

DEATHS_TO_ISOLATE: Final = 2  # one death is an accident of the slave
ISOLATED_PIECES: Final = 8  # a batch of 64 suspects is down to single jobs after two more deaths


@dataclass(frozen=True)
class Suspicion:
    """What is held against a chunk's jobs."""

    deaths: int = 0  # of slaves that held them
    isolated_deaths: int = 0  # of slaves that held one of them and nothing else
    isolated: bool = False  # leased only to a slave that holds nothing else

    def after_death(self, jobs: int) -> Suspicion:
        """One more slave died; its lease had this many jobs."""
        deaths = self.deaths + 1
        single = self.isolated and jobs == 1
        return Suspicion(deaths, self.isolated_deaths + single, deaths >= DEATHS_TO_ISOLATE)

    def is_proven(self, attempts: int) -> bool:
        """Whether as many slaves died of one job alone as it may have attempts."""
        return self.isolated_deaths >= attempts

    def split(self, runs: list[Run]) -> list[Run]:
        """The runs as they are to be leased from now on: in pieces when isolated."""
        return [piece for run in runs for piece in pieces(run, ISOLATED_PIECES)] if self.isolated else runs

    def verdict(self, offset: int, how: str) -> FailedAttempt:
        """The failure to record for a job that kills its slaves; `how` the last of them died."""
        times = f", {self.isolated_deaths} times" if self.isolated_deaths > 1 else ""
        message = f"its slave died while running no other job: {how}{times}"
        return FailedAttempt(offset, self.isolated_deaths, "killed", "SlaveKilled", message, "")


INNOCENT: Final = Suspicion()
