"""The master's decisions: a message and the time in, replies and effects out.

No input makes it raise. It owns the window and the sessions but performs nothing itself: the loop sends, writes and
logs what it returns.

    message -> joining (a session) -> accounting (outcomes) -> leasing (jobs) -> a reply, or parked until there is work
    deaths -> jobs back in the window -> replies to parked requests
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.accounting import Accounting
from taskmaster.core.chunks import Chunk
from taskmaster.core.codec import BadJob, Batch
from taskmaster.core.compatibility import Compatibility
from taskmaster.core.counts import Counts
from taskmaster.core.deaths import Deaths
from taskmaster.core.joining import Joining
from taskmaster.core.leasing import Leasing
from taskmaster.core.master_effects import Effect, Log, Send
from taskmaster.core.refusals import Refusals
from taskmaster.core.pending_results import PendingResults
from taskmaster.core.roster import Roster
from taskmaster.core.runs import Runs
from taskmaster.core.second_chances import FailedJob
from taskmaster.core.session import Route, Session
from taskmaster.core.transfer import Transfer
from taskmaster.core.window import Window
from taskmaster.core.wire import Poll, Reply
from taskmaster.job import NO_CURSOR


class Dispatcher:
    """Hands the window's jobs to slaves and records the outcomes they report.

    `code` describes the master's code, as `info` does a slave's; slaves whose handler is for other jobs are refused.
    """

    def __init__(self, window: Window, run: str, epoch: int, rate: float | None = None,
                 code: Mapping[str, str] | None = None, results: PendingResults | None = None,
                 backups: bool = False) -> None:
        self.window = window
        self.run = run
        self.epoch = epoch
        self.counts = Counts()
        self._slaves = Roster()
        self._joining = Joining(window, self._slaves)
        self.results = results
        self._accounting = Accounting(window, self._slaves, self.counts, results)
        self._leasing = Leasing(window, self._slaves, rate, backups)
        self._deaths = Deaths(window, self._slaves, self._accounting, self.counts)
        self._refusals = Refusals(self.counts)
        self._compatibility = Compatibility(code or {})
        self._stop_reason: str | None = None

    # -- its state

    @property
    def slaves(self) -> int:
        return len(self._slaves)

    @property
    def at_once(self) -> int:
        return self._slaves.at_once

    @property
    def settled(self) -> bool:
        """Whether nothing is in flight."""
        return self.window.in_flight == 0

    @property
    def drained(self) -> bool:
        """Whether everything leased before `drain` is settled, or no slave is left to settle it."""
        return self._leasing.drained or not self._slaves

    @property
    def leased(self) -> int:
        """Jobs that slaves hold."""
        return sum(self.window.leased(slave_id) for slave_id in self._slaves)

    @property
    def running(self) -> int:
        """Jobs in a handler, as far as a master can know: of each slave's jobs, as many as it has threads."""
        return sum(min(one.threads, self.window.leased(one.slave_id)) for one in self._slaves.sessions())

    @property
    def handed_out_to(self) -> int:
        """Every job below this offset has been leased at least once."""
        return self._leasing.handed_out_to

    def name_of(self, slave_id: str) -> str:
        return self._slaves.name_of(slave_id)

    # -- requests

    def receive(self, route: Route, frames: Sequence[bytes], now: float) -> list[Effect]:
        """A message came along `route`. Malformed messages are counted and get no reply."""
        poll = wire.decode_poll(frames)
        if not route:
            return self._refusals.malformed(wire.WireError("it has no route"))
        if isinstance(poll, wire.OtherVersion):
            return self._refusals.other_version(poll, route, now)
        if isinstance(poll, wire.WireError):
            return self._refusals.malformed(poll)
        if poll.deaths:
            return self._note_deaths(poll, route, now)
        conflict = self._compatibility.conflict(poll.info)
        if conflict:
            return self._turn_away(poll, route, conflict, now)
        session = self._slaves.find(poll.slave_id)
        if session is None:
            if self._slaves.is_overtaken(poll):
                return []
            if self._joining.full:
                return self._refusals.one_too_many(len(self._slaves), now)
            session = self._joining.join(poll, self._is_ours(poll), now)
        self._slaves.heard(session, route, now)
        if poll.seq < session.seq:
            return []  # overtaken by a newer request: the slave no longer waits for this reply
        if poll.seq == session.seq:
            return self._resend(session, route)
        return self._answer(session, poll, route, now)

    def _turn_away(self, poll: Poll, route: Route, reason: str, now: float) -> list[Effect]:
        """It has no session, or one without jobs that it got before it said which handler it has."""
        session = self._slaves.find(poll.slave_id)
        if session is not None:
            self.window.give_back(session.slave_id)
            self._slaves.remove(session)
        return self._refusals.other_handler(poll, route, reason, now)

    def _resend(self, session: Session, route: Route) -> list[Effect]:
        """The newest request arrived again: resend its reply, or keep holding the request."""
        session.route = route
        return [Send(route, session.last_reply)] if session.last_reply is not None else []

    def _answer(self, session: Session, poll: Poll, route: Route, now: float) -> list[Effect]:
        session.seq, session.route, session.last_reply, session.slots = poll.seq, route, None, poll.slots
        self._slaves.unpark(session)
        effects: list[Effect] = []
        if poll.info:
            session.info = poll.info
            effects += self._compatibility.warnings(session.name, poll.info)
        if not self._is_ours(poll):
            return effects + self._introduce(session, poll)
        effects += self._accounting.record(session, poll, now)
        if poll.state == "bye":
            return effects + self._farewell(session)
        return effects + self._respond(session, poll, now) + self._feed(now)

    def _is_ours(self, poll: Poll) -> bool:
        """Whether it is about jobs of this master."""
        return (poll.run, poll.epoch) == (self.run, self.epoch)

    def _note_deaths(self, poll: Poll, route: Route, now: float) -> list[Effect]:
        """A fleet elsewhere reports how slaves of its own ended. It is no slave, so nothing else in its poll counts."""
        effects = [effect for one in poll.deaths for effect in self._deaths.of_process(*one)]
        reply = Reply(self.run, self.epoch, poll.slave_id, poll.seq, "stop", reason="noted")
        return [*effects, Send(route, wire.encode_reply(reply)), *self._feed(now)]

    def _introduce(self, session: Session, poll: Poll) -> list[Effect]:
        """The slave is new, or served an earlier master: what it reports is about other jobs than this master's."""
        session.drops, session.reported_done = Runs(), Runs()
        joined = self._joining.announce(session, poll)
        return joined + (self._farewell(session) if poll.state == "bye" else [self._reply(session, "reset")])

    def _respond(self, session: Session, poll: Poll, now: float) -> list[Effect]:
        if self._stop_reason is not None:
            return self._dismiss(session, poll, self._stop_reason)
        if session.drops:  # never with leases: a job may be in both once a slave taken for dead is back
            return [self._reply(session, "wait")]
        leases = self._leasing.lease(session, poll, now)
        if leases:
            return [self._reply(session, "jobs", leases)]
        if poll.wait_ms:
            self._slaves.park(session, poll, now + min(poll.wait_ms / 1000, defaults.PARK_SECONDS))
            return []
        return [self._reply(session, "wait", wait_ms=20 if poll.want else 0)]

    def _dismiss(self, session: Session, poll: Poll, reason: str) -> list[Effect]:
        """Tell a slave to stop. One that holds nothing leaves at once, any other reports its jobs and says goodbye."""
        return [self._reply(session, "stop", reason=reason)] if poll.held else self._farewell(session)

    def _farewell(self, session: Session) -> list[Effect]:
        effects: list[Effect] = [self._reply(session, "stop", reason=self._stop_reason or "goodbye")]
        self.window.give_back(session.slave_id)
        self._slaves.remove(session)
        return [*effects, Log("info", "slave %s left", (session.name,))]

    def _reply(self, session: Session, kind: str, chunks: Sequence[Chunk] = (), wait_ms: int = 0,
               reason: str = "") -> Send:
        leases = tuple([self._leasing.as_sent(chunk) for chunk in chunks])
        drops = () if chunks else session.drops.pop_some(defaults.DROP_RUNS)
        reply = Reply(self.run, self.epoch, session.slave_id, session.seq, kind, leases, drops, wait_ms,
                      self._leasing.heartbeat_ms, reason, bool(leases) and self.results is not None)
        session.last_reply = wire.encode_reply(reply)
        return Send(session.route, session.last_reply)

    def _feed(self, now: float) -> list[Effect]:
        """Answer parked requests, the longest wait first, as long as there is work."""
        effects: list[Effect] = []
        for session, poll in self._slaves.parked() if self._can_feed(now) else ():
            leases = self._leasing.lease(session, poll, now)
            if leases:
                self._slaves.unpark(session)
                effects.append(self._reply(session, "jobs", leases))
            if not self._can_feed(now):
                break
        return effects

    def _can_feed(self, now: float) -> bool:
        return self._slaves.any_parked and self._leasing.any_work(now)

    # -- from the source, the clock and the rest of the master

    def admit(self, batch: Batch, cursors: Sequence[Any] | None, now: float, size: int = 0) -> list[Effect]:
        """The source yielded these jobs, whose cursors take `size` bytes."""
        self.window.admit(batch, cursors, size)
        return self._feed(now)

    def admit_again(self, jobs: Sequence[FailedJob], now: float) -> list[Effect]:
        """These failed in earlier runs and have another chance; in a drain their turn is in the next run."""
        for job in () if self._leasing.draining else jobs:
            self.window.admit_again(job)
        return self._feed(now)

    def admit_bad(self, bad: BadJob, cursor: Any = NO_CURSOR) -> list[Effect]:
        """The source yielded a job that cannot be sent."""
        return self._accounting.abandon([self.window.admit_bad(bad, cursor)])

    def tick(self, now: float, heard_all: bool = True) -> list[Effect]:
        """Time has passed: expire missing slaves, make due retries ready, answer requests parked long enough.

        Unless `heard_all` pending messages, no slave can be considered silent yet.
        """
        effects = self._deaths.overdue(now) if heard_all else []
        if self.window.look_ahead.is_due(now):
            self.window.look_ahead.roll(sum(one.threads for one in self._slaves.sessions()), now)
        self.window.wake(inf if self._leasing.draining else now)
        effects += self._feed(now)
        for session in self._slaves.waited_enough(now):
            self._slaves.unpark(session)
            effects.append(self._reply(session, "wait"))
        return effects

    def next_due(self, now: float) -> float:
        """When to call `tick` at the latest."""
        times = [now + 1.0, self._slaves.next_due(), self.window.next_due()]
        if self._slaves.any_parked:
            times.append(self._leasing.next_due(now))
        return min(due for due in times if due is not None)

    def disconnected(self, peer: bytes, now: float, grace: float) -> None:
        """A connection dropped. That is only a hint: the slave may reconnect within `grace` seconds."""
        self._slaves.disconnected(peer, now + grace)

    def quiet_peers(self, now: float) -> list[bytes]:
        """The connections of slaves that have not been heard for some time: a message may be moving there."""
        then = now - defaults.QUIET_SECONDS
        return [peer for session in self._slaves.silent_since(then) for peer in session.peers]

    def carried(self, peer: bytes, transfer: Transfer, now: float) -> None:
        """A look at such a connection: megabytes on a slow line are no silence."""
        self._slaves.carried(peer, transfer, now)

    def stood_still(self, now: float) -> None:
        """This master was not listening for a while: count silence and the time to reconnect from now on."""
        self._slaves.forgive(now)

    def died(self, host: str, pid: int, how: str, blame: bool, now: float) -> list[Effect]:
        """The fleet of this machine reports that a process ended; `blame`: a job may be the cause."""
        effects = self._deaths.of_process(host, pid, how, blame)
        return effects + self._feed(now) if effects else []

    # -- holding, draining, stopping

    def hold(self, holding: bool) -> None:
        """Stop leasing jobs, or resume."""
        self._leasing.paused = holding

    def drain(self) -> None:
        """Lease no job for the first time; see `Leasing.drain`."""
        self._leasing.drain()

    def stop(self, reason: str) -> list[Effect]:
        """Tell every slave to stop, parked ones at once, the others when they ask. They finish their running jobs,
        report them and say goodbye."""
        self._stop_reason = reason
        self._leasing.paused = True
        effects: list[Effect] = []
        for session, poll in self._slaves.parked():
            self._slaves.unpark(session)
            effects += self._dismiss(session, poll, reason)
        return effects
