"""The slaves that a master knows: by session id, by connection, and in the order in which they were last heard.

It knows who is connected and who is waiting for work, but not what anyone holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, ValuesView
from dataclasses import replace
from itertools import islice
from math import ceil

from taskmaster import defaults
from taskmaster.core.runs import Run
from taskmaster.core.session import Route, Session
from taskmaster.core.transfer import Transfer
from taskmaster.core.wire import Poll


class Roster:
    """Sessions, the one heard longest ago first; `in`, `len` and iteration go by session id."""

    EXPIRED_KEPT = 1000  # sessions of slaves taken for dead, which may return
    ROUNDS = 32  # per second; waits of one round end together: ending each by itself cost as much as all the replies

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._by_peer: dict[bytes, Session] = {}
        self._parked: OrderedDict[str, Session] = OrderedDict()  # the longest wait first
        self._rounds: dict[int, dict[str, Session]] = {}  # the same sessions, by the round in which their wait ends
        self._disconnected: dict[str, float] = {}  # slaves without a connection, and when each is taken for dead
        self._expired: OrderedDict[str, Session] = OrderedDict()  # of slaves taken for dead, the newest last

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __contains__(self, slave_id: str) -> bool:
        return slave_id in self._sessions

    def sessions(self) -> ValuesView[Session]:
        return self._sessions.values()

    @property
    def at_once(self) -> int:
        """How many jobs they run at once, if some of them have changed that; else 0."""
        sessions = self._sessions.values()
        return sum(one.threads for one in sessions) if any(one.slots for one in sessions) else 0

    def find(self, slave_id: str) -> Session | None:
        return self._sessions.get(slave_id)

    def name_of(self, slave_id: str) -> str:
        """The name by which people know a slave, even if it has been taken for dead since."""
        session = self._sessions.get(slave_id) or self._expired.get(slave_id)
        return session.name if session is not None else slave_id[:8]

    # -- sessions begin, continue and end

    def add(self, session: Session) -> None:
        self._sessions[session.slave_id] = session

    def heard(self, session: Session, route: Route, now: float) -> None:
        """A message from this slave arrived along `route`."""
        session.heard_at = now
        self._disconnected.pop(session.slave_id, None)
        self._sessions.move_to_end(session.slave_id)
        session.peers.add(route[0])
        self._by_peer[route[0]] = session

    def carried(self, peer: bytes, transfer: Transfer, now: float) -> None:
        """A look at the connection of a slave: if part of a message has moved since the last one, it has been heard."""
        session = self._by_peer.get(peer)
        if session is None:
            return
        before, session.carried = session.carried, transfer
        if before is not None and transfer.moved_since(before):
            session.heard_at = now
            self._sessions.move_to_end(session.slave_id)

    def forgive(self, now: float) -> None:
        """Nobody could be heard before now: count all silence from now on."""
        for session in self._sessions.values():
            session.heard_at = max(session.heard_at, now)
        for slave_id, until in self._disconnected.items():
            self._disconnected[slave_id] = max(until, now + defaults.RECONNECT_GRACE_SECONDS_REMOTE)

    def remove(self, session: Session) -> None:
        """The slave left."""
        self.unpark(session)
        self._disconnected.pop(session.slave_id, None)
        self._sessions.pop(session.slave_id, None)
        for peer in session.peers:
            self._by_peer.pop(peer, None)

    def expire(self, session: Session) -> None:
        """The slave is taken for dead; its session is kept aside, because it may be alive and return."""
        self.remove(session)
        session.forget()
        self._expired[session.slave_id] = session
        if len(self._expired) > self.EXPIRED_KEPT:
            self._expired.popitem(last=False)

    def is_overtaken(self, poll: Poll) -> bool:
        """Whether it is from a slave that was taken for dead after it had sent a newer one."""
        expired = self._expired.get(poll.slave_id)
        return expired is not None and poll.seq < expired.seq

    def take_expired(self, slave_id: str) -> Session | None:
        """The expired session of a slave that is back; None if it has none."""
        return self._expired.pop(slave_id, None)

    def drop(self, slave_id: str, run: Run) -> None:
        """Tell the slave in its next reply to drop these jobs; nothing happens if it has left."""
        if slave_id in self._sessions:
            self._sessions[slave_id].drops.add(*run)

    # -- waiting for work

    @property
    def any_parked(self) -> bool:
        return bool(self._parked)

    def park(self, session: Session, poll: Poll, until: float) -> None:
        """Hold this request while there is no work, until the first round at or after `until`."""
        session.parked, session.park_round = _slim(poll), ceil(until * self.ROUNDS)
        self._parked[session.slave_id] = session
        self._rounds.setdefault(session.park_round, {})[session.slave_id] = session

    def unpark(self, session: Session) -> None:
        if session.parked is None:
            return
        session.parked = None
        del self._parked[session.slave_id]
        same_round = self._rounds[session.park_round]
        del same_round[session.slave_id]
        if not same_round:
            del self._rounds[session.park_round]

    def parked(self) -> Iterator[tuple[Session, Poll]]:
        """The held requests, the longest wait first; the caller may unpark each before taking the next."""
        passed = 0
        while some := list(islice(self._parked.values(), passed, passed + 8)):
            for session in some:
                if session.parked is not None:
                    yield session, session.parked
                passed += session.parked is not None

    def waited_enough(self, now: float) -> list[Session]:
        due = [number for number in self._rounds if number <= now * self.ROUNDS]
        return [session for number in due for session in self._rounds[number].values()]

    # -- missing slaves

    def disconnected(self, peer: bytes, until: float) -> None:
        """A connection dropped. If it was the slave's last, the slave is lost at `until` unless it is heard again, or a
        little later if a fleet keeps it, which is to say how it died."""
        session = self._by_peer.pop(peer, None)
        if session is None:
            return
        session.peers.discard(peer)
        if not session.peers:
            self._disconnected[session.slave_id] = until + session.report_seconds

    def lost(self, now: float) -> list[Session]:
        """Slaves that did not reconnect in time."""
        return [self._sessions[slave_id] for slave_id, until in self._disconnected.items() if until <= now]

    def silent_since(self, then: float) -> list[Session]:
        """Connected slaves whose last message came at `then` or before."""
        silent = []
        for session in self._sessions.values():
            if session.heard_at > then:
                break
            if session.slave_id not in self._disconnected:
                silent.append(session)
        return silent

    def processes(self, host: str, pid: int) -> list[Session]:
        """Slaves that identified themselves as this process."""
        process = (host, str(pid))
        return [one for one in self._sessions.values() if (one.info.get("host"), one.info.get("pid")) == process]

    def next_due(self) -> float | None:
        """When the next wait ends or the next slave is lost; None if neither will happen."""
        times = list(self._disconnected.values())
        if self._rounds:
            times.append(min(self._rounds) / self.ROUNDS)
        return min(times, default=None)


def _slim(poll: Poll) -> Poll:
    """The part of a held request that its answer needs: its reports, already recorded, may be a megabyte."""
    if not (poll.done or poll.failed or poll.info or len(poll.held) > 1):
        return poll
    return replace(poll, held=poll.held[:1], done=(), failed=(), info={}, results=())
