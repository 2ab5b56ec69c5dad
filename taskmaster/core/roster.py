"""The slaves a master knows: by session id, by connection, by how long they have been silent.

It knows who is there and who waits, not what anybody holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from math import ceil

from taskmaster.core.runs import Run
from taskmaster.core.session import Route, Session
from taskmaster.core.wire import Poll


class Roster:
    """Sessions, in the order in which they were last heard; `in`, `len` and iteration go by session id."""

    GONE_KEPT = 1000  # slaves that were given up and are known by name if they come back
    ROUNDS = 32  # a second, in which those that waited enough end together: a turn for each cost as much as the answers

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._by_peer: dict[bytes, Session] = {}
        self._parked: OrderedDict[str, Session] = OrderedDict()  # the first to come first
        self._rounds: dict[int, dict[str, Session]] = {}  # the same, by the round in which they have waited enough
        self._lost: dict[str, float] = {}  # slaves whose last connection dropped, and when they are given up
        self._gone: OrderedDict[str, Session] = OrderedDict()  # those given up last: they may be alive after all

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __contains__(self, slave_id: str) -> bool:
        return slave_id in self._sessions

    def name_of(self, slave_id: str) -> str:
        """Where a person finds it, also when it has been given up."""
        session = self._sessions.get(slave_id) or self._gone.get(slave_id)
        return session.name if session is not None else slave_id[:8]

    def hear(self, poll: Poll, route: Route, now: float) -> Session:
        """A slave spoke: its session, a new one if it is new."""
        session = self._sessions.get(poll.slave_id)
        if session is None:
            session = self._sessions[poll.slave_id] = self._newcomer(poll)
        session.seen = now
        self._lost.pop(poll.slave_id, None)
        self._sessions.move_to_end(poll.slave_id)
        session.peers.add(route[0])
        self._by_peer[route[0]] = session
        return session

    def forget(self, session: Session) -> None:
        """It has left."""
        self.unpark(session)
        self._lost.pop(session.slave_id, None)
        self._sessions.pop(session.slave_id, None)
        for peer in session.peers:
            self._by_peer.pop(peer, None)

    def remember(self, session: Session) -> None:
        """It was given up, and may yet come back."""
        self._gone[session.slave_id] = session
        if len(self._gone) > self.GONE_KEPT:
            self._gone.popitem(last=False)

    def tell_to_drop(self, slave_id: str, run: Run) -> None:
        """With its next answer, if it is still there."""
        if slave_id in self._sessions:
            self._sessions[slave_id].drops.append(run)

    # -- who waits for work

    @property
    def any_parked(self) -> bool:
        return bool(self._parked)

    def park(self, session: Session, poll: Poll, until: float) -> None:
        """It waits for work, until the first round from then on."""
        session.parked, session.park_round = poll, ceil(until * self.ROUNDS)
        self._parked[session.slave_id] = session
        self._rounds.setdefault(session.park_round, {})[session.slave_id] = session

    def unpark(self, session: Session) -> None:
        if session.parked is None:
            return
        session.parked = None
        del self._parked[session.slave_id]
        of_round = self._rounds[session.park_round]
        del of_round[session.slave_id]
        if not of_round:
            del self._rounds[session.park_round]

    def parked(self) -> Iterator[tuple[Session, Poll]]:
        """Those that wait, the first to come first; each may be unparked before the next is asked for."""
        passed = 0
        while some := list(islice(self._parked.values(), passed, passed + 8)):
            for session in some:
                if session.parked is not None:
                    yield session, session.parked
                passed += session.parked is not None

    def waited_enough(self, now: float) -> list[Session]:
        due = [number for number in self._rounds if number <= now * self.ROUNDS]
        return [session for number in due for session in self._rounds[number].values()]

    # -- who is gone

    def disconnected(self, peer: bytes, until: float) -> None:
        """A connection dropped; if it was the slave's last, it is lost at `until`, unless it is heard again."""
        session = self._by_peer.pop(peer, None)
        if session is None:
            return
        session.peers.discard(peer)
        if not session.peers:
            self._lost[session.slave_id] = until

    def lost(self, now: float) -> list[Session]:
        return [self._sessions[slave_id] for slave_id, until in self._lost.items() if until <= now]

    def silent_since(self, then: float) -> list[Session]:
        silent = []
        for session in self._sessions.values():
            if session.seen > then:
                break
            if session.slave_id not in self._lost:
                silent.append(session)
        return silent

    def processes(self, host: str, pid: int) -> list[Session]:
        """Slaves that said they are this process."""
        who = (host, str(pid))
        return [one for one in self._sessions.values() if (one.info.get("host"), one.info.get("pid")) == who]

    def next_due(self) -> float | None:
        """When somebody has waited enough, or is lost."""
        times = list(self._lost.values())
        if self._rounds:
            times.append(min(self._rounds) / self.ROUNDS)
        return min(times, default=None)

    def _newcomer(self, poll: Poll) -> Session:
        """It may be one that was given up: others have its jobs by now, so it need not start those that wait."""
        session = Session(poll.slave_id, drops=list(poll.held))
        before = self._gone.pop(poll.slave_id, None)
        if before is not None:
            session.info, session.seq = before.info, before.seq - 1  # the newest request itself is answered anew
        return session
