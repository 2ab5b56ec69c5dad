"""What the oracle keeps of one master's life: who was granted which job, and what the master heard of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from taskmaster.core.blame import DEATHS_TO_ISOLATE, INNOCENT_DEATHS
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
    spent: dict[int, int] = field(default_factory=dict)  # each job's last attempt that failed, and while it was leased
    held: dict[str, dict[int, int]] = field(default_factory=dict)  # by slave: its jobs, and the requests they came by
    freed: set[int] = field(default_factory=set)  # taken back from their holders
    gone: set[str] = field(default_factory=set)  # slaves taken for dead
    asked: dict[str, int] = field(default_factory=dict)  # each slave's newest request
    abandoned: set[int] = field(default_factory=set)
    settled_before: dict[int, int] = field(default_factory=dict)  # by earlier lives, above where this one began
    heard_at: dict[int, float] = field(default_factory=dict)  # when each job was first heard of as done
    away: set[str] = field(default_factory=set)  # of those, the ones that have not been heard since
    again: frozenset[int] = frozenset()  # failed in earlier runs and have another chance; all below `first`
    left_again: set[int] = field(default_factory=set)  # of those, in flight at the last check
    charges: Counter[int] = field(default_factory=Counter)  # each job's deaths of holders that may count against it
    innocent_alone: Counter[int] = field(default_factory=Counter)  # without evidence, of slaves that held only this job
    isolated_deaths: Counter[int] = field(default_factory=Counter)  # that may count, of slaves that held only this job
    proofs: Counter[int] = field(default_factory=Counter)  # the same with evidence, of a job that was a suspect already
    pulled_all: bool = False  # the source has ended
    granted_at: dict[int, float] = field(default_factory=dict)  # when each job was given to a slave, not as a backup
    backups: dict[int, Grant] = field(default_factory=dict)  # second leases
    backed_up: set[int] = field(default_factory=set)  # jobs that had one since they last waited for a slave
    copies: dict[tuple[int, int], set[str]] = field(default_factory=dict)  # by job and attempt: who had it second

    def hear(self, poll: Poll) -> None:
        """The master receives this; an old request, or one to another master, changes nothing."""
        returns, asked = poll.slave_id in self.away, self.asked.get(poll.slave_id, 0)
        if poll.deaths or poll.seq < asked or (poll.seq == asked and not returns):
            return
        self.away.discard(poll.slave_id)
        if (poll.run, poll.epoch) != (self.run, self.epoch):
            return
        if returns:
            self._readopt(poll)
        self.asked[poll.slave_id] = poll.seq
        for first, count in poll.done:
            self.heard_done.update(at for at in range(first, first + count) if at in self.newest)
        for one in poll.failed:
            self.heard_failed.add((poll.slave_id, one.offset, one.attempt))
            newest, mine = self.newest.get(one.offset), self.held.get(poll.slave_id, {})
            only = one.offset in mine and one.offset not in self.backups
            if newest is not None and newest.attempt == one.attempt and only:
                self.spent[one.offset] = one.attempt
        self._free_unlisted(poll)

    @property
    def pulled_to(self) -> int:
        """The end of the jobs that it is known to have pulled by now."""
        return max(self.head, 1 + max(self.newest, default=0), 1 + max(self.abandoned, default=0))

    @property
    def waiting(self) -> set[int]:
        """Jobs that no slave has."""
        out = {at for mine in self.held.values() for at in mine}
        return (self.left | self.left_again) - out - self.heard_done - self.abandoned

    def back_up(self, offset: int, grant: Grant) -> None:
        """Another slave is given it as well."""
        self.backups[offset] = grant
        self.backed_up.add(offset)
        self.copies.setdefault((offset, grant.attempt), set()).add(grant.slave_id)
        self.held.setdefault(grant.slave_id, {})[offset] = grant.seq

    def grant(self, offset: int, grant: Grant, now: float) -> None:
        before = self.newest.get(offset)
        if before is not None:
            self.held[before.slave_id].pop(offset, None)
        self.freed.discard(offset)
        self.backed_up.discard(offset)
        self.granted_at[offset] = now
        self.newest[offset] = grant
        self.held.setdefault(grant.slave_id, {})[offset] = grant.seq

    def _readopt(self, poll: Poll) -> None:
        """A slave that was taken for dead is back: what it still has and nobody else was given is its own again."""
        for at in (at for first, count in poll.held for at in range(first, first + count)):
            before = self.newest.get(at)
            if before is not None and at in self.freed and at not in self.heard_done and at not in self.abandoned:
                failed = self.spent.get(at) == before.attempt
                self.grant(at, Grant(poll.slave_id, before.attempt + failed, poll.seq - 1), -inf)  # time unknown

    def lose(self, slave_id: str, blame: bool) -> None:
        """The master takes this slave for dead; `blame`: its fleet has reported that a job may be the cause."""
        self.gone.add(slave_id)
        self.away.add(slave_id)
        mine = self.held.get(slave_id, {})
        unsettled = [at for at in mine if at not in self.heard_done and at not in self.abandoned]
        self._charge(unsettled, blame)
        self._free(slave_id, list(mine))

    def _charge(self, unsettled: list[int], blame: bool) -> None:
        for at in unsettled:
            counts = blame or (len(unsettled) == 1 and self.innocent_alone[at] >= INNOCENT_DEATHS)
            if len(unsettled) == 1:
                self.proofs[at] += blame and self.charges[at] >= DEATHS_TO_ISOLATE
                self.isolated_deaths[at] += counts
                self.innocent_alone[at] += not counts
            self.charges[at] += counts

    def leave(self, slave_id: str) -> None:
        """The slave left in good order: the master forgets it and its requests."""
        self._free(slave_id, list(self.held.get(slave_id, {})))
        self.asked.pop(slave_id, None)
        self.away.discard(slave_id)

    def _free_unlisted(self, poll: Poll) -> None:
        mine = self.held.get(poll.slave_id)
        if mine:
            listed = Runs(poll.held)
            self._free(poll.slave_id, [at for at, seq in mine.items() if seq < poll.seq and at not in listed])

    def _free(self, slave_id: str, offsets: Iterable[int]) -> None:
        """A job that a second slave has as well is that slave's alone from then on."""
        for at in offsets:
            del self.held[slave_id][at]
            backup = self.backups.pop(at, None)
            if backup is None:
                self.freed.add(at)
            elif backup.slave_id != slave_id:
                self.newest[at] = backup
