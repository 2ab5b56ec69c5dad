"""Whether a slave has been silent for so long that its fleet has to kill it.

Code that holds the interpreter lock stops every thread of a slave, so nothing inside it can end such a job. Its fleet
can: a healthy slave sends a beat every BEAT_SECONDS. Pure: the number of beats and the time are arguments.
"""

from __future__ import annotations

from enum import Enum

from taskmaster import defaults


class Verdict(Enum):
    """What to do about a slave now."""

    FINE = "fine"
    ASK = "ask"  # for its stacks: it is about to be killed
    KILL = "kill"


def silence_limit(job_timeout: float | None) -> float:
    """Seconds of silence after which a slave is killed: no job may hold the lock for longer than `job_timeout`.

    Without one, it is killed just before its leases expire, its last message being up to a heartbeat older than its
    last beat. After that the master has taken it for dead without evidence, and the report of how it died would come
    too late to count against the job.
    """
    if job_timeout is None:
        return defaults.LEASE_LIFE_SECONDS - defaults.HEARTBEAT_SECONDS - defaults.SILENCE_MARGIN_SECONDS
    return job_timeout + defaults.SILENCE_MARGIN_SECONDS


class Watchdog:
    """Watches one slave. It says nothing before the first beat: importing the user's module may take any time.

    Silence is summed over looks, none of which adds more than WATCHDOG_LOOK_SECONDS: a fleet that was suspended itself,
    by Ctrl-Z or in a paused container, was not listening, so a jump of the clock is no evidence against a slave.
    """

    def __init__(self, limit: float) -> None:
        self.silence = 0.0  # seconds
        self._limit = limit
        self._beats = 0
        self._looked_at: float | None = None
        self._asked = False
        self._killed = False

    @property
    def killed(self) -> bool:
        """Whether it had the slave killed."""
        return self._killed

    def look(self, beats: int, now: float) -> Verdict:
        """The slave has sent this many beats so far. ASK and KILL come once each, ASK_SECONDS apart."""
        before, self._looked_at = self._looked_at, now
        if beats != self._beats or before is None:
            self._beats, self.silence, self._asked = beats, 0.0, False
        elif beats:
            self.silence += min(max(0.0, now - before), defaults.WATCHDOG_LOOK_SECONDS)
        return self._verdict()

    def _verdict(self) -> Verdict:
        if self.silence < self._limit or self._killed:
            return Verdict.FINE
        if not self._asked:
            self._asked = True
            return Verdict.ASK
        if self.silence < self._limit + defaults.STACK_SECONDS:
            return Verdict.FINE
        self._killed = True
        return Verdict.KILL
