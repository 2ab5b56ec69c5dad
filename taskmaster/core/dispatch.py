"""The master's decisions: a message and the time in, replies and effects out.

Total: no input makes it raise. It owns the window and the sessions, and does nothing by itself: the loop sends,
writes and logs what it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.chunks import Chunk
from taskmaster.core.codec import BadJob, Batch
from taskmaster.core.counts import Counts
from taskmaster.core.master_effects import Abandon, Effect, Log, Send
from taskmaster.core.pace import TokenBucket, lease_size
from taskmaster.core.refusals import Refusals
from taskmaster.core.roster import Roster
from taskmaster.core.runs import Run, Runs
from taskmaster.core.session import Route, Session
from taskmaster.core.window import AbandonedJob, Window
from taskmaster.core.wire import Lease, Poll, Reply
from taskmaster.job import NO_CURSOR


class Dispatcher:
    """Hands the window's jobs to slaves and takes their word for what became of them."""

    def __init__(self, window: Window, run: str, epoch: int, rate: float | None = None) -> None:
        self.window = window
        self.run = run
        self.epoch = epoch
        self.counts = Counts()
        self.handed_out_to = window.head  # the offset below which everything was handed out at least once
        self.paused = False  # hand out nothing new: the run is ending, or its state cannot be saved
        self._drain_limit = inf  # hand out only jobs below this offset: where a drain ends
        self._stop_reason: str | None = None
        self._slaves = Roster()
        self._bucket = TokenBucket(rate)
        self._refusals = Refusals(self.counts)
        self._isolated = ""  # the slave kept free for suspects

    # -- what it says of itself

    @property
    def slaves(self) -> int:
        return len(self._slaves)

    @property
    def settled(self) -> bool:
        """Nothing is in flight."""
        return self.window.in_flight == 0

    @property
    def drained(self) -> bool:
        """All that was handed out when `drain` was called is settled, or there is nobody to settle it."""
        return self.window.watermark >= self._drain_limit or not self._slaves

    @property
    def leased(self) -> int:
        """Jobs in slaves' hands."""
        return sum(self.window.leased(slave_id) for slave_id in self._slaves)

    def name_of(self, slave_id: str) -> str:
        return self._slaves.name_of(slave_id)

    # -- from slaves

    def receive(self, route: Route, frames: Sequence[bytes], now: float) -> list[Effect]:
        """A message came along `route`; a malformed one is counted and gets no answer."""
        poll = wire.decode_poll(frames)
        if not route:
            return self._refusals.malformed(wire.WireError("it came by no route"))
        if isinstance(poll, wire.OtherVersion):
            return self._refusals.other_version(poll, route, now)
        if isinstance(poll, wire.WireError):
            return self._refusals.malformed(poll)
        if poll.slave_id not in self._slaves and len(self._slaves) >= defaults.SLAVES:
            return self._refusals.one_too_many(len(self._slaves), now)
        session = self._slaves.hear(poll, route, now)
        if poll.seq < session.seq:
            return []  # overtaken by a newer one: nobody waits for this answer
        if poll.seq == session.seq:
            return self._again(session, route)
        return self._fresh(session, poll, route, now)

    def _again(self, session: Session, route: Route) -> list[Effect]:
        """The newest request once more: the same answer, or still none."""
        session.route = route
        return [Send(route, session.answer)] if session.answer is not None else []

    def _fresh(self, session: Session, poll: Poll, route: Route, now: float) -> list[Effect]:
        session.seq, session.route, session.answer = poll.seq, route, None
        told, session.told = session.told, poll.done
        self._slaves.unpark(session)
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
        new = [Log("info", "slave %s joined", (session.name,))] if poll.info else []
        if poll.state == "bye":
            return [*new, *self._farewell(session)]
        return [*new, self._reply(session, "reset")]

    def _hear(self, session: Session, poll: Poll, told: Sequence[Run], now: float) -> list[Effect]:
        """Settle what it settled, count what failed, renew what it holds; said again, `told` is no duplicate."""
        repeated: list[tuple[Run, int]] = []
        for first, count in poll.done:
            result = self.window.settle(session.slave_id, first, count)
            self.counts.handled += result.fresh
            if result.repeated:
                repeated.append(((first, count), result.repeated))
            for holder, run in result.drops:
                self._slaves.tell_to_drop(holder, run)
        if repeated:
            self._count_repeated(repeated, Runs(told))
        effects = self._hear_failed(session, poll, now) if poll.failed else []
        self.counts.returned += self.window.renew(session.slave_id, poll.seq, Runs(poll.held))
        return effects

    def _count_repeated(self, repeated: Sequence[tuple[Run, int]], told: Runs) -> None:
        for (first, count), jobs in repeated:
            self.counts.duplicates += jobs - sum(length for _, length in told.inside(first, count))

    def _hear_failed(self, session: Session, poll: Poll, now: float) -> list[Effect]:
        buried, retried = self.window.fail(session.slave_id, poll.failed, now)
        self.counts.retried += retried
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
            self._slaves.park(session, poll, now + min(poll.wait_ms / 1000, defaults.PARK_SECONDS))
            return []
        return [self._reply(session, "wait", wait_ms=20 if poll.want else 0)]

    def _dismiss(self, session: Session, poll: Poll, reason: str) -> list[Effect]:
        """Stop: one that holds nothing leaves without another word, the others report and say goodbye."""
        return [self._reply(session, "stop", reason=reason)] if poll.held else self._farewell(session)

    def _farewell(self, session: Session) -> list[Effect]:
        effects: list[Effect] = [self._reply(session, "stop", reason=self._stop_reason or "goodbye")]
        self.window.give_back(session.slave_id)
        self._slaves.forget(session)
        return [*effects, Log("info", "slave %s left", (session.name,))]

    # -- handing out

    def _lease(self, session: Session, poll: Poll, now: float) -> list[Chunk]:
        window = self.window
        if self.paused or poll.want == 0 or poll.state != "run" or window.holds_suspect(session.slave_id):
            return []
        if not self._anything_to_lease():
            return []
        if window.suspects and self._isolates(session):
            idle = window.leased(session.slave_id) == 0
            return self._granted(window.lease_suspect(session.slave_id, poll.seq, now)) if idle else []
        want = self._how_many(poll.want, now)
        if want == 0:
            return []
        return self._granted(
            window.lease(session.slave_id, poll.seq, want, defaults.LEASE_BYTES, now, self._drain_limit))

    def _anything_to_lease(self) -> bool:
        if self._drain_limit == inf and self.window.ready:
            return True  # not a draining one, which is nearly always: no need to look at which
        return self.window.ready_below(self._drain_limit)

    def _isolates(self, session: Session) -> bool:
        """Whether this is the slave that is kept free of other work, to run suspects one batch at a time."""
        free = not self.window.holds_suspect(self._isolated)
        if self._isolated not in self._slaves or (free and self.window.leased(session.slave_id) == 0):
            self._isolated = session.slave_id
        return self._isolated == session.slave_id

    def _how_many(self, want: int, now: float) -> int:
        if self.window.ready == 0:
            return 0
        returned = self.window.next_was_leased
        size = lease_size(want, self.window.ready, self.window.size, len(self._slaves), returned)
        allowed = self._bucket.allowed(now)
        return size if allowed is None else min(size, allowed)

    def _granted(self, chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            self._bucket.spent(chunk.count)
            self.handed_out_to = max(self.handed_out_to, chunk.end)
        return chunks

    def _reply(self, session: Session, kind: str, chunks: Sequence[Chunk] = (), wait_ms: int = 0,
               reason: str = "") -> Send:
        leases = tuple([Lease(one.first, one.count, one.attempt, one.batch.form, one.batch.blob()) for one in chunks])
        drops, session.drops = tuple(session.drops), []
        reply = Reply(self.run, self.epoch, session.slave_id, session.seq, kind, leases, drops, wait_ms, reason=reason)
        session.answer = wire.encode_reply(reply)
        return Send(session.route, session.answer)

    def _feed(self, now: float) -> list[Effect]:
        """Answer parked requests, the oldest first, as long as there is something to hand out."""
        effects: list[Effect] = []
        for session, poll in self._slaves.parked() if self._has_work(now) else ():
            leases = self._lease(session, poll, now)
            if leases:
                self._slaves.unpark(session)
                effects.append(self._reply(session, "jobs", leases))
            if not self._has_work(now):
                break
        return effects

    def _has_work(self, now: float) -> bool:
        if self.paused or not self._slaves.any_parked or not self._anything_to_lease():
            return False
        return self.window.suspects or self._bucket.allowed(now) != 0

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
        self.window.wake(now if self._drain_limit == inf else inf)
        effects += self._feed(now)
        for session in self._slaves.waited_enough(now):
            self._slaves.unpark(session)
            effects.append(self._reply(session, "wait"))
        return effects

    def next_due(self, now: float) -> float:
        """When `tick` should be called at the latest."""
        times = [now + 1.0, self._slaves.next_due(), self.window.next_due()]
        if self._slaves.any_parked and self.window.ready and self._bucket.allowed(now) == 0:
            times.append(self._bucket.due(now))
        return min(due for due in times if due is not None)

    def drain(self) -> None:
        """Hand out nothing for the first time: only what was handed out before is still brought to its end, retries
        at once, so that nothing above the watermark is settled that a resumed run would repeat."""
        self._drain_limit = self.handed_out_to
        self.paused = False

    def hold(self, holding: bool) -> None:
        """Hand out nothing new, or go on."""
        self.paused = holding

    def stop(self, reason: str) -> list[Effect]:
        """Tell the slaves to stop, those that wait at once, the others as they ask: they finish what is at hand,
        report it and say goodbye."""
        self._stop_reason = reason
        self.paused = True
        effects: list[Effect] = []
        for session, poll in self._slaves.parked():
            self._slaves.unpark(session)
            effects += self._dismiss(session, poll, reason)
        return effects

    # -- death

    def disconnected(self, peer: bytes, now: float, grace: float) -> None:
        """A connection dropped: a hint, for the slave may come back by another within `grace` seconds."""
        self._slaves.disconnected(peer, now + grace)

    def died(self, host: str, pid: int, how: str, now: float) -> list[Effect]:
        """The fleet's word that a process is gone."""
        gone = self._slaves.processes(host, pid)
        return [effect for session in gone for effect in self._give_up(session, how, now)]

    def _bury_the_silent(self, now: float) -> list[Effect]:
        silent = [(session, "its connection dropped") for session in self._slaves.lost(now)]
        life = defaults.LEASE_LIFE_SECONDS
        silent += [(session, f"silent for {life:.0f} s") for session in self._slaves.silent_since(now - life)]
        return [effect for session, how in silent for effect in self._give_up(session, how, now)]

    def _give_up(self, session: Session, how: str, now: float) -> list[Effect]:
        held = self.window.leased(session.slave_id)
        buried = self.window.forfeit(session.slave_id, how)
        self._slaves.forget(session)
        self._slaves.remember(session)
        if not held:
            return [Log("info", "slave %s left (%s)", (session.name, how))]
        self.counts.deaths += 1
        said = Log("warning", "slave %s is gone (%s); the %d jobs it held go to others", (session.name, how, held))
        return [said, *self._bury(buried), *self._feed(now)]

    def _bury(self, buried: Sequence[AbandonedJob]) -> list[Effect]:
        self.counts.failed += len(buried)
        named = [replace(job, holder=self.name_of(job.holder)) for job in buried]  # while it is known by name
        return [Abandon(tuple(named))] if named else []
