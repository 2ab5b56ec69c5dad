"""A whole cluster in one thread: the real Dispatcher, Window and Agents around a network that does its worst.

A model, not a test, and one that is led: each method is one thing that may happen. What must hold, and the
invariants' numbers, are the simulation's `oracle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from simulation.broken import must
from simulation.oracle import Oracle
from simulation.source import Source, offset_of

from taskmaster.core import master_effects, slave_effects, wire
from taskmaster.core.agent import Agent, Load, Patience
from taskmaster.core.codec import BadJob, GoodJobs, decode, encode
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.runs import Runs
from taskmaster.core.session import Route
from taskmaster.core.window import Window
from taskmaster.job import NO_CURSOR

SIZE = 6
ATTEMPTS = 2
THREADS = 2
GRACE = 0.25
MANY_ROUNDS = 400  # of a second each: several lives of a lease, and all backoffs of a job


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


@dataclass(frozen=True)
class Item:
    """A job in a slave's hands."""

    tag: int
    offset: int
    attempt: int
    payload: int


@dataclass
class Slave:
    """The control loop and the pool around an agent, as far as it matters."""

    agent: Agent
    peer: bytes
    backlog: list[Item] = field(default_factory=list)
    running: list[Item] = field(default_factory=list)
    asked: int = 0
    served: set[int] = field(default_factory=set)

    @property
    def load(self) -> Load:
        return Load(len(self.backlog), max(0, THREADS - len(self.running)))


class Cluster:
    """Every method is one thing that may happen; `check` is what must hold after each."""

    window_class: type[Window] = Window
    dispatcher_class: type[Dispatcher] = Dispatcher
    agent_class: type[Agent] = Agent

    def __init__(self, length: int = 20) -> None:
        self.now = 1000.0
        self.run = "run1"
        self.source = Source(length)
        self.soup: list[Packet] = []
        self.hints: list[bytes] = []
        self.slaves: list[Slave] = []
        self.saved = Checkpoint(0, NO_CURSOR)
        self.saved_epoch = 0
        self.writing: Checkpoint | None = None
        self.oracle = Oracle(self.source, SIZE, ATTEMPTS)
        self.attempted = 0
        self.stopped = False
        self._names = 0
        self._last_answers: dict[str, wire.Frames] = {}
        self._start()

    # -- the master

    def _start(self) -> None:
        self.saved_epoch += 1  # written before the address is bound
        self.window = self.window_class(self.saved.offset, SIZE, 1 << 20, ATTEMPTS)
        self.master = self.dispatcher_class(self.window, self.run, self.saved_epoch)
        self.oracle.begin(self.run, self.saved_epoch, self.saved.offset)
        self._last_answers.clear()
        self.writing = None
        self.stopped = False

    def crash(self, length: int | None = None) -> None:
        """Another master starts from the last durable checkpoint, maybe over a source that changed."""
        if length is not None:
            self.source.change(self.saved.offset, max(length, self.saved.offset))
        self._start()

    def reset(self, length: int) -> None:
        """The user starts all over, and the slaves of the old run are still there; epochs start anew, too."""
        self.run = f"run{self.source.version + 1}"
        self.saved, self.saved_epoch = Checkpoint(0, NO_CURSOR), 0
        self.oracle.reset()
        self.crash(length)

    def pull(self, jobs: int) -> None:
        """The feeder admits what there is room for."""
        first = self.window.head
        offsets = range(first, min(first + min(jobs, self.window.room(self.now)), self.source.length))
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
        self._effects(self.master.admit(good.batch, None if plain else cursors, self.now))

    def _admit_bad(self, offset: int) -> None:
        bad = BadJob(0, "unpicklable", "TypeError", "no")
        self._effects(self.master.admit_bad(bad, self.source.cursor(offset)))

    def tick(self) -> None:
        self._effects(self.master.tick(self.now))

    def stop(self) -> None:
        self.stopped = True
        self._effects(self.master.stop("the run was interrupted"))

    # -- its disk

    def mark(self) -> Checkpoint:
        """What a checkpoint says: all below the watermark is settled, and where to go on."""
        cursor = self.window.cursor
        return Checkpoint(self.window.watermark, self.saved.cursor if cursor is NO_CURSOR else cursor)

    def begin_checkpoint(self) -> None:
        self.writing = self.mark()

    def end_checkpoint(self, written: bool) -> None:
        """It is durable only now, however far the watermark has moved on; or the disk was full."""
        if self.writing is not None and written:
            self.saved = self.writing
            buried = {offset_of(payload) for payload in self.oracle.buried}  # their records are written before it
            self.oracle.save(self.saved.offset, self.saved_epoch, self.saved.cursor, buried)
        self.writing = None

    # -- the network

    def deliver(self, index: int) -> None:
        self._hand_over(self.soup.pop(index))

    def duplicate(self, index: int) -> None:
        self.soup.append(self.soup[index])

    def drop(self, index: int) -> None:
        del self.soup[index]

    def _hand_over(self, packet: Packet) -> None:
        if not packet.slave_id:
            self._note_poll(packet.frames)
            self._effects(self.master.receive(packet.route, packet.frames, self.now))
            return
        slave = next((one for one in self.slaves if one.agent.slave_id == packet.slave_id), None)
        if slave is not None:
            self._answer(slave, packet.frames)

    def hint(self, index: int) -> None:
        self.master.disconnected(self.hints.pop(index), self.now, GRACE)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tick()

    def forge(self, offset: int) -> None:
        """Somebody says that a job is done that this master never gave to anybody."""
        if offset not in self.oracle.life.newest:
            poll = wire.Poll(self.run, self.saved_epoch, "liar", int(self.now * 1000), done=((offset, 1),))
            self._effects(self.master.receive((b"liar", b""), wire.encode_poll(poll), self.now))

    # -- the slaves

    def spawn(self) -> Slave:
        self._names += 1
        info = {"host": "box", "pid": self._names}
        agent = self.agent_class(f"slave{self._names}", THREADS, info, Patience(), self.now)
        slave = Slave(agent, self._peer())
        self.slaves.append(slave)
        return slave

    def _peer(self) -> bytes:
        self._names += 1
        return b"peer%d" % self._names

    def ask(self, slave: Slave) -> None:
        """Let the time come when the agent has something to send, but not its patience end."""
        due = min(slave.agent.next_due(slave.load), self.now + 5)
        if due > self.now:
            self.wait(due - self.now)
        self.poll(slave)

    def poll(self, slave: Slave) -> None:
        self._slave_effects(slave, slave.agent.tick(slave.load, self.now))

    def exchange(self, slave: Slave) -> None:
        """A whole round trip that goes well."""
        self.ask(slave)
        self._deliver_of(slave, to_master=True)
        self._deliver_of(slave, to_master=False)

    def _deliver_of(self, slave: Slave, to_master: bool) -> None:
        for packet in [one for one in self.soup if self._is_of(one, slave, to_master)][-1:]:
            self.soup.remove(packet)
            self._hand_over(packet)

    @staticmethod
    def _is_of(packet: Packet, slave: Slave, to_master: bool) -> bool:
        if to_master:
            return not packet.slave_id and packet.route[0] == slave.peer
        return packet.slave_id == slave.agent.slave_id

    def begin(self, slave: Slave) -> None:
        slave.running.append(slave.backlog.pop(0))

    def finish_job(self, slave: Slave, index: int, succeeds: bool) -> None:
        """A thread is done with a job that was running, or started and ended one that waited."""
        started = len(slave.running)
        item = slave.running.pop(index) if index < started else slave.backlog.pop(index - started)
        self.attempted += 1
        if succeeds:
            self.oracle.done(item.payload)
            slave.agent.settled(item.tag, item.offset, 1, self.now)
        else:
            failure = wire.FailedAttempt(item.offset, item.attempt, "raised", "ValueError", "no", "")
            slave.agent.failed(item.tag, failure, self.now)

    def die(self, slave: Slave, hint: bool) -> None:
        self.slaves.remove(slave)
        if hint:
            self.hints.append(slave.peer)

    def mistake_for_dead(self, slave: Slave) -> None:
        """Its connection drops and comes back too late."""
        self.master.disconnected(slave.peer, self.now, GRACE)
        self.wait(2 * GRACE)

    def drain(self, slave: Slave) -> None:
        """SIGTERM: it gives back what it has not started."""
        slave.agent.drain()
        self._give_back(slave, slave.backlog)
        slave.backlog = []

    def _give_back(self, slave: Slave, items: Sequence[Item]) -> None:
        for item in items:
            slave.agent.returned(item.tag, item.offset, 1, self.now)

    # -- effects

    def _effects(self, effects: Sequence[master_effects.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, master_effects.Send):
                self._send(effect)
            elif isinstance(effect, master_effects.Abandon):
                for job in effect.jobs:
                    self.oracle.bury(job)
            elif effect.text.startswith("slave %s is gone"):
                self.oracle.give_up(self._sid_of(str(effect.values[0])))
            elif effect.text == "slave %s left":
                self.oracle.leave(self._sid_of(str(effect.values[0])))

    def _send(self, effect: master_effects.Send) -> None:
        """Replies to peers that are no more go nowhere."""
        reply = wire.decode_reply(effect.frames)
        assert isinstance(reply, wire.Reply)
        if self._last_answers.get(reply.slave_id) is not effect.frames:  # else it is the same once more
            self._last_answers[reply.slave_id] = effect.frames
            self.oracle.answer(reply)
        for slave in self.slaves:
            if slave.peer == effect.route[0]:
                self.soup.append(Packet(slave.agent.slave_id, effect.route, effect.frames))

    def _sid_of(self, name: str) -> str:
        return next((slave_id for slave_id, known in self.oracle.names.items() if known == name), name)

    def _note_poll(self, frames: wire.Frames) -> None:
        poll = wire.decode_poll(frames)
        assert isinstance(poll, wire.Poll)
        self.oracle.hear(poll)

    def _slave_effects(self, slave: Slave, effects: Sequence[slave_effects.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, (slave_effects.Request, slave_effects.Rebuild)):
                self._request(slave, effect)
            elif isinstance(effect, slave_effects.Enqueue):
                self._take(slave, effect)
            elif isinstance(effect, slave_effects.Cancel):
                self._drop(slave, Runs(effect.runs))
            elif isinstance(effect, slave_effects.DiscardAll):
                slave.backlog = []
            elif isinstance(effect, slave_effects.Drain):
                self.drain(slave)
            else:
                self._leave(slave, effect)

    def _drop(self, slave: Slave, runs: Runs) -> None:
        dropped = [one for one in slave.backlog if one.offset in runs]
        slave.backlog = [one for one in slave.backlog if one.offset not in runs]
        self._give_back(slave, dropped)

    def _request(self, slave: Slave, effect: slave_effects.Request | slave_effects.Rebuild) -> None:
        if isinstance(effect, slave_effects.Rebuild):
            self.hints.append(slave.peer)
            slave.peer = self._peer()
        poll = wire.decode_poll(effect.frames)
        assert isinstance(poll, wire.Poll)
        slave.asked = poll.seq
        self.soup.append(Packet("", (slave.peer, b"%d" % poll.seq, b""), effect.frames))

    def _take(self, slave: Slave, effect: slave_effects.Enqueue) -> None:
        for lease in effect.leases:
            payloads, bad = decode(lease.form, lease.blob)
            must(len(payloads) == lease.count and not bad, "a lease without its jobs", lease)
            for offset, payload in enumerate(payloads, lease.first):
                must(offset_of(payload) == offset, "a lease of other jobs", lease, payloads)
                slave.backlog.append(Item(slave.agent.epoch, offset, lease.attempt, payload))

    def _answer(self, slave: Slave, frames: wire.Frames) -> None:
        reply = wire.decode_reply(frames)
        assert isinstance(reply, wire.Reply)
        effects = slave.agent.receive(frames, slave.load, self.now)
        if any(isinstance(effect, slave_effects.Enqueue) for effect in effects):
            must(reply.slave_id == slave.agent.slave_id and reply.seq == slave.asked, "I7: not its answer", reply)
            must(reply.seq not in slave.served, "I7: one answer used twice", reply)
            slave.served.add(reply.seq)
        self._slave_effects(slave, effects)

    def _leave(self, slave: Slave, effect: slave_effects.Exit | slave_effects.MasterLost) -> None:
        if isinstance(effect, slave_effects.Exit) and slave.agent.quiet:
            must(not slave.backlog, "a slave left with jobs in its backlog")
        self.slaves.remove(slave)

    # -- what must hold

    def check(self) -> None:
        self.oracle.check(self.window, self.master)
        for slave in self.slaves:
            self.oracle.check_agent(slave.agent)
        must(self.master.slaves <= self._names + 1, "I8: sessions of nobody")
        below = [offset for offset in range(self.saved.offset) if not self.oracle.is_accounted(offset)]
        must(not below, "I2: the checkpoint passed unsettled jobs", below, self.saved)

    # -- fair play

    @property
    def complete(self) -> bool:
        return self.window.head == self.source.length and self.master.settled

    def finish(self) -> None:
        """From here on everything arrives, everyone lives and no handler fails: it must come to an end."""
        if self.stopped:
            self._finish_stopping()
        for _ in range(MANY_ROUNDS):
            if self.complete:
                break
            self._fair_round()
        must(self.complete, "I4: it never completes", self.window.watermark, self.source.length, self.now)
        self.begin_checkpoint()
        self.end_checkpoint(True)
        self.check()
        must(self.saved.offset == self.source.length, "I10: not checkpointed", self.saved)

    def _finish_stopping(self) -> None:
        for _ in range(MANY_ROUNDS):
            if not self.slaves:
                break
            self._fair_second(pull=0)
        must(not self.slaves, "I4: told to stop, a slave never leaves")
        self.begin_checkpoint()
        self.end_checkpoint(True)
        self.crash()

    def _fair_round(self) -> None:
        if not self.slaves:
            self.spawn()
        self._fair_second(pull=SIZE)

    def _fair_second(self, pull: int) -> None:
        while self.hints:
            self.hint(0)
        for _ in range(5):
            self.pull(pull)
            self._everyone_works()
            self.wait(0.1)
        self.check()
        self.wait(0.5)

    def _everyone_works(self) -> None:
        for slave in list(self.slaves):
            while slave.running or slave.backlog:
                self.finish_job(slave, 0, True)
        for slave in list(self.slaves):
            self.poll(slave)
        while self.soup:
            self.deliver(0)
