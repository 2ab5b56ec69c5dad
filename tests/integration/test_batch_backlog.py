"""Between a lease and a batch: when calls begin, what waits, what a hung call costs; with a pool of the test's own."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from taskmaster import defaults
from taskmaster.core.agent import Agent, Patience
from taskmaster.core.runs import Runs
from taskmaster.core.wire import FailedAttempt, Lease
from taskmaster.slave.backlog import Backlog
from taskmaster.slave.job_batch import JobBatch, Work
from taskmaster.slave.outcomes import Outcomes
from taskmaster.slave.pools.batches import BatchExecution
from taskmaster.slave.watch import Watch

FILL = defaults.BATCH_FILL_SECONDS


class Pool:
    """Begins and ends a call when the test says so."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.wake_below = 0
        self.queue: list[Any] = []
        self.begun: list[BatchExecution] = []
        self.over: list[BatchExecution] = []
        self.can_cancel = False

    @property
    def idle(self) -> int:
        return self.slots - len(self.begun)

    @property
    def waiting(self) -> int:
        return len(self.queue)

    def put(self, work: Work) -> None:
        assert isinstance(work, JobBatch)
        self.queue.append(work)

    def running(self) -> list[BatchExecution]:
        return self.begun

    def ended(self) -> list[BatchExecution]:
        over, self.over = self.over, []
        return over

    def take_back(self) -> list[Any]:
        taken, self.queue = self.queue, []
        return taken

    def stack_of(self, execution: BatchExecution, offset: int) -> str:
        return "where it is"

    def cancel(self, execution: BatchExecution, failure: FailedAttempt) -> bool:
        return self.can_cancel and execution.time_out(failure, 0.0)

    def is_to_blame(self, execution: BatchExecution, offset: int) -> bool:
        return True

    def begin(self, now: float) -> BatchExecution:
        execution = BatchExecution(self.queue.pop(0))
        execution.begin(now)
        self.begun.append(execution)
        return execution

    def end(self, execution: BatchExecution, now: float, error: BaseException | None = None) -> None:
        execution.end(0, now, error)
        while error is not None and execution.begin(now) is not None:  # halves, which return
            assert execution._call is not None
            execution.end(execution._call.index, now)
        self.begun.remove(execution)
        self.over.append(execution)


class Parts:
    """An agent and what stands between it and a pool."""

    def __init__(self, batch: int = 10, slots: int = 1, job_timeout: float | None = None) -> None:
        self.pool: Any = Pool(slots)
        self.agent = Agent("s", batch * slots, {}, Patience(), 0.0, batch)
        self.outcomes = Outcomes(self.agent)
        self.backlog = Backlog(self.agent, self.pool, self.outcomes, batch)
        self.watch = Watch(self.agent, self.pool, self.backlog, self.outcomes, job_timeout)

    def lease(self, first: int, count: int, now: float, attempt: int = 1) -> None:
        self.agent.held.add(first, count)
        jobs = ",".join(map(str, range(first, first + count)))
        self.backlog.enqueue(Lease(first, count, attempt, "json", f"[{jobs}]".encode()), now)

    @property
    def waiting(self) -> list[list[int]]:
        """The batches that wait in the pool."""
        return [work.offsets((0, work.count)) for work in self.pool.queue]

    @property
    def reported(self) -> Any:
        self.agent._reports.collect()
        return self.agent._reports


def test_a_full_batch_goes_to_the_pool_at_once_and_the_rest_waits_a_while() -> None:
    parts = Parts()
    parts.lease(0, 7, 1.0)
    assert not parts.waiting and parts.backlog.due == 1.0 + FILL
    parts.lease(50, 5, 1.01)
    assert parts.waiting == [[*range(7), 50, 51, 52]] and parts.backlog.load.queued == 12
    parts.pool.begin(1.01)
    assert (parts.backlog.load.queued, parts.backlog.load.idle, parts.backlog.running) == (2, 0, 10)
    parts.backlog.fill(9.0)
    assert not parts.waiting and parts.backlog.due == inf, "no slot is free: more may come until one is"
    parts.pool.end(parts.pool.begun[0], 9.0)
    parts.watch.collect(9.0)
    assert parts.backlog.due == 1.01 + FILL and parts.backlog.load.idle == 10
    parts.backlog.fill(9.0)
    assert parts.waiting == [[53, 54]] and parts.reported.done == ((0, 7), (50, 3))


def test_a_batch_that_is_not_full_takes_a_slot_of_its_own_only_if_one_is_free() -> None:
    parts = Parts(slots=2)
    parts.lease(0, 10, 1.0)
    parts.lease(20, 10, 1.0)
    parts.lease(40, 1, 1.0)
    parts.backlog.fill(2.0)
    assert len(parts.waiting) == 2, "both slots will take a full one"
    parts.pool.begin(2.0)
    parts.backlog.fill(2.0)
    assert len(parts.waiting) == 1


@pytest.mark.parametrize("state", ["drain", "bye"])
def test_when_nothing_more_will_come_what_is_there_is_handled_at_once(state: str) -> None:
    parts = Parts()
    parts.lease(0, 3, 1.0)
    parts.lease(7, 1, 1.0, attempt=2)
    parts.agent.state = state
    parts.backlog.fill(1.0)
    assert parts.waiting == [[0, 1, 2], [7]] and parts.backlog.due == inf


def test_what_waits_for_a_full_batch_is_given_back_in_a_drain_and_when_cancelled() -> None:
    parts = Parts()
    parts.lease(0, 14, 1.0)
    parts.backlog.rebalance(1.0, Runs([(2, 4), (12, 1)]))
    assert not parts.waiting and parts.backlog.load.queued == 9, "9 of 10 are left, which are no full batch"
    assert parts.backlog.jobs == 9 and not parts.agent.held.inside(2, 4)
    parts.backlog.return_all(1.0)
    assert parts.backlog.jobs == 0 and not parts.agent.held and not parts.waiting and parts.backlog.due == inf


def test_a_call_that_hangs_in_a_thread_fails_all_its_jobs_and_the_next_attempt_is_in_smaller_calls() -> None:
    """Nothing can tell which of them it is, and no call of them can be ended."""
    parts = Parts(batch=9, job_timeout=1.0)
    parts.lease(0, 9, 0.0)
    parts.pool.begin(0.0)
    for now in (0.5, 1.0, 2.0):
        parts.watch.look(now)
    assert [(one.offset, one.kind, one.attempt) for one in parts.reported.failures] == [
        (offset, "timeout", 1) for offset in range(9)]
    assert parts.watch.hung and parts.agent.state == "drain" and not parts.agent.held
    other = Parts(batch=9)
    other.lease(0, 9, 0.0, attempt=2)
    assert other.waiting == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    other.lease(20, 2, 0.0, attempt=3)
    assert other.waiting[3:] == [[20], [21]]


def test_where_a_call_can_be_ended_none_of_its_jobs_has_failed() -> None:
    parts = Parts(batch=4, job_timeout=1.0)
    parts.pool.can_cancel = True
    parts.lease(0, 4, 0.0)
    execution = parts.pool.begin(0.0)
    parts.watch.look(1.0)
    assert not parts.reported.failures and not parts.watch.hung
    execution.end(0, 1.1, TimeoutError())
    execution.begin(1.1)  # a half, whose first job is that of the whole: it has a timeout of its own
    parts.watch.look(2.0)
    parts.watch.look(1.1 + defaults.CANCEL_SECONDS)
    assert not parts.watch.hung and not parts.reported.failures


def test_time_lost_by_a_call_that_raised_counts_for_its_jobs() -> None:
    parts = Parts(batch=2)
    parts.lease(0, 2, 0.0)
    execution = parts.pool.begin(0.0)
    parts.pool.end(execution, 1.0, ValueError())
    parts.watch.collect(1.0)
    assert parts.agent.job_duration.guess == 1.0 and parts.reported.done == ((0, 2),)
