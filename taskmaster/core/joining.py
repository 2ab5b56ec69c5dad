"""Which slaves get a session, and what a new session begins with."""

from __future__ import annotations

from collections.abc import Sequence

from taskmaster import defaults
from taskmaster.core.master_effects import Effect, Log
from taskmaster.core.roster import Roster
from taskmaster.core.runs import Run, Runs
from taskmaster.core.session import Session
from taskmaster.core.window import Window
from taskmaster.core.wire import Poll

_MOST_JOBS = 1 << 60  # of one run: more than any source yields, and well below wire.LARGEST


class Joining:
    """Opens sessions, up to defaults.SLAVES of them."""

    def __init__(self, window: Window, slaves: Roster) -> None:
        self._window = window
        self._slaves = slaves

    @property
    def full(self) -> bool:
        return len(self._slaves) >= defaults.SLAVES

    def join(self, poll: Poll, ours: bool, now: float) -> Session:
        """Open a session for a slave that has none; `ours`: its request is about jobs of this master.

        It may be one that was taken for dead. Then its jobs were requeued. Those that nobody else has been given since
        are its own again; the others it should not start. No job has an offset of the window's head or above: what it
        says of such offsets is not kept.
        """
        session = Session(poll.slave_id, drops=_below(self._window.head, poll.held))
        expired = self._slaves.take_expired(poll.slave_id)
        if expired is not None:
            session.info, session.seq = expired.info, expired.seq - 1  # its newest request is answered anew
            if ours:
                self._readopt(session, poll.seq, now)
        self._slaves.add(session)
        return session

    def _readopt(self, session: Session, request: int, now: float) -> None:
        for run in self._window.readopt(session.slave_id, request, session.drops, now):
            session.drops.remove(*run)

    @staticmethod
    def announce(session: Session, poll: Poll) -> list[Effect]:
        """Log that a slave joined, if this request introduces it."""
        return [Log("info", "slave %s joined", (session.name,))] if poll.info else []


def _below(head: int, held: Sequence[Run]) -> Runs:
    """The offsets that may be jobs', so that what is kept of a lie is bounded, and a merged run fits the format."""
    cut = ((max(first, head - _MOST_JOBS), min(first + count, head)) for first, count in held)
    return Runs((first, end - first) for first, end in cut if first < end)
