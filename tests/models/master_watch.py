"""Sees everything that the masters of a world do: writes it to the trace and holds it against the promises."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Sequence
from math import inf

from models.broken import must
from models.disk import Disk
from models.inside import connections_of, dispatcher_of, resume_offset, window_of
from models.master import SimulatedMaster
from models.results_watch import ResultsWatch
from models.scheduler import Scheduler, loud
from models.trace import Trace, poll_note, reply_note
from models.witness import Departure, Witness

from taskmaster import defaults
from taskmaster.core import master_effects as effects
from taskmaster.core.failure import FailureRecord
from taskmaster.core.runs import Run
from taskmaster.core.session import Route
from taskmaster.core.settled import Above
from taskmaster.core.wire import Frames, WireError
from taskmaster.master.state.checkpoint import Checkpoint

SAVE_SECONDS = defaults.CHECKPOINT_SECONDS + 0.5  # within which a healthy disk has what the watermark passed


class Sightings:
    """When a master last heard each slave, and which connections it believes to be up."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}
        self._peers: dict[str, set[bytes]] = {}
        self._owner: dict[bytes, str] = {}
        self._lost: dict[str, float] = {}

    def hear(self, slave_id: str, peer: bytes, now: float) -> None:
        self.heard[slave_id] = now
        self._peers.setdefault(slave_id, set()).add(peer)
        self._owner[peer] = slave_id
        self._lost.pop(slave_id, None)

    def lose(self, peer: bytes, now: float) -> None:
        """A connection dropped."""
        slave_id = self._owner.pop(peer, "")
        if slave_id:
            self._peers[slave_id].discard(peer)
            if not self._peers[slave_id]:
                self._lost[slave_id] = now

    def forget(self, slave_id: str) -> None:
        for peer in self._peers.pop(slave_id, ()):
            self._owner.pop(peer, None)

    def lost_since(self, slave_id: str, now: float) -> float:
        """When the last of its connections dropped; now, if it is connected."""
        return self._lost.get(slave_id, now)


class MasterWatch:
    """The watcher of one master after another."""

    def __init__(self, scheduler: Scheduler, witness: Witness, disk: Disk, trace: Trace, counts: Counter[str],
                 results: ResultsWatch) -> None:
        self.scheduler = scheduler
        self.witness = witness
        self.oracle = witness.oracle
        self.trace = trace
        self.counts = counts
        self.master: SimulatedMaster | None = None
        self._disk = disk
        self._results = results
        self._well_since = 0.0  # neither the disk nor the master has been disturbed since
        self._offers: deque[tuple[float, int]] = deque()  # checkpoints not yet durable: when offered, their offset
        self._must_hold = False
        self._marks: deque[tuple[float, int]] = deque()  # when the watermark moved, and to where
        self._sightings = Sightings()
        self._died: set[str] = set()
        self._turn_at = 0.0  # when the server's turn began: it reads its clock once a turn
        self.stopped = False  # the last master ended because too many jobs had failed
        disk.saved = self.saves
        disk.written = self.writes
        disk.dropped = self.drops

    # -- its life

    def begins(self, master: SimulatedMaster) -> None:
        run, epoch = master.run_and_epoch
        must(epoch == self.oracle.saved_epoch, "I6: an epoch is used before it is durable", epoch)
        self._results.resumed(master.again)
        self.witness.begins(run, epoch, master.first, master.again)
        left = [one.offset for one in self._disk.failures if one.payload is not None and one.offset < master.first]
        must(not self.stopped or master.again.issuperset(left), "I21: not tried again", left, master.again)
        self.stopped = False
        self.counts["tried again"] += len(master.again)
        self.master = master
        self._offers.clear()
        self._marks.clear()
        self._sightings = Sightings()
        self._must_hold = False
        self.trace.note("master", f"begins epoch {epoch} at {master.first}")

    def begins_a_turn(self) -> None:
        self._turn_at = self.scheduler.now

    def turned(self) -> None:
        """A turn of the server is over."""
        assert self.master is not None
        server = self.master.server
        if server is None:
            return
        window, dispatcher = window_of(server), dispatcher_of(server)
        self.oracle.check(window, dispatcher)
        must(dispatcher.slaves <= self.counts["slaves"] + self.counts["forged"], "I8: a session without a slave")
        if not self._marks or self._marks[-1][1] != window.watermark:
            self._marks.append((self.scheduler.now, window.watermark))
        oldest = self._offers[0][0] if self._offers else self.scheduler.now
        overdue = self.scheduler.now - oldest > defaults.UNSAVED_SECONDS + 0.01
        self._must_hold = server.ending is None and overdue

    def believes_all_but(self, ended: Collection[bytes]) -> None:
        """A turn is over in which it learned that these connections have dropped."""
        assert self.master is not None
        connections = connections_of(dispatcher_of(self.master.server)) if self.master.server is not None else {}
        for slave_id, peers in connections.items():
            must(not peers or not peers.issubset(ended), "I19: taken for alive though it dropped", slave_id, peers)

    def disturbed(self) -> None:
        """The disk or the master is slower than it should be, at least until the next checkpoint is durable."""
        self._well_since = inf

    @loud
    def crashed(self) -> None:
        """The master is dead: whatever was settled long enough ago must have been saved."""
        now, marks = self.scheduler.now, list(self._marks)
        self._marks.clear()
        began, self.master = self.master is not None, None
        if not began:  # the one before it heard what is known, and nothing was asked of it after its own end
            return
        if now - self._well_since < 2 * SAVE_SECONDS:
            return
        passed = [mark for time, mark in marks if time <= now - SAVE_SECONDS]
        must(not passed or passed[-1] <= self.oracle.covered, "I9: what was settled long ago was not saved",
             passed[-1:], self.oracle.saved)
        old = now - SAVE_SECONDS - defaults.STANDS_SECONDS
        lost = [at for at, heard in self.oracle.life.heard_at.items() if heard <= old and not self.oracle.is_saved(at)]
        must(not lost, "I9: what was settled long ago above the watermark was not saved", lost)
        life = self.oracle.life
        lost = [at for at in life.again & self.oracle.chances if life.heard_at.get(at, inf) <= now - SAVE_SECONDS]
        must(not lost, "I9: what was tried again long ago was not saved", lost)

    # -- what it hears

    def hears(self, route: Route, frames: Frames) -> None:
        poll = self.witness.hears(frames)
        if isinstance(poll, WireError):
            self.trace.note("master", f"hears garbage: {poll.reason}")
            return
        if poll.deaths:
            self._died |= {f"slave{one.pid:03}" for one in poll.deaths}
            return
        self.trace.note(f"{poll.slave_id} -> master", poll_note(poll))
        self._sightings.hear(poll.slave_id, route[0], self.scheduler.now)
        life = self.oracle.life
        for at in [at for first, count in poll.done for at in range(first, first + count)]:
            if at in life.heard_done:
                life.heard_at.setdefault(at, self.scheduler.now)

    def is_dropped(self, peer: bytes) -> None:
        """The master learns that a connection dropped."""
        self._sightings.lose(peer, self.scheduler.now)

    def fleet_reports(self, slave_id: str) -> None:
        """The master learns from its fleet that this process is gone."""
        self._died.add(slave_id)

    # -- what it does

    def decides(self, decided: Sequence[effects.Effect]) -> None:
        for effect in decided:
            if isinstance(effect, effects.Send):
                self._sends(effect)
            elif isinstance(effect, effects.Abandon):
                self._abandons(effect)
            else:
                departure = self.witness.departs(effect)
                if departure is not None:
                    self._sees_off(departure)

    def _sends(self, effect: effects.Send) -> None:
        reply, is_news = self.witness.reply_in(effect.frames)
        self.trace.note(f"master -> {reply.slave_id}", reply_note(reply))
        if is_news:
            must(not (reply.leases and self._must_hold), "I9: jobs are handed out while nothing can be saved")
            self.oracle.answer(reply, self._turn_at)

    def _abandons(self, effect: effects.Abandon) -> None:
        for job in effect.jobs:
            self.trace.note("master", f"abandons {job.offset} ({job.kind}, attempt {job.attempts})")
            self.counts["abandoned"] += 1
            self.oracle.abandon(job)

    def _sees_off(self, departure: Departure) -> None:
        slave_id, how = departure.slave_id, departure.how
        if how:
            self.trace.note("master", f"takes {slave_id} for dead: {how}")
            self.counts["taken for dead"] += 1
            self._check_cause(slave_id, how)
        self.witness.departed(departure)
        self._sightings.forget(slave_id)

    def _check_cause(self, slave_id: str, how: str) -> None:
        """By what the master could know: when it heard what."""
        now = self.scheduler.now
        if how.startswith("silent"):
            silent = now - self._sightings.heard[slave_id]
            life = defaults.LEASE_LIFE_SECONDS
            must(silent > life - 0.01, "I14: taken for dead though it was heard", slave_id, silent)
        elif how == "its connection dropped":
            lost = now - self._sightings.lost_since(slave_id, now)
            grace = defaults.RECONNECT_GRACE_SECONDS_LOCAL
            must(lost > grace - 0.01, "I14: taken for dead though it is connected", slave_id, lost)
        else:
            must(slave_id in self._died, "I14: taken for dead though it lives", slave_id, how)

    # -- its disk

    def offers(self) -> None:
        assert self.master is not None and self.master.server is not None
        self._offers.append((self.scheduler.now, resume_offset(window_of(self.master.server))))

    @loud
    def drops(self, records: Sequence[FailureRecord]) -> None:
        """Records have left the failures file."""
        self.oracle.drop([one.offset for one in records], {one.offset for one in self._disk.failures})

    @loud
    def writes(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is on the disk; a power cut may still take it."""
        self.oracle.written(_above(checkpoint))
        self._results.written(checkpoint)

    @loud
    def saves(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is durable."""
        self.trace.note("disk", f"has the checkpoint {checkpoint.offset} of epoch {checkpoint.epoch}")
        if self._disk.healthy():
            self._well_since = min(self._well_since, self.scheduler.now)
        on_disk = {one.offset for one in self._disk.failures}
        self.oracle.save(checkpoint.offset, checkpoint.epoch, checkpoint.cursor, on_disk, _above(checkpoint),
                         checkpoint.chances, stopped=checkpoint.chances_epoch == checkpoint.epoch)
        self._results.saved(checkpoint, on_disk)
        while self._offers and self._offers[0][1] <= self.oracle.covered:
            self._offers.popleft()


def _above(checkpoint: Checkpoint) -> Sequence[Run]:
    return (checkpoint.above if isinstance(checkpoint.above, Above) else checkpoint.above.above()).runs
