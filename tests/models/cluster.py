"""A cluster that is driven by hand: the real Dispatcher, Window and Agents, and a network that does its worst.

It has no loops and no threads: each method is one thing that may happen, in any order. `oracle` names the invariants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from models.broken import must
from models.manual_slave import THREADS, ManualSlave
from models.oracle import Oracle
from models.source import Source, offset_of
from models.witness import KILLED, KILLED_BY_JOB, Witness, decoded_reply

from taskmaster.core import master_effects, slave_effects, wire
from taskmaster.core.agent import Agent, Patience
from taskmaster.core.codec import BadJob, GoodJobs, encode
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.session import Route
from taskmaster.core.window import Window
from taskmaster.job import NO_CURSOR

SIZE = 6
ATTEMPTS = 2
GRACE = 0.25


@dataclass(frozen=True)
class Checkpoint:
    offset: int
    cursor: Any


@dataclass(frozen=True)
class Packet:
    """To the master when `slave_id` is empty."""

    slave_id: str
    route: Route
    frames: wire.Frames


class Cluster:
    """`check` is what must hold after each step; `fair_play.finish` brings it to its end."""

    window_class: type[Window] = Window
    dispatcher_class: type[Dispatcher] = Dispatcher
    agent_class: type[Agent] = Agent

    def __init__(self, length: int = 20) -> None:
        self.now = 1000.0
        self.run = "run1"
        self.source = Source(length)
        self.packets: list[Packet] = []  # on their way
        self.hints: list[bytes] = []  # peers whose connection dropped, which the master may learn or not
        self.slaves: list[ManualSlave] = []
        self.saved = Checkpoint(0, NO_CURSOR)
        self.saved_epoch = 0
        self.writing: Checkpoint | None = None
        self.oracle = Oracle(self.source, SIZE, ATTEMPTS)
        self.witness = Witness(self.oracle)
        self.attempted = 0
        self.stopped = False
        self._names = 0
        self._start()

    # -- the master

    def _start(self) -> None:
        self.saved_epoch += 1  # durable before the master listens
        self.window = self.window_class(self.saved.offset, SIZE, 1 << 20, ATTEMPTS)
        self.master = self.dispatcher_class(self.window, self.run, self.saved_epoch)
        self.witness.begins(self.run, self.saved_epoch, self.saved.offset)
        self.writing = None
        self.stopped = False

    def crash(self, length: int | None = None) -> None:
        """Another master resumes from the last durable checkpoint; with a length, the source has changed, too."""
        if length is not None:
            self.source.change(self.saved.offset, max(length, self.saved.offset))
        self._start()

    def reset(self, length: int) -> None:
        """The user starts all over, epochs included, while slaves of the old run are still there."""
        self.run = f"run{self.source.version + 1}"
        self.saved, self.saved_epoch = Checkpoint(0, NO_CURSOR), 0
        self.oracle.reset()
        self.crash(length)

    def pull(self, jobs: int) -> None:
        """The feeder admits what there is room for."""
        first = self.window.head
        offsets = range(first, min(first + min(jobs, self.window.room()), self.source.length))
        for bad, stretch in groupby(offsets, self.source.is_bad):
            if bad:
                self._admit_bad(*stretch)
            else:
                self._admit(list(stretch))

    def _admit(self, offsets: Sequence[int]) -> None:
        [good] = encode([self.source.payload(offset) for offset in offsets], "pickle", 1 << 20)
        assert isinstance(good, GoodJobs)
        cursors = [self.source.cursor(offset) for offset in offsets]
        plain = all(cursor is NO_CURSOR for cursor in cursors)
        self._perform(self.master.admit(good.batch, None if plain else cursors, self.now))

    def _admit_bad(self, offset: int) -> None:
        bad = BadJob(0, "unpicklable", "TypeError", "no")
        self._perform(self.master.admit_bad(bad, self.source.cursor(offset)))

    def tick(self) -> None:
        self._perform(self.master.tick(self.now))

    def stop(self) -> None:
        self.stopped = True
        self._perform(self.master.stop("the run was interrupted"))

    # -- its disk

    def mark(self) -> Checkpoint:
        """What a checkpoint says: everything below the watermark is settled, and where to resume."""
        if self.window.head == self.source.length:
            self.window.end_of_source()
        point = self.window.resume_point(self.now)
        return Checkpoint(point.offset, self.saved.cursor if point.cursor is NO_CURSOR else point.cursor)

    def begin_checkpoint(self) -> None:
        self.writing = self.mark()

    def end_checkpoint(self, written: bool) -> None:
        """It becomes durable only now, however far the watermark has moved since; unless the disk is full."""
        if self.writing is not None and written:
            self.saved = self.writing
            abandoned = {offset_of(payload) for payload in self.oracle.abandoned}  # recorded before it is written
            self.oracle.save(self.saved.offset, self.saved_epoch, self.saved.cursor, abandoned)
        self.writing = None

    # -- the network

    def deliver(self, index: int) -> None:
        self._hand_over(self.packets.pop(index))

    def duplicate(self, index: int) -> None:
        self.packets.append(self.packets[index])

    def drop(self, index: int) -> None:
        del self.packets[index]

    def _hand_over(self, packet: Packet) -> None:
        if not packet.slave_id:
            heard = self.witness.hears(packet.frames)
            assert isinstance(heard, wire.Poll)
            self._perform(self.master.receive(packet.route, packet.frames, self.now))
            return
        slave = next((one for one in self.slaves if one.slave_id == packet.slave_id), None)
        if slave is not None:
            effects = slave.receive(packet.frames, decoded_reply(packet.frames), self.now)
            self._perform_for(slave, effects)

    def hint(self, index: int) -> None:
        self.master.disconnected(self.hints.pop(index), self.now, GRACE)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tick()

    def forge(self, offset: int) -> None:
        """A stranger reports a job as done that this master never handed out."""
        if offset not in self.oracle.life.newest:
            poll = wire.Poll(self.run, self.saved_epoch, "liar", int(self.now * 1000), done=((offset, 1),))
            self._perform(self.master.receive((b"liar", b""), wire.encode_poll(poll), self.now))

    # -- the slaves

    def spawn(self) -> ManualSlave:
        self._names += 1
        info = {"host": "here", "pid": self._names}
        agent = self.agent_class(f"slave{self._names}", THREADS, info, Patience(), self.now)
        slave = ManualSlave(agent, self._peer())
        self.slaves.append(slave)
        return slave

    def _peer(self) -> bytes:
        self._names += 1
        return b"peer%d" % self._names

    def ask(self, slave: ManualSlave) -> None:
        """Wait until the agent has something to send, but not until its patience ends."""
        due = min(slave.agent.next_due(slave.load), self.now + 5)
        if due > self.now:
            self.wait(due - self.now)
        self.poll(slave)

    def poll(self, slave: ManualSlave) -> None:
        self._perform_for(slave, slave.agent.tick(slave.load, self.now))

    def exchange(self, slave: ManualSlave) -> None:
        """A round trip on which nothing goes wrong."""
        self.ask(slave)
        self._deliver_of(slave, to_master=True)
        self._deliver_of(slave, to_master=False)

    def _deliver_of(self, slave: ManualSlave, to_master: bool) -> None:
        for packet in [one for one in self.packets if self._is_of(one, slave, to_master)][-1:]:
            self.packets.remove(packet)
            self._hand_over(packet)

    @staticmethod
    def _is_of(packet: Packet, slave: ManualSlave, to_master: bool) -> bool:
        if to_master:
            return not packet.slave_id and packet.route[0] == slave.peer
        return packet.slave_id == slave.slave_id

    def finish_job(self, slave: ManualSlave, index: int, succeeds: bool) -> None:
        """A handler returns or raises."""
        item = slave.take(index)
        self.attempted += 1
        if succeeds:
            self.oracle.done(item.payload)
            slave.done(item, self.now)
        else:
            slave.failed(item, self.now)

    def die(self, slave: ManualSlave, hint: bool) -> None:
        self.slaves.remove(slave)
        if hint:
            self.hints.append(slave.peer)

    def kill(self, slave: ManualSlave, by_job: bool) -> None:
        """It is killed, and its fleet reports that."""
        self.slaves.remove(slave)
        how = KILLED_BY_JOB if by_job else KILLED
        self._perform(self.master.died("here", int(slave.slave_id.removeprefix("slave")), how, by_job, self.now))

    def mistake_for_dead(self, slave: ManualSlave) -> None:
        """Its connection drops and comes back too late."""
        self.master.disconnected(slave.peer, self.now, GRACE)
        self.wait(2 * GRACE)

    # -- effects

    def _perform(self, effects: Sequence[master_effects.Effect]) -> None:
        """The master's."""
        for effect in effects:
            if isinstance(effect, master_effects.Send):
                self._send(effect)
            elif isinstance(effect, master_effects.Abandon):
                for job in effect.jobs:
                    self.oracle.abandon(job)
            else:
                departure = self.witness.departs(effect)
                if departure is not None:
                    self.witness.departed(departure)

    def _send(self, effect: master_effects.Send) -> None:
        """Messages to a peer that is gone are dropped."""
        reply, is_news = self.witness.reply_in(effect.frames)
        if is_news:
            self.oracle.answer(reply)
        for slave in self.slaves:
            if slave.peer == effect.route[0]:
                self.packets.append(Packet(slave.slave_id, effect.route, effect.frames))

    def _perform_for(self, slave: ManualSlave, effects: Sequence[slave_effects.Effect]) -> None:
        for effect in effects:
            match effect:
                case slave_effects.Request(frames):
                    self._request(slave, frames)
                case slave_effects.Rebuild(frames):
                    self.hints.append(slave.peer)
                    slave.peer = self._peer()
                    self._request(slave, frames)
                case slave_effects.Exit():
                    must(not slave.agent.quiet or not slave.backlog, "a slave left with jobs in its backlog")
                    self.slaves.remove(slave)
                case slave_effects.MasterLost():
                    self.slaves.remove(slave)
                case _:
                    slave.obey(effect, self.now)

    def _request(self, slave: ManualSlave, frames: wire.Frames) -> None:
        poll = slave.requests.sends(frames)
        self.packets.append(Packet("", (slave.peer, b"%d" % poll.seq, b""), frames))

    # -- what must hold

    def check(self) -> None:
        self.oracle.check(self.window, self.master)
        for slave in self.slaves:
            self.oracle.check_agent(slave.agent)
        must(self.master.slaves <= self._names + 1, "I8: a session without a slave")
        below = [offset for offset in range(self.saved.offset) if not self.oracle.is_accounted(offset)]
        must(not below, "I2: the checkpoint passed unsettled jobs", below, self.saved)

    @property
    def complete(self) -> bool:
        return self.window.head == self.source.length and self.master.settled
