"""A slave that is driven by hand: the real agent, a backlog, and jobs that begin and end when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.broken import must
from models.source import offset_of
from models.witness import Requests
from support.values import decoded

from taskmaster.core import slave_effects, wire
from taskmaster.core.agent import Agent, Load
from taskmaster.core.runs import Runs

THREADS = 2


@dataclass(frozen=True)
class Item:
    """A job that a slave holds."""

    epoch: int  # of the agent
    offset: int
    attempt: int
    payload: int


class ManualSlave:
    """Does for its agent what the control loop and the pool do."""

    def __init__(self, agent: Agent, peer: bytes) -> None:
        self.agent = agent
        self.peer = peer
        self.backlog: list[Item] = []
        self.running: list[Item] = []
        self.requests = Requests(agent.slave_id)

    @property
    def slave_id(self) -> str:
        return self.agent.slave_id

    @property
    def load(self) -> Load:
        return Load(len(self.backlog), max(0, THREADS - len(self.running)))

    def begin(self) -> None:
        """A thread takes the next job."""
        self.running.append(self.backlog.pop(0))

    def take(self, index: int) -> Item:
        """A job that has run: one that was running, or one of the backlog that has been started and ended."""
        started = len(self.running)
        return self.running.pop(index) if index < started else self.backlog.pop(index - started)

    def done(self, item: Item, now: float) -> None:
        self.agent.settled(item.epoch, item.offset, 1, now)

    def failed(self, item: Item, now: float) -> None:
        failure = wire.FailedAttempt(item.offset, item.attempt, "raised", "ValueError", "no", "")
        self.agent.failed(item.epoch, failure, now)

    def drain(self, now: float) -> None:
        """SIGTERM: it gives back what it has not started."""
        self.agent.drain()
        self._give_back(self.backlog, now)
        self.backlog = []

    def receive(self, frames: wire.Frames, reply: wire.Reply, now: float) -> Sequence[slave_effects.Effect]:
        """A reply arrives."""
        effects = self.agent.receive(frames, self.load, now)
        if any(isinstance(effect, slave_effects.Enqueue) for effect in effects):
            self.requests.uses(reply)
        return effects

    def obey(self, effect: slave_effects.Effect, now: float) -> None:
        """Carry out an order that does not concern the cluster."""
        match effect:
            case slave_effects.Enqueue(leases):
                for lease in leases:
                    self._enqueue(lease)
            case slave_effects.Cancel(runs):
                self._cancel(Runs(runs), now)
            case slave_effects.DiscardAll():
                self.backlog = []
            case slave_effects.Drain():
                self.drain(now)

    def _enqueue(self, lease: wire.Lease) -> None:
        payloads, bad = decoded(lease.form, lease.blob)
        must(len(payloads) == lease.count and not bad, "a lease without its jobs", lease)
        for offset, payload in enumerate(payloads, lease.first):
            must(offset_of(payload) == offset, "a lease of other jobs", lease, payloads)
            self.backlog.append(Item(self.agent.epoch, offset, lease.attempt, payload))

    def _cancel(self, runs: Runs, now: float) -> None:
        cancelled = [one for one in self.backlog if one.offset in runs]
        self.backlog = [one for one in self.backlog if one.offset not in runs]
        self._give_back(cancelled, now)

    def _give_back(self, items: Sequence[Item], now: float) -> None:
        for item in items:
            self.agent.returned(item.epoch, item.offset, 1, now)
