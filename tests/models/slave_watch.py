"""Sees everything that the slaves of a world do: writes it to the trace and holds it against the promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.broken import must
from models.oracle import Oracle
from models.scheduler import Scheduler, loud
from models.source import offset_of
from models.trace import Trace
from models.witness import decoded_reply

from taskmaster import defaults
from taskmaster.core import slave_effects
from taskmaster.core.wire import Frames, Poll
from taskmaster.slave.job_batch import Work
from taskmaster.slave.pools.batches import BatchExecution
from taskmaster.slave.pools.sequential import SequentialExecution

if TYPE_CHECKING:
    from models.watched_slave import WatchedSlave


class SlaveWatch:
    """The watcher of all slaves."""

    def __init__(self, scheduler: Scheduler, oracle: Oracle, trace: Trace, counts: Counter[str]) -> None:
        self.scheduler = scheduler
        self.oracle = oracle
        self.trace = trace
        self.counts = counts
        self._raised_alone: set[tuple[str, int, int]] = set()  # slave, offset, attempt

    def asks(self, slave: WatchedSlave, frames: Frames) -> None:
        poll = slave.requests.sends(frames)
        self._check_charges(slave, poll)
        if slave.requests.times_sent == 2:
            self.trace.note(slave.slave_id, f"repeats request {poll.seq}")
        self.oracle.check_agent(slave.agent)

    def is_answered(self, slave: WatchedSlave, frames: Frames) -> None:
        slave.answered = decoded_reply(frames)
        if slave.answered.seq == slave.requests.newest:
            slave.answered_at = self.scheduler.now

    def obeys(self, slave: WatchedSlave, orders: Sequence[slave_effects.Effect]) -> None:
        for order in orders:
            if isinstance(order, slave_effects.Enqueue):
                slave.requests.uses(slave.answered)
                self.trace.note(slave.slave_id, f"takes the jobs of reply {slave.answered.seq}")
            elif isinstance(order, slave_effects.Exit):
                self._leaves(slave)
            elif not isinstance(order, (slave_effects.Request, slave_effects.Rebuild)):
                self.trace.note(slave.slave_id, type(order).__name__)

    def _leaves(self, slave: WatchedSlave) -> None:
        self.trace.note(slave.slave_id, "leaves")
        patient = self.scheduler.now - slave.answered_at > defaults.LEAVING_SECONDS - 0.1
        must(slave.agent.quiet or patient, "I16: a slave leaves with work left", slave.agent.held)

    def takes(self, slave: WatchedSlave, work: Work) -> None:
        """Into its pool: for the first time under this master, or cut anew."""
        if work.epoch not in slave.lives:
            who = (slave.answered.run, slave.answered.epoch)
            slave.lives[work.epoch] = max(at for at, life in enumerate(self.oracle.lives)
                                          if (life.run, life.epoch) == who)

    @loud
    def starts(self, slave: WatchedSlave, work: SequentialExecution, payload: int) -> None:
        """A handler is called; `payload` tells whose job it is."""
        offset = work.first + work.started - 1
        must(offset == offset_of(payload), "a job with another's payload", offset, payload)
        self.trace.note(slave.slave_id, f"starts {offset} (attempt {work.attempt})")
        self.oracle.start(payload, offset, slave.slave_id, slave.lives[work.epoch], work.attempt)

    @loud
    def starts_batch(self, slave: WatchedSlave, work: BatchExecution, payloads: Sequence[int]) -> None:
        """A handler is called with these jobs."""
        offsets = [job.offset for job in work.current_job()]
        must(offsets == list(map(offset_of, payloads)), "jobs with others' payloads", offsets, payloads)
        self.trace.note(slave.slave_id, f"starts {offsets} (attempt {work.attempt})")
        for offset, payload in zip(offsets, payloads):
            self.oracle.start(payload, offset, slave.slave_id, slave.lives[work.epoch], work.attempt)

    def raised_in_batch(self, slave: WatchedSlave, work: BatchExecution, payloads: Sequence[int]) -> None:
        """That call has raised. Unless it had one job alone, they are called again, here or, after a drain, elsewhere.
        """
        if len(payloads) == 1:
            self._raised_alone.add((slave.slave_id, offset_of(payloads[0]), work.attempt))
            return
        self.counts["halved"] += 1
        for payload in payloads:
            self.oracle.undo_start(payload, slave.slave_id, slave.lives[work.epoch], work.attempt)

    def _check_charges(self, slave: WatchedSlave, poll: Poll) -> None:
        for one in poll.failed if slave.batch is not None else ():
            alone = one.kind != "raised" or (slave.slave_id, one.offset, one.attempt) in self._raised_alone
            must(alone, "I24: it was charged for what a call with others raised", one)

    @loud
    def ends(self, slave: WatchedSlave, payload: int) -> None:
        self.counts["handled"] += 1
        self.oracle.done(payload)
