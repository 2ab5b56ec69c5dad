"""What the death of a slave says about the jobs it held: who is a suspect, and which job kills its slaves.

Blame follows evidence: a death counts only if the fleet reports that a job may have caused it. The first one is an
accident of the slave. A second one makes suspects of all jobs that both slaves held. Suspects are isolated: cut into
pieces, each leased to a slave that holds nothing else, until the one that keeps killing its slave is alone.

Any other death is innocent: a lost connection, a SIGTERM, a kill from outside. A job that sends its own process SIGKILL
looks the same. So after ten innocent deaths a job is isolated, without being charged, and after ten while it ran alone
each further death counts. This file knows neither slaves nor leases; the window asks it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from taskmaster.core.runs import Run, pieces
from taskmaster.core.wire import FailedAttempt

DEATHS_TO_ISOLATE: Final = 2  # one death is an accident of the slave
INNOCENT_DEATHS: Final = 10  # more preemptions of the same job, one after the other, are hardly chance
ISOLATED_PIECES: Final = 8  # a batch of 64 suspects is down to single jobs after two more deaths


@dataclass(frozen=True)
class Suspicion:
    """What is held against a chunk's jobs."""

    deaths: int = 0  # of slaves that held them, and that a job may have killed
    isolated_deaths: int = 0  # the same of slaves that held one of them and nothing else
    isolated: bool = False  # leased only to a slave that holds nothing else
    innocent_deaths: int = 0  # of slaves that held them, without evidence against a job
    innocent_alone: int = 0  # the same of slaves that held one of them and nothing else
    before: Suspicion | None = None  # the last innocent death, in case that slave returns

    def after_death(self, alone: bool, blame: bool) -> Suspicion:
        """One more slave died. `alone`: it held one job and nothing else; `blame`: a job may be the cause."""
        if not blame and not (alone and self.innocent_alone >= INNOCENT_DEATHS):
            return self._after_innocent_death(alone)
        deaths = self.deaths + 1
        return replace(self, deaths=deaths, isolated_deaths=self.isolated_deaths + (self.isolated and alone),
                       isolated=self.isolated or deaths >= DEATHS_TO_ISOLATE, before=None)

    def withdrawn(self) -> Suspicion:
        """The slave that was taken for dead has returned."""
        return self if self.before is None else self.before

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

    def _after_innocent_death(self, alone: bool) -> Suspicion:
        deaths = self.innocent_deaths + 1
        return replace(self, innocent_deaths=deaths, innocent_alone=self.innocent_alone + alone,
                       isolated=self.isolated or deaths >= INNOCENT_DEATHS, before=replace(self, before=None))


UNSUSPECTED: Final = Suspicion()
