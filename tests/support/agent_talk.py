"""An agent, and the pool, clock and master around it that a test plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmaster.core import wire
from taskmaster.core.agent import Agent, Load, Patience
from taskmaster.core.runs import Run
from taskmaster.core.slave_effects import Effect, Enqueue, Rebuild, Request
from taskmaster.core.wire import FailedAttempt, Lease, Poll, Reply

IDLE, BUSY, FULL = Load(0, 4), Load(0, 0), Load(99, 0)
INFO = {"host": "box", "pid": "7"}


class Talk:
    """One conversation; `now` passes when the test says so."""

    def __init__(self, threads: int = 4, *, epoch: int = 4, patience: Patience | None = None) -> None:
        self.now = 100.0
        self.run, self.epoch = "r", epoch
        self.agent = Agent("s", threads, INFO, patience or Patience(), self.now)

    def polls(self, effects: Sequence[Effect]) -> list[Poll]:
        asked = [effect for effect in effects if isinstance(effect, (Request, Rebuild))]
        polls = [wire.decode_poll(effect.frames) for effect in asked]
        return [poll for poll in polls if isinstance(poll, Poll)]

    def tick(self, load: Load = IDLE, seconds: float = 0.0) -> list[Effect]:
        self.now += seconds
        return self.agent.tick(load, self.now)

    def asks(self, load: Load = IDLE, seconds: float = 0.0) -> Poll:
        """The one request that it makes now."""
        [poll] = self.polls(self.tick(load, seconds))
        return poll

    def answer(self, kind: str = "wait", *leases: Run, seq: int | None = None, size: int = 2,
               **fields: Any) -> list[Effect]:
        jobs = tuple(Lease(first, count, 1, "json", b"[]".rjust(size)) for first, count in leases)
        number = self.agent._request.seq if seq is None else seq
        reply = Reply(self.run, self.epoch, "s", number, kind, jobs, **fields)
        return self.agent.receive(wire.encode_reply(reply), IDLE, self.now)

    def join(self) -> Poll:
        """After the first answer; the request that follows it."""
        self.asks()
        self.answer("reset")
        return self.asks()

    def holding(self, *leases: Run) -> None:
        self.join()
        [taken] = self.answer("jobs", *leases)
        assert isinstance(taken, Enqueue) and [(one.first, one.count) for one in taken.leases] == list(leases)

    def settle(self, first: int, count: int = 1) -> None:
        self.agent.settled(self.agent.epoch, first, count, self.now)

    def fail(self, offset: int, attempt: int = 1, text: str = "no") -> None:
        failure = FailedAttempt(offset, attempt, "raised", "ValueError", text, "")
        self.agent.failed(self.agent.epoch, failure, self.now)
