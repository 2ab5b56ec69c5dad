"""Which slaves get a session, and what a new session begins with."""

from __future__ import annotations

from math import inf

from taskmaster import defaults
from taskmaster.core.counts import Counts
from taskmaster.core.master_effects import Effect, Log
from taskmaster.core.roster import Roster
from taskmaster.core.session import Session
from taskmaster.core.wire import Poll


class Joining:
    """Opens sessions, up to defaults.SLAVES of them."""

    def __init__(self, slaves: Roster, counts: Counts) -> None:
        self._slaves = slaves
        self._counts = counts
        self._full_logged_at = -inf

    @property
    def full(self) -> bool:
        return len(self._slaves) >= defaults.SLAVES

    def refuse(self, now: float) -> list[Effect]:
        """There is no room for this slave. It will retry, and is admitted when a session ends."""
        self._counts.refused += 1
        if now < self._full_logged_at + defaults.TURNED_AWAY_SECONDS:
            return []
        self._full_logged_at = now
        text = "%d slaves are connected, which is the limit; others have to wait until one leaves"
        return [Log("warning", text, (len(self._slaves),))]

    def join(self, poll: Poll) -> Session:
        """Open a session for a slave that has none.

        It may be one that was taken for dead. Then its jobs were requeued: it should not start those that it holds.
        """
        session = Session(poll.slave_id, drops=list(poll.held))
        expired = self._slaves.take_expired(poll.slave_id)
        if expired is not None:
            session.info, session.seq = expired.info, expired.seq - 1  # its newest request is answered anew
        self._slaves.add(session)
        return session

    @staticmethod
    def announce(session: Session, poll: Poll) -> list[Effect]:
        """Log that a slave joined, if this request introduces it."""
        return [Log("info", "slave %s joined", (session.name,))] if poll.info else []
