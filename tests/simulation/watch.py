"""Sees everything that masters and slaves do: writes it into the trace, and tells the oracle."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import wraps
from math import inf
from typing import Any

from simulation.broken import Broken, must
from simulation.disk import Disk
from simulation.hub import Hub
from simulation.master import SimulatedMaster
from simulation.oracle import Oracle
from simulation.slave import Slave
from simulation.source import offset_of
from simulation.trace import Trace, answered, told

from taskmaster import defaults
from taskmaster.core import master_effects as effects
from taskmaster.core import slave_effects, wire
from taskmaster.core.session import Route
from taskmaster.core.window import Window
from taskmaster.core.wire import Frames
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.slave.pools.sequential import SequentialExecution
from taskmaster.slave.slice import Slice

SAVE_SECONDS = defaults.CHECKPOINT_SECONDS + 0.5  # until what the watermark passed is on a disk that is well


def loud(method: Callable[..., None]) -> Callable[..., None]:
    """What is found broken is told to the hub, too, because the shipped code around it goes on after any error."""

    @wraps(method)
    def told_too(self: Watch, *args: Any) -> None:
        try:
            method(self, *args)
        except Broken as found:
            self.hub.broken = self.hub.broken or found
            raise

    return told_too


class Watch:
    """The watcher of every process of one cluster."""

    def __init__(self, hub: Hub, oracle: Oracle, disk: Disk, trace: Trace) -> None:
        self.hub = hub
        self.oracle = oracle
        self.trace = trace
        self.counts: Counter[str] = Counter()
        self.master: SimulatedMaster | None = None
        self._well_since = 0.0  # neither the disk nor the master was troubled since
        self._disk = disk
        self._offers: deque[tuple[float, int]] = deque()  # checkpoints that are not durable: when, and the watermark
        self._must_hold = False
        self._marks: deque[tuple[float, int]] = deque()  # when the watermark came to be where
        self._heard: dict[str, float] = {}
        self._peers: dict[str, set[bytes]] = {}
        self._owner: dict[bytes, str] = {}
        self._lost: dict[str, float] = {}
        self._died: set[str] = set()
        self._answer_of: dict[str, Frames] = {}
        disk.saved = self.saves

    def note(self, who: str, what: Any) -> None:
        self.trace.note(self.hub.now, who, what)

    # -- a master

    def begins(self, master: SimulatedMaster) -> None:
        run, epoch = master.run_and_epoch
        must(epoch == self.oracle.saved_epoch, "I6: an epoch is used before it is durable", epoch)
        self.oracle.begin(run, epoch, master.first)
        self.master = master
        self._offers.clear()
        self._marks.clear()
        for known in (self._heard, self._peers, self._owner, self._lost, self._answer_of):
            known.clear()
        self._must_hold = False
        self.note("master", f"begins epoch {epoch} at {master.first}")

    def hears(self, route: Route, frames: Frames) -> None:
        poll = wire.decode_poll(frames)
        if isinstance(poll, wire.WireError):
            self.note("master", f"hears garbage: {poll.reason}")
            return
        self.note(f"{poll.slave_id} -> master", told(poll))
        self.oracle.hear(poll)
        self._heard[poll.slave_id] = self.hub.now
        self._peers.setdefault(poll.slave_id, set()).add(route[0])
        self._owner[route[0]] = poll.slave_id
        self._lost.pop(poll.slave_id, None)

    def _forget(self, slave_id: str) -> None:
        for peer in self._peers.pop(slave_id, ()):
            self._owner.pop(peer, None)

    def is_dropped(self, peer: bytes) -> None:
        """The master is told that a connection dropped."""
        slave_id = self._owner.pop(peer, "")
        if slave_id:
            self._peers[slave_id].discard(peer)
            if not self._peers[slave_id]:
                self._lost[slave_id] = self.hub.now

    def fleet_tells(self, slave_id: str) -> None:
        """The fleet says that this process is gone."""
        self._died.add(slave_id)

    def decides(self, decided: Sequence[effects.Effect]) -> None:
        for effect in decided:
            if isinstance(effect, effects.Send):
                self._answers(effect)
            elif isinstance(effect, effects.Abandon):
                for job in effect.jobs:
                    self.note("master", f"buries {job.offset} ({job.kind}, attempt {job.attempts})")
                    self.counts["buried"] += 1
                    self.oracle.bury(job)
            else:
                self._says(effect)

    def _answers(self, effect: effects.Send) -> None:
        reply = wire.decode_reply(effect.frames)
        must(isinstance(reply, wire.Reply), "an answer that is none", reply)
        assert isinstance(reply, wire.Reply)
        self.note(f"master -> {reply.slave_id}", answered(reply))
        if self._answer_of.get(reply.slave_id) is effect.frames:
            return  # the same once more
        self._answer_of[reply.slave_id] = effect.frames
        if reply.leases:
            must(not self._must_hold, "I9: jobs are handed out while nothing can be saved")
        self.oracle.answer(reply)

    def _says(self, effect: effects.Say) -> None:
        if effect.text.startswith(("slave %s is gone", "slave %s left (")):
            slave_id, how = self._named(str(effect.values[0])), str(effect.values[1])
            self.note("master", f"gives up {slave_id}: {how}")
            self.counts["given up"] += 1
            self._check_cause(slave_id, how)
            self.oracle.give_up(slave_id)
            self._forget(slave_id)
        elif effect.text == "slave %s left":
            slave_id = self._named(str(effect.values[0]))
            self.oracle.leave(slave_id)
            self._forget(slave_id)

    def _named(self, name: str) -> str:
        return next((slave_id for slave_id, known in self.oracle.names.items() if known == name), name)

    def _check_cause(self, slave_id: str, how: str) -> None:
        """As the master could know it: from when it heard what."""
        if how.startswith("silent"):
            silent = self.hub.now - self._heard[slave_id]
            must(silent > defaults.LEASE_LIFE_SECONDS - 0.01, "I14: given up though it was heard", slave_id, silent)
        elif how == "its connection dropped":
            grace = defaults.RECONNECT_GRACE_SECONDS_LOCAL
            lost = self.hub.now - self._lost.get(slave_id, self.hub.now)
            must(lost > grace - 0.01, "I14: given up though it is connected", slave_id, lost)
        else:
            must(slave_id in self._died, "I14: given up though it lives", slave_id, how)

    def turned(self) -> None:
        """A turn of the server is over."""
        assert self.master is not None
        server = self.master.server
        if server is None:
            return
        window: Window = server._window
        self.oracle.check(window, server._dispatcher)
        must(server._dispatcher.slaves <= self.counts["slaves"] + self.counts["forged"], "I8: sessions of nobody")
        if not self._marks or self._marks[-1][1] != window.watermark:
            self._marks.append((self.hub.now, window.watermark))
        oldest = self._offers[0][0] if self._offers else self.hub.now
        self._must_hold = server.ending is None and self.hub.now - oldest > defaults.UNSAVED_SECONDS + 0.01

    def troubled(self) -> None:
        """The disk or the master is slower than it should be, until the next checkpoint is durable at least."""
        self._well_since = inf

    def crashed(self) -> None:
        """The master is dead: all that was settled long enough ago must have been saved."""
        now, marks = self.hub.now, list(self._marks)
        self._marks.clear()
        if now - self._well_since < 2 * SAVE_SECONDS:
            return
        passed = [mark for time, mark in marks if time <= now - SAVE_SECONDS]
        must(not passed or passed[-1] <= self.oracle.saved, "I9: what was settled long ago was not saved",
             passed[-1:], self.oracle.saved)

    # -- its disk

    def offers(self) -> None:
        assert self.master is not None and self.master.server is not None
        self._offers.append((self.hub.now, self.master.server._window.watermark))

    @loud
    def saves(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is durable."""
        self.note("disk", f"has the checkpoint {checkpoint.offset} of epoch {checkpoint.epoch}")
        if self._disk.healthy():
            self._well_since = min(self._well_since, self.hub.now)
        while self._offers and self._offers[0][1] <= checkpoint.offset:
            self._offers.popleft()
        on_disk = {one.offset for one in self._disk.failures}
        self.oracle.save(checkpoint.offset, checkpoint.epoch, checkpoint.cursor, on_disk)

    # -- slaves

    def asks(self, slave: Slave, frames: Frames) -> None:
        poll = wire.decode_poll(frames)
        must(isinstance(poll, wire.Poll), "a request that is none", poll)
        assert isinstance(poll, wire.Poll)
        if poll.seq == slave.asked and not slave.asked_again:
            self.note(slave.slave_id, f"asks {poll.seq} again and again")
        slave.asked, slave.asked_again = poll.seq, poll.seq == slave.asked
        self.oracle.check_agent(slave.agent)

    def is_answered(self, slave: Slave, frames: Frames) -> None:
        slave.answered = wire.decode_reply(frames)
        must(isinstance(slave.answered, wire.Reply), "an answer that is none", slave.answered)
        if slave.answered.seq == slave.asked:
            slave.answered_at = self.hub.now

    def obeys(self, slave: Slave, ordered: Sequence[slave_effects.Effect]) -> None:
        for order in ordered:
            if isinstance(order, slave_effects.Enqueue):
                self._takes(slave)
            elif isinstance(order, slave_effects.Exit):
                self.note(slave.slave_id, "leaves")
                patient = self.hub.now - slave.answered_at > defaults.LEAVING_SECONDS - 0.1
                must(slave.agent.quiet or patient, "I16: a slave leaves with something in its hands", slave.agent.held)
            elif not isinstance(order, (slave_effects.Request, slave_effects.Rebuild)):
                self.note(slave.slave_id, type(order).__name__)

    def _takes(self, slave: Slave) -> None:
        reply = slave.answered
        must((reply.slave_id, reply.seq) == (slave.slave_id, slave.asked), "I7: not its answer", reply)
        must(reply.seq not in slave.served, "I7: one answer used twice", reply)
        slave.served.add(reply.seq)
        self.note(slave.slave_id, f"takes the jobs of reply {reply.seq}")

    def takes(self, slave: Slave, work: Slice) -> None:
        """Into its pool: for the first time under this master, or cut anew."""
        if work.epoch not in slave.lives:
            who = (slave.answered.run, slave.answered.epoch)
            slave.lives[work.epoch] = max(at for at, life in enumerate(self.oracle.lives)
                                          if (life.run, life.epoch) == who)

    @loud
    def starts(self, slave: Slave, work: SequentialExecution, payload: int) -> None:
        """A handler is called; `payload` tells which job's it is."""
        offset = work.first + work.started - 1
        must(offset == offset_of(payload), "a job with another's payload", offset, payload)
        self.note(slave.slave_id, f"starts {offset} (attempt {work.attempt})")
        self.oracle.start(payload, offset, slave.slave_id, slave.lives[work.epoch], work.attempt)

    @loud
    def ends(self, slave: Slave, payload: int) -> None:
        self.counts["handled"] += 1
        self.oracle.done(payload)
