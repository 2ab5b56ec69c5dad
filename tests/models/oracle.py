"""Judges a cluster from outside: what was executed, leased, reported and saved, against the promises.

It raises `Broken` as soon as an invariant does not hold:

    I1  a job is settled only after it was executed or abandoned
    I2  no watermark and no checkpoint passes an unsettled job; no checkpoint passes a failure that is not on disk
    I3  head - watermark is at most the window's size
    I4  once everything is fair, the run completes
    I5  a job is in one place: settled, waiting or on lease; a lease ends before the next one begins
    I6  epoch and checkpoint never go back
    I7  an answer is used for its own request only, and once
    I8  what a master keeps is O(window) + O(slaves)
    I9  a crash repeats what was running or not reported, and what was settled since the last checkpoint, at most a
        second's work; nothing that a checkpoint says is settled, below the watermark or above it
    I10 at the end each job has been handled, or is in the failures file
    I11 no job outlives `attempts` slaves that died while they held nothing else
    I12 a job is abandoned only if its newest attempt failed and no success had been reported before
    I13 no loop spins
    I14 no slave is taken for dead without a cause, and no job runs twice without one
    I15 the counts of a run add up
    I16 a slave that leaves has nothing left to do or to report, unless no master answers it
    I17 a death counts against a job only with evidence, or after ten without it while the job ran alone
    I18 a slave that was taken for dead and returns keeps what it has and nobody else was given
    I19 no slave counts as connected once its connection is known to have dropped, whatever it sent before
    I20 no job is handed to a slave whose handler is for other jobs
    I21 after a run that too many failures stopped, and with --retry-failed, each recorded job is tried again; its
        record leaves the file only once it is known to have been handled, or was recorded anew
    I22 a fleet kills only a slave that was silent for the limit while the fleet was listening
    I23 a job that a slave has is given to a second one only at the end of the source, when no job waits for a slave,
        after BACKUP_SECONDS, once, in its first attempt, if no death is charged to it; that has failed only once both
        have failed
    I24 of a batch, an attempt at a job has failed only if the handler raised for that job alone, or did not end in time
    I25 at the end the results file has the result of each handled job once, in the order of the jobs if that was
        wanted, and none of a failed job; no checkpoint passes a result that could still be lost
    I26 a checkpoint's mark covers durable bytes, and a resume cuts the results file back to it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from models.breathing import MOST_SLOTS
from models.broken import must
from models.inside import backups_of, batch_of, chunks_of, settled_above
from models.ledger import Grant, Ledger
from models.source import Source

from taskmaster import defaults
from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.agent import Agent
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.runs import Run
from taskmaster.core.window import Window
from taskmaster.core.wire import Poll, Reply
from taskmaster.job import NO_CURSOR

REPLAYS = ("in flight at a crash", "settled since the last checkpoint", "retried", "lease lost",
           "backed up")  # reasons for one
SEARCH_DEATHS = 5  # until one of a hundred jobs is alone: two, then one for each piece of 13, 2 and 1, and a margin
BLAMED = ("raised", "timeout", "undecodable")  # kinds of failure that a slave reports


@dataclass(frozen=True)
class Start:
    """A handler call, for a lease that the master number `life` granted."""

    slave_id: str
    life: int
    attempt: int


class Oracle:
    """It is told everything as it happens; `check` looks at a master after each of its steps."""

    def __init__(self, source: Source, size: int, attempts: int) -> None:
        self.source = source
        self.size = size
        self.attempts = attempts
        self.executed: Counter[int] = Counter()  # by payload, how often its handler returned
        self.abandoned: dict[int, AbandonedJob] = {}  # by payload
        self.replays: Counter[str] = Counter()  # by reason
        self.lives: list[Ledger] = []
        self.saved = 0
        self.saved_epoch = 0
        self._written: dict[int, int] = {}  # what any checkpoint said when it was written, durable or not
        self.above: dict[int, int] = {}  # what the last checkpoint says is settled above it: offsets, and payloads
        self.chances: frozenset[int] = frozenset()  # what the last checkpoint says is still to be tried again
        self.names: dict[str, str] = {}
        self.foreigners: set[str] = set()  # slaves with the handler of other jobs
        self.limit: int | None = None  # jobs that the present master pulls at most
        self._starts: dict[int, list[Start]] = {}

    @property
    def life(self) -> Ledger:
        return self.lives[-1]

    # -- a master's life

    def begin(self, run: str, epoch: int, first: int, again: frozenset[int] = frozenset()) -> None:
        """A master begins to serve; it tries the jobs `again`, which failed in earlier runs."""
        if self.lives and self.life.run == run:
            must(epoch > self.life.epoch, "I6: an epoch comes again", epoch)
        must(first >= self.saved, "I6: it begins below the checkpoint", first, self.saved)
        self.lives.append(Ledger(run, epoch, first, first, settled_before=dict(self.above), again=again))

    def reset(self) -> None:
        """The user starts all over."""
        self.saved, self.saved_epoch, self.above, self.chances = 0, 0, {}, frozenset()

    def save(self, offset: int, epoch: int, cursor: Any, on_disk: Container[int], above: Sequence[Run] = (),
             chances: Sequence[Run] = (), stopped: bool = False) -> None:
        """A checkpoint is durable; `on_disk` are the offsets that the failures file holds, `above` the jobs above it
        that are settled, `chances` those below that are to be tried again; `stopped`: those above are, too."""
        must(offset >= self.saved and epoch >= self.saved_epoch, "I6: a checkpoint goes back", offset, self.saved)
        left = [at for at in range(self.saved, offset) if not self.is_accounted(at)]
        must(not left, "I2: the checkpoint passed unsettled jobs", left, offset)
        left = [at for at in range(self.saved, offset) if at not in on_disk and not self.is_executed(at)]
        must(not left, "I2: the checkpoint passed failures that are not on disk", left)
        if offset > self.saved:
            right = cursor == self.source.resume_at(offset - 1)
            must(right, "I2: the checkpoint has another job's cursor", offset, cursor)
        self.saved, self.saved_epoch = offset, epoch
        self._save_above(above, on_disk, stopped)
        self.chances = frozenset(at for first, count in chances for at in range(first, first + count))

    def written(self, above: Sequence[Run]) -> None:
        """A checkpoint is being written, and will perhaps be found on disk though it never was durable."""
        for first, count in above:
            self._written.update((at, self.source.payload(at)) for at in range(first, first + count)
                                 if at < self.source.length and self.is_accounted(at))

    def _save_above(self, above: Sequence[Run], on_disk: Container[int], stopped: bool) -> None:
        """Of jobs that are no longer what they were, it need not be true: a resume tells by their identity."""
        before, self.above = {**self._written, **self.above}, {}
        for at in [at for first, count in above for at in range(first, first + count)]:
            known = before.get(at)
            if known is not None and (at >= self.source.length or known != self.source.payload(at)):
                self.above[at] = known
                continue
            must(self.is_accounted(at), "I2: the checkpoint says of an unsettled job that it is settled", at)
            safe = at in on_disk or self.is_executed(at)
            must(safe, "I2: the checkpoint says of a failure that is not on disk that it is settled", at)
            self.above[at] = self.source.payload(at)
        for at, known in self.life.settled_before.items() if self.lives else ():
            same = at < self.source.length and known == self.source.payload(at)
            forgotten = same and not self.is_saved(at) and not (stopped and at in on_disk)
            must(not forgotten, "I9: the checkpoint forgets what an earlier one said is settled", at)

    def drop(self, offsets: Sequence[int], on_disk: Container[int]) -> None:
        """These records have left the failures file."""
        for at in offsets:
            if self.is_saved(at) and at not in on_disk:
                payload = self.above[at] if at in self.above else self.source.payload(at)
                must(payload in self.executed, "I21: a record is gone, and its job was not handled", at)

    @property
    def covered(self) -> int:
        """The offset below which everything is saved as settled."""
        covered = self.saved
        while covered in self.above:
            covered += 1
        return covered

    def is_saved(self, offset: int) -> bool:
        return offset < self.saved or offset in self.above

    # -- what is said

    def hear(self, poll: Poll) -> None:
        """The master receives this."""
        if poll.info:
            self.names[poll.slave_id] = f"{poll.info.get('host')}:{poll.info.get('pid')}"
        self.life.hear(poll)

    def answer(self, reply: Reply, now: float = 0.0) -> None:
        """The master sends this, in a turn that began at `now`."""
        foreign = reply.slave_id in self.foreigners
        must(not (foreign and reply.leases), "I20: jobs are handed to another workload's handler", reply)
        mine = self.life.held.get(reply.slave_id, {})
        kept = [at for first, count in reply.drop for at in range(first, first + count)
                if at in mine and at not in self.life.heard_done and at not in self.life.abandoned]
        must(not kept, "I18: told to drop what nobody else has", reply.slave_id, kept)
        for lease in reply.leases:
            for offset in range(lease.first, lease.first + lease.count):
                self._grant(offset, Grant(reply.slave_id, lease.attempt, reply.seq), now)

    def _grant(self, offset: int, grant: Grant, now: float) -> None:
        life, before = self.life, self.life.newest.get(offset)
        must(offset >= life.first or offset in life.again, "I9: repeated below the checkpoint", offset)
        passed = life.settled_before.get(offset) == self.source.payload(offset)
        must(not passed, "I9: repeated though the checkpoint said that it is settled", offset)
        must(offset not in life.heard_done and offset not in life.abandoned, "I5: leased after it was settled", offset)
        if before is None:
            must(grant.attempt == 1, "I12: a first attempt that is not number 1", offset, grant)
        elif grant.attempt == before.attempt + 1:
            told = (before.slave_id, offset, before.attempt) in life.heard_failed
            must(told, "I12: an attempt was spent without a failure", offset, grant)
        else:
            must(grant.attempt == before.attempt, "I12: an attempt was skipped", offset, before, grant)
            if offset not in life.freed:
                self._check_backup(offset, before, grant, now)
                return life.back_up(offset, grant)
        life.grant(offset, grant, now)

    def _check_backup(self, offset: int, before: Grant, grant: Grant, now: float) -> None:
        life = self.life
        limited = self.limit is not None and life.pulled_to - life.first >= self.limit
        limited |= life.first >= self.source.length  # nothing is left to pull, as where only failed jobs run again
        must(life.pulled_all or limited, "I5: leased again while another holds it", offset, before, grant)
        must(before.slave_id != grant.slave_id, "I23: backed up where it runs", offset, grant)
        must(offset not in life.backed_up, "I23: backed up twice", offset, before, grant)
        out = now - life.granted_at[offset]
        must(out >= defaults.BACKUP_SECONDS - 1e-6, "I23: backed up though it has just begun", offset, out)
        must(not life.waiting, "I23: backed up while others wait", offset, life.waiting)
        must(not life.charges[offset], "I23: backed up though it may kill its slaves", offset)
        must(grant.attempt == 1, "I23: backed up though it has failed before", offset, grant)

    def lose(self, slave_id: str, blame: bool) -> None:
        """The master takes this slave for dead; `blame`: its fleet has reported that a job may be the cause."""
        self.life.lose(slave_id, blame)

    def leave(self, slave_id: str) -> None:
        """The master has seen this slave leave in good order."""
        self.life.leave(slave_id)

    def abandon(self, job: AbandonedJob) -> None:
        """The master writes this job down as failed."""
        life, offset, payload = self.life, job.offset, self.source.payload(job.offset)
        self.abandoned[payload] = job
        must(offset not in life.heard_done, "I12: abandoned after a success was reported", offset)
        must(offset not in life.abandoned, "I12: abandoned twice", offset)
        life.abandoned.add(offset)
        if job.kind in BLAMED:
            self._check_blame(job)
        if job.kind == "killed":
            alone = life.isolated_deaths[offset]
            must(alone >= self.attempts, "I11: blamed for deaths of others", offset, alone)
        if job.kind in BLAMED or job.kind == "killed":
            must(job.attempts == self.attempts, "I11: abandoned too early or too late", job)
            must(job.batch is not None, "I12: abandoned without its payload", job)
        must(job.cursor == self.source.resume_at(offset), "another job's cursor", job)

    def _check_blame(self, job: AbandonedJob) -> None:
        newest = self.life.newest.get(job.offset)
        named = newest is not None and (self.names.get(newest.slave_id), newest.attempt) == (job.holder, job.attempts)
        must(named, "I12: abandoned because of a late failure", job, newest)
        assert newest is not None
        heard = (newest.slave_id, job.offset, job.attempts)
        must(heard in self.life.heard_failed, "I12: abandoned without a failure", job)

    # -- what is done

    def start(self, payload: int, offset: int, slave_id: str, life: int, attempt: int) -> None:
        """A handler is called, for a lease that the master number `life` granted."""
        start, before = Start(slave_id, life, attempt), self._starts.setdefault(payload, [])
        for one in before:
            self._explain(one, start, offset)
        before.append(start)

    def undo_start(self, payload: int, slave_id: str, life: int, attempt: int) -> None:
        """The call raised, and had other jobs as well."""
        self._starts[payload].remove(Start(slave_id, life, attempt))

    def _explain(self, before: Start, start: Start, offset: int) -> None:
        if before.life != start.life:
            later = self.lives[max(before.life, start.life)]
            right = offset >= later.first or offset in later.again
            must(right, "I9: run again below the checkpoint", offset, before, start)
            settled = offset in self.lives[before.life].heard_done
            self.replays["settled since the last checkpoint" if settled else "in flight at a crash"] += 1
        elif before.attempt != start.attempt:
            self.replays["retried"] += 1
        else:
            gone = self.lives[start.life].gone
            lost = before.slave_id in gone or start.slave_id in gone
            backed_up = self._was_backed_up(before, start, offset)
            must(lost or backed_up, "I14: run twice without a reason", offset, before, start)
            self.replays["lease lost" if lost else "backed up"] += 1

    def _was_backed_up(self, before: Start, start: Start, offset: int) -> bool:
        """Whether one of the two slaves had it second; or the earlier one failed while another had it, and lost it."""
        life = self.lives[start.life]
        seconds = life.copies.get((offset, start.attempt), set())
        failed = (before.slave_id, offset, start.attempt) in life.heard_failed
        return bool(seconds & {before.slave_id, start.slave_id}) or (bool(seconds) and failed)

    def done(self, payload: int) -> None:
        """A handler returned."""
        self.executed[payload] += 1

    def is_executed(self, offset: int) -> bool:
        return self.source.payload(offset) in self.executed

    def is_accounted(self, offset: int) -> bool:
        payload = self.source.payload(offset)
        return payload in self.executed or payload in self.abandoned

    # -- what must hold

    def check(self, window: Window, dispatcher: Dispatcher) -> None:
        """After each of a master's steps."""
        left = self._check_places(window)
        self._check_settled(window, left)
        must(window.head - window.watermark <= self.size, "I3: the span is too long", window.head, window.watermark)
        must(window.head <= self.source.length, "more jobs than the source has")
        self._check_cursor(window)
        for offset, slave_id in backups_of(window).items():
            known = self.life.backups.get(offset)
            must(known is not None and known.slave_id == slave_id, "I23: whose backup is it?", offset, slave_id, known)
        must(len(chunks_of(window)) <= self.size, "I8: more chunks than jobs")
        must(settled_above(window).count_of_runs <= self.size, "I8: more runs than jobs")

    def _check_places(self, window: Window) -> set[int]:
        left: set[int] = set()
        life, spent = self.life, self.life.spent
        for chunk in chunks_of(window):
            must(chunk.suspicion.isolated_deaths < self.attempts, "I11: it outlived more deaths than it may", chunk)
            for first, count in chunk.left:
                must(chunk.first <= first and first + count <= chunk.end, "I5: not its jobs", chunk)
                here = range(first, first + count)
                must(left.isdisjoint(here), "I5: a job is in two places", first, count)
                left.update(here)
                for offset in here:
                    charged, found = chunk.suspicion.deaths, life.charges[offset]
                    must(charged <= found, "I17: charged without evidence", offset, charged, found)
                    must(life.proofs[offset] < self.attempts, "I11: it outlived its proof", offset, life.proofs[offset])
                    must(found <= self.attempts + SEARCH_DEATHS, "I11: it was not singled out", offset, found)
                if chunk.attempt > 1:
                    most = max(spent.get(offset, 0) for offset in here)
                    must(chunk.attempt <= most + 1, "I12: an attempt was spent by a late failure", chunk)
        return left

    def _check_settled(self, window: Window, left: set[int]) -> None:
        life = self.life
        left = self._check_again(left, window.again)
        before = life.left.union(range(life.head, window.head))
        never = [offset for offset in before - left if not self.is_accounted(offset)]
        passed = [offset for offset in left if offset < window.watermark]
        must(not passed, "I2: the watermark passed unsettled jobs", passed)
        must(not never, "I1: settled, but neither executed nor abandoned", never)
        must(left <= before, "I5: what was settled is back", left - before)
        lowest = min(left, default=window.head)
        must(window.watermark == lowest, "the watermark lags", window.watermark, lowest)
        must(len(left) + window.again == window.in_flight, "in flight is miscounted", left, window.in_flight)
        life.left, life.head = left, window.head

    def _check_again(self, left: set[int], known: int) -> set[int]:
        """Returns the others: those of the source."""
        life = self.life
        again = {offset for offset in left if offset < life.first}
        gone = {offset for offset in life.left_again - again if offset in life.newest}
        must(again <= life.again, "I21: tried again without having failed", again - life.again)
        must(gone <= life.heard_done | life.abandoned, "I21: tried again and forgotten", gone)
        must(again.isdisjoint(life.heard_done | life.abandoned), "I5: what was settled is back", again)
        must(len(again) == known, "in flight is miscounted", again, known)
        life.left_again = again
        return left - again

    def _check_cursor(self, window: Window) -> None:
        point = window.resume_point(0.0)
        if point.cursor is not NO_CURSOR:
            must(point.cursor == self.source.resume_at(point.offset - 1), "the cursor is another job's", point)

    def check_agent(self, agent: Agent) -> None:
        """Besides the window, it may run in vain what others have settled."""
        most = self.size + max(agent.prefetch.slots, MOST_SLOTS * batch_of(agent))
        must(agent.held.count_of_runs <= most, "I8: more runs than jobs", agent.held)
