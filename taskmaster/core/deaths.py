"""Which slaves are dead, and what becomes of their jobs."""

from __future__ import annotations

from taskmaster import defaults
from taskmaster.core.accounting import Accounting
from taskmaster.core.counts import Counts
from taskmaster.core.master_effects import Effect, Log
from taskmaster.core.roster import Roster
from taskmaster.core.session import Session
from taskmaster.core.window import Window


class Deaths:
    """Expires the sessions of slaves that are missing or reported dead, and requeues their jobs."""

    def __init__(self, window: Window, slaves: Roster, accounting: Accounting, counts: Counts) -> None:
        self._window = window
        self._slaves = slaves
        self._accounting = accounting
        self._counts = counts

    def of_process(self, host: str, pid: int, how: str, blame: bool) -> list[Effect]:
        """The fleet reports that a process ended; `blame`: a job may be the cause."""
        sessions = self._slaves.processes(host, pid)
        return [effect for session in sessions for effect in self._expire(session, how, blame)]

    def overdue(self, now: float) -> list[Effect]:
        """Slaves that did not reconnect in time, or were not heard for the life of a lease: nobody's fault."""
        life = defaults.LEASE_LIFE_SECONDS
        dead = [(session, "its connection dropped") for session in self._slaves.lost(now)]
        dead += [(session, f"silent for {life:.0f} s") for session in self._slaves.silent_since(now - life)]
        return [effect for session, how in dead for effect in self._expire(session, how, blame=False)]

    def _expire(self, session: Session, how: str, blame: bool) -> list[Effect]:
        held = self._window.leased(session.slave_id)
        abandoned = self._window.forfeit(session.slave_id, how, blame)
        self._slaves.expire(session)
        if not held:
            return [Log("info", "slave %s left (%s)", (session.name, how))]
        self._counts.deaths += 1
        jobs = "1 job goes" if held == 1 else f"{held:,} jobs go"
        lost = Log("warning", "slave %s is gone (%s); its %s to others", (session.name, how, jobs))
        return [lost, *self._accounting.abandon(abandoned)]
