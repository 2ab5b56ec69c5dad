"""What the oracle keeps of one master's life: who was granted which job, and what the master heard of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from taskmaster.core.runs import Runs
from taskmaster.core.wire import Poll


@dataclass(frozen=True)
class Grant:
    """A lease of one job: to whom, which attempt, and in answer to which request."""

    slave_id: str
    attempt: int
    seq: int


@dataclass
class Ledger:
    """One master's life; `first` and `head` bound the jobs that it has pulled."""

    run: str
    epoch: int
    first: int
    head: int
    left: set[int] = field(default_factory=set)  # unsettled at the last check
    heard_done: set[int] = field(default_factory=set)
    heard_failed: set[tuple[str, int, int]] = field(default_factory=set)
    newest: dict[int, Grant] = field(default_factory=dict)  # each job's last lease
    spent: dict[int, int] = field(default_factory=dict)  # each job's last attempt that failed while it was the newest
    held: dict[str, dict[int, int]] = field(default_factory=dict)  # by slave: its jobs, and the requests they came by
    freed: set[int] = field(default_factory=set)  # taken back from their holders
    gone: set[str] = field(default_factory=set)  # slaves taken for dead
    asked: dict[str, int] = field(default_factory=dict)  # each slave's newest request
    abandoned: set[int] = field(default_factory=set)
    settled_before: dict[int, int] = field(default_factory=dict)  # by earlier lives, above where this one began
    heard_at: dict[int, float] = field(default_factory=dict)  # when each job was first heard of as done
    isolated_deaths: Counter[int] = field(default_factory=Counter)  # of slaves that held nothing but this job

    def hear(self, poll: Poll) -> None:
        """The master receives this; an old request, or one to another master, changes nothing."""
        if (poll.run, poll.epoch) != (self.run, self.epoch) or poll.seq <= self.asked.get(poll.slave_id, 0):
            return
        self.asked[poll.slave_id] = poll.seq
        for first, count in poll.done:
            self.heard_done.update(at for at in range(first, first + count) if at in self.newest)
        for one in poll.failed:
            self.heard_failed.add((poll.slave_id, one.offset, one.attempt))
            newest = self.newest.get(one.offset)
            if newest is not None and (newest.slave_id, newest.attempt) == (poll.slave_id, one.attempt):
                self.spent[one.offset] = one.attempt
        self._free_unlisted(poll)

    def grant(self, offset: int, grant: Grant) -> None:
        before = self.newest.get(offset)
        if before is not None:
            self.held[before.slave_id].pop(offset, None)
        self.freed.discard(offset)
        self.newest[offset] = grant
        self.held.setdefault(grant.slave_id, {})[offset] = grant.seq

    def lose(self, slave_id: str) -> None:
        """The master takes this slave for dead."""
        self.gone.add(slave_id)
        mine = self.held.get(slave_id, {})
        unsettled = [at for at in mine if at not in self.heard_done and at not in self.abandoned]
        if len(unsettled) == 1:
            self.isolated_deaths[unsettled[0]] += 1
        self._free(mine, list(mine))

    def leave(self, slave_id: str) -> None:
        """The slave left in good order: the master forgets it and its requests."""
        mine = self.held.get(slave_id, {})
        self._free(mine, list(mine))
        self.asked.pop(slave_id, None)

    def _free_unlisted(self, poll: Poll) -> None:
        mine = self.held.get(poll.slave_id)
        if mine:
            listed = Runs(poll.held)
            self._free(mine, [at for at, seq in mine.items() if seq < poll.seq and at not in listed])

    def _free(self, mine: dict[int, int], offsets: Iterable[int]) -> None:
        for at in offsets:
            del mine[at]
            self.freed.add(at)
