"""A dispatcher over some jobs, and slaves that say what a test lets them say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmaster.core import wire
from taskmaster.core.codec import GoodJobs, encode
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Abandon, Effect, Log, Send
from taskmaster.core.runs import Run
from taskmaster.core.window import Window
from taskmaster.core.wire import Poll, Reply

EPOCH = 4


def sent(effects: Sequence[Effect]) -> list[Reply]:
    replies = [wire.decode_reply(effect.frames) for effect in effects if isinstance(effect, Send)]
    assert all(isinstance(reply, Reply) for reply in replies)
    return [reply for reply in replies if isinstance(reply, Reply)]


def said(effects: Sequence[Effect]) -> list[str]:
    return [effect.text % effect.values for effect in effects if isinstance(effect, Log)]


def buried(effects: Sequence[Effect]) -> list[int]:
    return [job.offset for effect in effects if isinstance(effect, Abandon) for job in effect.jobs]


def runs(reply: Reply) -> list[Run]:
    return [(lease.first, lease.count) for lease in reply.leases]


class Talk:
    """One conversation; `now` passes when the test says so."""

    def __init__(self, jobs: int = 0, *, attempts: int = 3, rate: float | None = None, backups: bool = False) -> None:
        self.now = 100.0
        self.master = Dispatcher(Window(0, 100, 1 << 20, attempts), "r", EPOCH, rate, backups=backups)
        self.numbers: dict[str, int] = {}
        self.admit(jobs)

    def admit(self, jobs: int) -> list[Effect]:
        if not jobs:
            return []
        [good] = encode(list(range(jobs)), "pickle", 1 << 20)
        assert isinstance(good, GoodJobs)
        return self.master.admit(good.batch, None, self.now)

    def say(self, slave_id: str, *, peer: str = "", run: str = "r", epoch: int = EPOCH, seq: int | None = None,
            **fields: Any) -> list[Effect]:
        self.numbers[slave_id] = self.numbers.get(slave_id, 0) + 1 if seq is None else seq
        poll = Poll(run, epoch, slave_id, self.numbers[slave_id], **fields)
        return self.master.receive(((peer or slave_id).encode(), b"7", b""), wire.encode_poll(poll), self.now)

    def ask(self, slave_id: str, want: int = 10, **fields: Any) -> list[Run]:
        """What `slave_id` is given at once."""
        replies = sent(self.say(slave_id, want=want, **fields))
        return [run for reply in replies for run in runs(reply)]

    def park(self, slave_id: str, **fields: Any) -> list[Effect]:
        return self.say(slave_id, want=10, wait_ms=2000, **fields)

    def pass_by(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.master.tick(self.now)

    def kill(self, slave_id: str) -> list[Effect]:
        """A job kills this slave, and its fleet reports that."""
        return self.master._deaths._expire(self.master._slaves._sessions[slave_id], "killed by SIGSEGV", blame=True)
