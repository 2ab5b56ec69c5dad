"""The master's decisions: a message and the time in, replies and effects out.

Total: no input makes it raise. It owns the window and the sessions, and does nothing by itself: the loop sends,
writes and logs what it returns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.chunks import Chunk
from taskmaster.core.codec import BadJob, Batch
from taskmaster.core.pace import Throttle, lease_size
from taskmaster.core.runs import Runs
from taskmaster.core.session import Route, Session
from taskmaster.core.window import Buried, Window
from taskmaster.core.wire import Lease, Poll, Reply
from taskmaster.job import NO_CURSOR


@dataclass(frozen=True)
class Send:
    """Send these frames along this route."""

    route: Route
    frames: wire.Frames


@dataclass(frozen=True)
class Bury:
    """Write these failures down before any checkpoint whose watermark is above them."""

    jobs: tuple[Buried, ...]


@dataclass(frozen=True)
class Say:
    """Log this: a level's name, a text with %-marks and its values."""

    level: str
    text: str
    values: tuple[Any, ...] = ()


Effect = Send | Bury | Say


@dataclass
class Counts:
    """What happened in this run."""

    handled: int = 0
    failed: int = 0
    retried: int = 0
    duplicates: int = 0
    returned: int = 0  # given back unstarted, or lost with a reply
    deaths: int = 0
    refused: int = 0  # messages that were none


class Dispatcher:
    """Hands the window's jobs to slaves and takes their word for what became of them."""

    GONE_KEPT = 1000  # slaves that were given up and are known by name if they come back

    def __init__(self, window: Window, run: str, epoch: int, rate: float | None = None) -> None:
        self.window = window
        self.run = run
        self.epoch = epoch
        self.counts = Counts()
        self.leased_to = window.head  # the offset below which everything was handed out at least once
        self.exhausted = False  # the source has no more
        self.holding = False  # hand out nothing new: the run is ending, or its state cannot be saved
        self._stop_reason: str | None = None
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # the one that was silent longest first
        self._by_peer: dict[bytes, Session] = {}
        self._parked: OrderedDict[str, Session] = OrderedDict()
        self._throttle = Throttle(rate)
        self._lost: dict[str, float] = {}  # slaves whose connection dropped, and when they are given up
        self._gone: OrderedDict[str, Session] = OrderedDict()  # those given up last: they may be alive after all
        self._isolated = ""  # the slave kept free for suspects

    # -- what it says of itself

    @property
    def slaves(self) -> int:
        return len(self._sessions)

    @property
    def settled(self) -> bool:
        """Nothing is in flight."""
        return self.window.in_flight == 0

    @property
    def leased(self) -> int:
        """Jobs in slaves' hands."""
        return sum(self.window.leased(sid) for sid in self._sessions)

    def name_of(self, sid: str) -> str:
        session = self._sessions.get(sid)
        return session.name if session is not None else sid[:8]

    # -- from slaves

    def receive(self, route: Route, frames: Sequence[bytes], now: float) -> list[Effect]:
        """A message came along `route`; what is no message is counted and gets no answer."""
        poll = wire.decode_poll(frames)
        if isinstance(poll, wire.WireError) or not route:
            self.counts.refused += 1
            reason = poll.reason if isinstance(poll, wire.WireError) else "it came by no route"
            return [Say("debug", "a message was dropped: %s", (reason,))]
        session = self._session(poll, route, now)
        if poll.n < session.n:
            return []  # overtaken by a newer one: nobody waits for this answer
        if poll.n == session.n:
            return self._again(session, route)
        return self._fresh(session, poll, route, now)

    def _session(self, poll: Poll, route: Route, now: float) -> Session:
        session = self._sessions.get(poll.sid)
        if session is None:
            session = self._sessions[poll.sid] = self._newcomer(poll)
        session.seen = now
        self._lost.pop(poll.sid, None)
        self._sessions.move_to_end(poll.sid)
        session.peers.add(route[0])
        self._by_peer[route[0]] = session
        return session

    def _newcomer(self, poll: Poll) -> Session:
        """It may be one that was given up: others have its jobs by now, so it need not start those that wait."""
        session = Session(poll.sid, drops=list(poll.held))
        before = self._gone.pop(poll.sid, None)
        if before is not None:
            session.info, session.n = before.info, before.n - 1  # the newest request itself is answered anew
        return session

    def _again(self, session: Session, route: Route) -> list[Effect]:
        """The newest request once more: the same answer, or still none."""
        session.route = route
        return [Send(route, session.answer)] if session.answer is not None else []

    def _fresh(self, session: Session, poll: Poll, route: Route, now: float) -> list[Effect]:
        session.n, session.route, session.answer = poll.n, route, None
        told, session.told = session.told, Runs(poll.done)
        self._unpark(session)
        if poll.info:
            session.info = poll.info
        if (poll.run, poll.epoch) != (self.run, self.epoch):
            return self._introduce(session, poll, now)
        effects = self._hear(session, poll, told, now)
        if poll.state == "bye":
            return effects + self._farewell(session)
        return effects + self._respond(session, poll, now) + self._feed(now)

    def _introduce(self, session: Session, poll: Poll, now: float) -> list[Effect]:
        """A slave that is new, or that served an earlier master: what it says of jobs is of other jobs than ours."""
        new = [Say("info", "slave %s joined", (session.name,))] if poll.info else []
        if poll.state == "bye":
            return [*new, *self._farewell(session)]
        return [*new, self._reply(session, "reset")]

    def _hear(self, session: Session, poll: Poll, told: Runs, now: float) -> list[Effect]:
        """Settle what it settled, count what failed, renew what it holds; said again, `told` is no duplicate."""
        for first, count in poll.done:
            result = self.window.settle(session.sid, first, count)
            self.counts.handled += result.fresh
            again = sum(length for _, length in told.inside(first, count))
            self.counts.duplicates += result.repeated - again
            for holder, run in result.drops:
                if holder in self._sessions:
                    self._sessions[holder].drops.append(run)
        buried, retried = self.window.fail(session.sid, poll.failed, now)
        self.counts.retried += retried
        self.counts.returned += self.window.renew(session.sid, poll.n, Runs(poll.held))
        return self._bury(buried)

    def _respond(self, session: Session, poll: Poll, now: float) -> list[Effect]:
        if self._stop_reason is not None:
            return self._dismiss(session, poll, self._stop_reason)
        if session.drops:  # never with leases: a job may be in both when a slave that was given up comes back
            return [self._reply(session, "wait")]
        leases = self._lease(session, poll, now)
        if leases:
            return [self._reply(session, "jobs", leases)]
        if poll.wait_ms:
            self._park(session, poll, now)
            return []
        return [self._reply(session, "wait", wait_ms=20 if poll.want else 0)]

    def _dismiss(self, session: Session, poll: Poll, reason: str) -> list[Effect]:
        """Stop: one that holds nothing leaves without another word, the others report and say goodbye."""
        return [self._reply(session, "stop", reason=reason)] if poll.held else self._farewell(session)

    def _farewell(self, session: Session) -> list[Effect]:
        effects: list[Effect] = [self._reply(session, "stop", reason=self._stop_reason or "goodbye")]
        self.window.give_back(session.sid)
        self._forget(session)
        return [*effects, Say("info", "slave %s left", (session.name,))]

    # -- handing out

    def _lease(self, session: Session, poll: Poll, now: float) -> list[Chunk]:
        if self.holding or poll.want == 0 or poll.state != "run" or self.window.holds_suspect(session.sid):
            return []
        if self.window.suspects and self._isolates(session):
            idle = self.window.leased(session.sid) == 0
            return self._granted(self.window.lease_suspect(session.sid, poll.n, now)) if idle else []
        want = self._how_many(poll.want, now)
        if want == 0:
            return []
        return self._granted(self.window.lease(session.sid, poll.n, want, defaults.LEASE_BYTES, now))

    def _isolates(self, session: Session) -> bool:
        """Whether this is the slave that is kept free of other work, to run suspects one batch at a time."""
        free = not self.window.holds_suspect(self._isolated)
        if self._isolated not in self._sessions or (free and self.window.leased(session.sid) == 0):
            self._isolated = session.sid
        return self._isolated == session.sid

    def _how_many(self, want: int, now: float) -> int:
        if self.window.ready == 0:
            return 0
        size = lease_size(want, self.window.ready, self.window.size, len(self._sessions))
        allowed = self._throttle.allowed(now)
        return size if allowed is None else min(size, allowed)

    def _granted(self, chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            self._throttle.spent(chunk.count)
            self.leased_to = max(self.leased_to, chunk.end)
        return chunks

    def _reply(self, session: Session, kind: str, chunks: Sequence[Chunk] = (), wait_ms: int = 0, reason: str = "") -> Send:
        leases = tuple(Lease(one.first, one.count, one.attempt, one.batch.form, one.batch.blob()) for one in chunks)
        drops, session.drops = tuple(session.drops), []
        reply = Reply(self.run, self.epoch, session.sid, session.n, kind, leases, drops, wait_ms, reason=reason)
        session.answer = wire.encode_reply(reply)
        return Send(session.route, session.answer)

    def _park(self, session: Session, poll: Poll, now: float) -> None:
        session.parked = poll
        session.parked_until = now + min(poll.wait_ms / 1000, defaults.PARK_SECONDS)
        self._parked[session.sid] = session

    def _unpark(self, session: Session) -> None:
        session.parked = None
        self._parked.pop(session.sid, None)

    def _feed(self, now: float) -> list[Effect]:
        """Answer parked requests, the oldest first, as long as there is something to hand out."""
        effects: list[Effect] = []
        for session in list(self._parked.values()) if self._has_work(now) else ():
            leases = self._lease(session, session.parked, now) if session.parked is not None else []
            if leases:
                self._unpark(session)
                effects.append(self._reply(session, "jobs", leases))
            if not self._has_work(now):
                break
        return effects

    def _has_work(self, now: float) -> bool:
        if self.holding or not self._parked:
            return False
        return self.window.suspects or (self.window.ready > 0 and self._throttle.allowed(now) != 0)

    # -- from the source, the clock and the rest of the master

    def admit(self, batch: Batch, cursors: Sequence[Any] | None, now: float) -> list[Effect]:
        """The source gave these jobs."""
        self.window.admit(batch, cursors)
        return self._feed(now)

    def admit_bad(self, bad: BadJob, cursor: Any = NO_CURSOR) -> list[Effect]:
        """The source gave a job that cannot be sent."""
        return self._bury([self.window.admit_bad(bad, cursor)])

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: retries come due, parked requests end, silent slaves are given up."""
        effects = self._bury_the_silent(now)
        self.window.wake(now)
        effects += self._feed(now)
        for session in [one for one in self._parked.values() if one.parked_until <= now]:
            self._unpark(session)
            effects.append(self._reply(session, "wait"))
        return effects

    def next_due(self, now: float) -> float:
        """When `tick` should be called at the latest."""
        times = [now + 1.0]
        if self._parked:
            times.append(next(iter(self._parked.values())).parked_until)
            if self.window.ready and self._throttle.allowed(now) == 0:
                times += [due for due in [self._throttle.due(now)] if due is not None]
        times += self._lost.values()
        times += [due for due in [self.window.next_due()] if due is not None]
        return min(times)

    def hold(self, holding: bool) -> None:
        """Hand out nothing new, or go on."""
        self.holding = holding

    def stop(self, reason: str) -> list[Effect]:
        """Tell the slaves to stop, those that wait at once, the others as they ask: they give back what they have
        not started, finish what they are running, report it and say goodbye."""
        self._stop_reason = reason
        self.holding = True
        effects: list[Effect] = []
        for session, poll in [(one, one.parked) for one in self._parked.values() if one.parked is not None]:
            self._unpark(session)
            effects += self._dismiss(session, poll, reason)
        return effects

    # -- death

    def disconnected(self, peer: bytes, now: float, grace: float) -> None:
        """A connection dropped: a hint, for the slave may come back by another within `grace` seconds."""
        session = self._by_peer.pop(peer, None)
        if session is None:
            return
        session.peers.discard(peer)
        if not session.peers:
            self._lost[session.sid] = now + grace

    def died(self, host: str, pid: int, how: str, now: float) -> list[Effect]:
        """The fleet's word that a process is gone."""
        who = (host, str(pid))
        gone = [one for one in self._sessions.values() if (one.info.get("host"), one.info.get("pid")) == who]
        return [effect for session in gone for effect in self._give_up(session, how, now)]

    def _bury_the_silent(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for sid in [sid for sid, until in self._lost.items() if until <= now]:
            effects += self._give_up(self._sessions[sid], "its connection dropped", now)
        while self._sessions:
            session = next(iter(self._sessions.values()))
            if session.seen + defaults.LEASE_LIFE_SECONDS > now:
                break
            effects += self._give_up(session, f"silent for {defaults.LEASE_LIFE_SECONDS:.0f} s", now)
        return effects

    def _give_up(self, session: Session, how: str, now: float) -> list[Effect]:
        held = self.window.leased(session.sid)
        buried = self.window.forfeit(session.sid, how)
        self._forget(session)
        self._remember(session)
        if not held:
            return [Say("info", "slave %s left (%s)", (session.name, how))]
        self.counts.deaths += 1
        said = Say("warning", "slave %s is gone (%s); the %d jobs it held go to others", (session.name, how, held))
        return [said, *self._bury(buried), *self._feed(now)]

    def _forget(self, session: Session) -> None:
        self._unpark(session)
        self._lost.pop(session.sid, None)
        self._sessions.pop(session.sid, None)
        for peer in session.peers:
            self._by_peer.pop(peer, None)

    def _remember(self, session: Session) -> None:
        self._gone[session.sid] = session
        if len(self._gone) > self.GONE_KEPT:
            self._gone.popitem(last=False)

    def _bury(self, buried: Sequence[Buried]) -> list[Effect]:
        self.counts.failed += len(buried)
        return [Bury(tuple(buried))] if buried else []
