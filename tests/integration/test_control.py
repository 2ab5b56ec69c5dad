"""The control thread's looks at what runs, with a pool of the test's own."""

from __future__ import annotations

import pickle
import threading
from typing import Any, cast

import pytest

from taskmaster import defaults
from taskmaster.core.agent import Agent, Load, Patience
from taskmaster.core.runs import Runs
from taskmaster.core.wire import FailedAttempt, Lease
from taskmaster.slave.backlog import Backlog
from taskmaster.slave.control import Control
from taskmaster.slave.outcomes import Outcomes
from taskmaster.slave.pools.base import Execution, Progress, RunningJob
from taskmaster.slave.pools.sequential import SequentialExecution
from taskmaster.slave.slice import Slice
from taskmaster.slave.watch import Watch
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.waker import Waker


class Pool:
    """Runs nothing by itself: what has begun and ended is what the test says."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.wake_below = 0
        self.queue: list[Slice] = []
        self.begun: list[Execution] = []
        self.over: list[Execution] = []
        self.stacks: list[int] = []  # offsets that a stack was asked of
        self.can_cancel = False
        self.cancelled: list[FailedAttempt] = []
        self.to_blame: set[int] | None = None  # None: whichever is asked about

    @property
    def busy(self) -> int:
        return len(self.begun)

    @property
    def idle(self) -> int:
        return max(0, self.slots - len(self.begun))

    @property
    def waiting(self) -> int:
        return len(self.queue)

    def put(self, work: Slice) -> None:
        self.queue.append(work)

    def running(self) -> list[Execution]:
        return self.begun

    def ended(self) -> list[Execution]:
        over, self.over = self.over, []
        return over

    def take_back(self) -> list[Slice]:
        taken, self.queue = self.queue, []
        return taken

    def stack_of(self, execution: Execution, offset: int) -> str:
        self.stacks.append(offset)
        return "where it is"

    def cancel(self, execution: Execution, failure: FailedAttempt) -> bool:
        self.cancelled += [failure] if self.can_cancel else []
        return self.can_cancel

    def is_to_blame(self, execution: Execution, offset: int) -> bool:
        return self.to_blame is None or offset in self.to_blame

    def resize(self, slots: int) -> None:
        self.slots = slots

    def close(self) -> None:
        self.slots = 0


class Concurrent:
    """An execution that runs all of its jobs at once, and ends them in the order that the test says."""

    def __init__(self, work: Slice, now: float) -> None:
        self.epoch = work.epoch
        self.attempt = work.attempt
        self.count = work.count
        self.unstarted = 0
        self._since = {work.first + index: now for index in range(work.count)}
        self._news = Runs()
        self._seconds = 0.0

    def end(self, offset: int, now: float) -> None:
        self._seconds += now - self._since.pop(offset)
        self._news.add(offset, 1)

    def look(self, now: float) -> Progress:
        news, seconds = list(self._news), self._seconds
        self._news, self._seconds = Runs(), 0.0
        return Progress(news, [], seconds, [RunningJob(*job) for job in self._since.items()])

    def take_back(self) -> Slice | None:
        return None


class Parts:
    """An agent that holds the first `held` jobs, and what stands between it and a pool."""

    def __init__(self, pool: Pool, job_timeout: float | None = None, held: int = 100) -> None:
        self.pool = pool
        self.agent = Agent("s", pool.slots, {}, Patience(), 0.0)
        self.agent.held = Runs([(0, held)] if held else [])
        self.outcomes = Outcomes(self.agent)
        self.backlog = Backlog(self.agent, pool, self.outcomes)
        self.watch = Watch(self.agent, pool, self.backlog, self.outcomes, job_timeout)

    @property
    def reported(self) -> Any:
        """What the next request carries."""
        self.agent._reports.collect()
        return self.agent._reports


class Stepped:
    """An execution in a thread of its own, whose jobs end one by one when the test says so."""

    def __init__(self, work: Slice) -> None:
        self._begun, self._go = threading.Semaphore(0), threading.Semaphore(0)
        self.execution = SequentialExecution(work, 0.0)
        threading.Thread(target=self.execution.run, args=(self._handle, lambda: 0.0), daemon=True).start()
        assert self._begun.acquire(timeout=5)

    def _handle(self, job: int) -> None:
        self._begun.release()
        self._go.acquire()

    def finish_one_and_begin_the_next(self) -> None:
        self._go.release()
        assert self._begun.acquire(timeout=5)


def test_a_job_at_each_look_is_seen_to_be_slow() -> None:
    """One job of 50 ms between two looks 50 ms apart said nothing: forty more stayed behind it in their thread."""
    parts, stepped = Parts(Pool(), held=0), Stepped(Slice(0, 0, 1, list(range(40))))
    parts.pool.begun = [stepped.execution]
    duration = parts.agent.job_duration
    duration.observe(1_000_000, 1.0)
    for number in range(1, 5):
        parts.watch.look(number * 0.05)
        if parts.pool.queue:
            break
        stepped.finish_one_and_begin_the_next()
    assert duration.guess is not None and duration.guess > 0.01
    assert stepped.execution.count <= 4 and sum(work.count for work in parts.pool.queue) >= 36


def test_a_job_that_has_only_begun_says_nothing_of_how_long_it_takes() -> None:
    """A job of a second that began 0.2 ms before a look was taken for one of 0.2 ms, and others waited behind it."""
    parts = Parts(Pool())
    parts.pool.begun = [Stepped(Slice(0, 0, 1, [0])).execution]
    parts.agent.job_duration.observe(1, 1.0)
    parts.watch.look(0.0002)
    assert parts.agent.job_duration.guess == 1.0


def test_jobs_that_run_at_once_and_end_in_any_order_settle_as_they_end() -> None:
    """A pool of coroutines or greenlets needs no other seam."""
    parts = Parts(Pool(slots=5))
    work = Concurrent(Slice(0, 0, 1, list(range(5))), 0.0)
    parts.backlog.jobs, parts.pool.begun = 5, [work]
    work.end(3, 0.2)
    work.end(0, 0.1)
    parts.watch.look(1.0)
    assert parts.reported.done == ((0, 1), (3, 1)) and parts.outcomes.handled == 2
    assert parts.agent.job_duration.guess == pytest.approx(0.15 + 0.3 * (1.0 - 0.15)), "the oldest still runs"
    for offset in (4, 1, 2):
        work.end(offset, 1.2)
    parts.pool.begun, parts.pool.over = [], [work]
    parts.watch.collect(1.2)
    assert parts.reported.done == ((0, 5),) and parts.outcomes.handled == 5 and parts.backlog.jobs == 0


def test_a_job_that_runs_for_too_long_fails_once_and_its_slave_drains() -> None:
    parts = Parts(Pool(slots=3), job_timeout=1.0)
    work = Concurrent(Slice(0, 7, 2, ["a", "b", "c"]), 0.0)
    parts.backlog.jobs, parts.pool.begun = 3, [work]
    parts.backlog.enqueue(Lease(20, 2, 1, "json", b"[1, 2]"), 0.0)
    work.end(8, 0.1)
    parts.watch.look(0.5)
    assert not parts.watch.hung
    for now in (1.0, 2.0, 3.0):
        parts.watch.look(now)
    failures = parts.reported.failures
    assert [(one.offset, one.attempt, one.kind) for one in failures] == [(7, 2, "timeout"), (9, 2, "timeout")]
    assert {failed.traceback for failed in failures} == {"where it is"} and parts.pool.stacks == [7, 9]
    assert parts.watch.hung and parts.agent.state == "drain"
    assert not parts.pool.queue and 20 not in parts.agent.held, "what waits goes to others"


def test_where_jobs_can_be_cancelled_the_slave_stays() -> None:
    parts = Parts(Pool(slots=3), job_timeout=1.0)
    parts.pool.can_cancel = True
    work = Concurrent(Slice(0, 7, 2, ["a", "b"]), 0.0)
    parts.backlog.jobs, parts.pool.begun = 2, [work]
    for now in (0.9, 1.0, 1.5):
        parts.watch.look(now)
    assert [(one.offset, one.kind) for one in parts.pool.cancelled] == [(7, "timeout"), (8, "timeout")], "once each"
    for offset in (7, 8):
        work.end(offset, 1.6)
    parts.watch.look(3.0)
    assert not parts.watch.hung and parts.agent.state == "run"


def test_a_slave_whose_jobs_do_not_end_when_cancelled_is_replaced_and_only_the_cause_has_failed() -> None:
    parts = Parts(Pool(slots=3), job_timeout=1.0)
    parts.pool.can_cancel, parts.pool.to_blame = True, {8}
    work = Concurrent(Slice(0, 7, 2, ["a", "b", "c"]), 0.0)
    parts.backlog.jobs, parts.pool.begun = 3, [work]
    for now in (1.0, 1.0 + defaults.CANCEL_SECONDS, 2.5 + defaults.CANCEL_SECONDS):
        parts.watch.look(now)
    assert len(parts.pool.cancelled) == 3
    assert [one.offset for one in parts.reported.failures] == [8]
    assert parts.watch.hung and parts.agent.state == "drain"
    assert 7 not in parts.agent.held and 9 not in parts.agent.held, "they go to others, uncharged"


def test_a_slice_that_was_just_taken_is_not_taken_for_one_that_hangs() -> None:
    """Between the taking of a slice and its first job, it was said to run since the machine was started."""
    parts = Parts(Pool(), job_timeout=1.0)
    parts.pool.begun = [SequentialExecution(Slice(0, 0, 1, [0]), 1000.0)]
    parts.watch.look(1000.5)
    assert not parts.watch.hung


def test_jobs_that_need_the_users_code_are_left_to_the_pool() -> None:
    """Unpickled here, twenty jobs of half a second were ten seconds without a renewal of the leases."""
    parts = Parts(Pool())
    sealed = [pickle.dumps(object), b"no pickle", pickle.dumps(2)]
    parts.backlog.enqueue(Lease(5, 3, 1, "pickles", pickle.dumps(sealed)), 0.0)
    assert [part for work in parts.pool.queue for part in work.payloads] == sealed
    assert all(work.sealed for work in parts.pool.queue)
    assert not parts.reported.failures and parts.backlog.jobs == 3


def test_a_lease_with_another_number_of_jobs_than_it_says_fails_whole() -> None:
    parts = Parts(Pool())
    parts.backlog.enqueue(Lease(5, 3, 1, "json", b"[1, 2]"), 0.0)
    assert not parts.pool.queue and parts.backlog.jobs == 0
    assert [failed.offset for failed in parts.reported.failures] == [5, 6, 7]


def test_cancelled_jobs_are_taken_out_of_what_waits() -> None:
    parts = Parts(Pool(slots=20))
    parts.backlog.enqueue(Lease(0, 10, 1, "json", b"[0,1,2,3,4,5,6,7,8,9]"), 0.0)
    parts.backlog.rebalance(1.0, Runs([(2, 3), (9, 5)]))
    waiting = [(work.first, work.payloads[0]) for work in parts.pool.queue]
    assert waiting == [(offset, offset) for offset in (0, 1, 5, 6, 7, 8)] and parts.backlog.jobs == 6
    assert not parts.agent.held.inside(2, 3) and parts.agent.held.inside(0, 2)


class Scripted(Pool):
    """A pool of which a slice ends while nobody waits for it, and a dialer that shows whether its end was seen."""

    address = "scripted"

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[bool] = []  # at each wait: whether all that ended had been collected
        self.register = self.send = self.clear = lambda *args: None

    @property
    def waiting(self) -> int:
        return 9

    def end(self, work: Slice) -> None:
        execution = SequentialExecution(work, 0.0)
        execution.run(lambda job: None, lambda: 0.0)
        self.over.append(execution)

    def wait(self, seconds: float) -> None:
        self.waited.append(not self.over)

    def receive(self) -> None:
        return None

    def returned(self) -> bool:
        return False


def test_what_ended_while_an_answer_was_due_is_collected_before_the_next_wait() -> None:
    """Its end wakes nobody then: looked at only after the wait, a settled job was reported 50 ms late."""
    scripted = Scripted()
    scripted.wake_below = 1
    agent = Agent("s", 1, {}, Patience(), 0.0)
    control: Any = Control(agent, cast(Dialer, scripted), scripted, cast(Waker, scripted), lambda: 0.0)
    agent.tick(Load(queued=0, idle=0), 10.0)  # a heartbeat, which the master does not hold back
    control._await(0.0)
    assert scripted.wake_below == 0 and scripted.waited == [True]
    agent._request.answered(10.0)
    control._backlog.jobs = 1
    scripted.end(Slice(0, 0, 1, [0]))
    control._await(0.0)
    assert scripted.wake_below == 5 and scripted.waited == [True], "it waited with a slice to collect"
    control._collect(0.0)
    control._await(0.0)
    assert scripted.waited == [True, True] and control._backlog.jobs == 0


@pytest.mark.parametrize("held", [0, 1])
def test_a_slave_that_is_to_end_asks_once_more_only_if_it_holds_something(held: int) -> None:
    """It overtook the request whose answer was the order to stop. Then nobody was left to answer, and it waited until
    its fleet killed it, at the end of most runs."""
    scripted = Scripted()
    agent = Agent("s", 1, {}, Patience(), 0.0)
    agent.epoch, agent.held = 1, Runs([(7, held)] if held else [])
    control: Any = Control(agent, cast(Dialer, scripted), scripted, cast(Waker, scripted), lambda: 0.0)
    control._drains = 1
    control._collect(0.0)
    assert agent.state == "drain" and agent._reports.pending == (held > 0)
