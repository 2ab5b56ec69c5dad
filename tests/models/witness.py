"""What masters and slaves say to each other, in the terms of the oracle; the same in every model."""

from __future__ import annotations

from dataclasses import dataclass

from models.broken import must
from models.oracle import Oracle

from taskmaster.core import wire
from taskmaster.core.master_effects import Log
from taskmaster.core.wire import Frames, Poll, Reply, WireError


KILLED = "killed"  # from outside: what a fleet reports of a death,
KILLED_BY_JOB = "killed by its job"  # or with evidence against a job


@dataclass(frozen=True)
class Departure:
    """A master no longer counts on a slave: `how` says why it takes it for dead; empty if it left in good order."""

    slave_id: str
    how: str = ""

    @property
    def blame(self) -> bool:
        """Whether its fleet has reported that a job may have killed it."""
        return self.how == KILLED_BY_JOB


class Witness:
    """Listens to one master after another."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self._last_answers: dict[str, Frames] = {}

    def begins(self, run: str, epoch: int, first: int, again: frozenset[int] = frozenset()) -> None:
        """A master begins to serve at the job `first`; it tries the jobs `again`, which failed in earlier runs."""
        self.oracle.begin(run, epoch, first, again)
        self._last_answers.clear()

    def hears(self, frames: Frames) -> Poll | WireError:
        """The master reads a message."""
        poll = wire.decode_poll(frames)
        if isinstance(poll, Poll):
            self.oracle.hear(poll)
        return poll

    def reply_in(self, frames: Frames) -> tuple[Reply, bool]:
        """What the master is about to send, and whether it is news: not the last answer once more."""
        reply = decoded_reply(frames)
        is_news = self._last_answers.get(reply.slave_id) is not frames
        self._last_answers[reply.slave_id] = frames
        return reply, is_news

    def departs(self, line: Log) -> Departure | None:
        """The slave that has gone, if that is what a log line says."""
        if line.text == "slave %s left":
            return Departure(self._id_of(str(line.values[0])))
        if line.text.startswith(("slave %s is gone", "slave %s left (")):
            return Departure(self._id_of(str(line.values[0])), str(line.values[1]))
        return None

    def departed(self, departure: Departure) -> None:
        if departure.how:
            self.oracle.lose(departure.slave_id, departure.blame)
        else:
            self.oracle.leave(departure.slave_id)

    def _id_of(self, name: str) -> str:
        return next((slave_id for slave_id, known in self.oracle.names.items() if known == name), name)


class Requests:
    """One slave's requests. An answer is used for the newest request only, and once."""

    def __init__(self, slave_id: str) -> None:
        self.slave_id = slave_id
        self.newest = 0
        self.times_sent = 0  # the newest one
        self._used: set[int] = set()

    def sends(self, frames: Frames) -> Poll:
        poll = decoded_poll(frames)
        self.times_sent = self.times_sent + 1 if poll.seq == self.newest else 1
        self.newest = poll.seq
        return poll

    def uses(self, reply: Reply) -> None:
        """The slave takes the jobs of this answer."""
        must((reply.slave_id, reply.seq) == (self.slave_id, self.newest), "I7: not its answer", reply)
        must(reply.seq not in self._used, "I7: one answer used twice", reply)
        self._used.add(reply.seq)


def decoded_poll(frames: Frames) -> Poll:
    poll = wire.decode_poll(frames)
    must(isinstance(poll, Poll), "a malformed request", poll)
    assert isinstance(poll, Poll)
    return poll


def decoded_reply(frames: Frames) -> Reply:
    reply = wire.decode_reply(frames)
    must(isinstance(reply, Reply), "a malformed reply", reply)
    assert isinstance(reply, Reply)
    return reply
