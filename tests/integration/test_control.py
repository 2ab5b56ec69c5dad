"""The control thread's looks at what runs, with a pool of the test's own."""

from __future__ import annotations

import threading
from typing import Any, cast

from taskmaster.core.agent import Agent, Load, Patience
from taskmaster.slave.control import Control
from taskmaster.slave.pools.threads import Pool
from taskmaster.slave.slice import Slice
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.waker import Waker


class OneThread:
    """A pool that runs one slice, job by job, as it is told to."""

    threads = 1

    def __init__(self, work: Slice) -> None:
        self.work = work
        self.waiting: list[Slice] = []
        self._begun, self._go = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=work.run, args=(self._handle, lambda: 0.0), daemon=True).start()
        assert self._begun.acquire(timeout=5)

    def _handle(self, job: int) -> None:
        self._begun.release()
        self._go.acquire()

    def finish_one_and_begin_the_next(self) -> None:
        self._go.release()
        assert self._begun.acquire(timeout=5)

    def running(self) -> list[Slice]:
        return [self.work]

    def put(self, work: Slice) -> None:
        self.waiting.append(work)

    def take_back(self) -> list[Slice]:
        waiting, self.waiting = self.waiting, []
        return waiting


def test_a_job_at_each_look_is_seen_to_be_slow() -> None:
    """One job of 50 ms between two looks 50 ms apart said nothing: forty more stayed behind it in their thread."""
    work = Slice(0, 0, 1, list(range(40)))
    pool = OneThread(work)
    agent = Agent("s", 1, {}, Patience(), 0.0)
    agent.pace.observe(1_000_000, 1.0)
    control = Control(agent, cast(Dialer, None), cast(Pool, pool), cast(Waker, None), lambda: 0.0)
    look: Any = control._watch
    for number in range(1, 5):
        look(number * 0.05)
        if pool.waiting:
            break
        pool.finish_one_and_begin_the_next()
    assert agent.pace.guess is not None and agent.pace.guess > 0.01
    assert work.count <= 4 and sum(one.count for one in pool.waiting) >= 36


def test_a_job_that_has_only_begun_says_nothing_of_how_long_it_takes() -> None:
    """A job of a second that began 0.2 ms before a look was taken for one of 0.2 ms, and others waited behind it."""
    work = Slice(0, 0, 1, [0])
    pool = OneThread(work)
    agent = Agent("s", 1, {}, Patience(), 0.0)
    agent.pace.observe(1, 1.0)
    control = Control(agent, cast(Dialer, None), cast(Pool, pool), cast(Waker, None), lambda: 0.0)
    look: Any = control._watch
    look(0.0002)
    assert agent.pace.guess == 1.0


class Scripted:
    """A pool of which a slice ends while nobody waits for it, and a dialer that shows whether its end was seen."""

    threads = 1
    address = "scripted"

    def __init__(self) -> None:
        self.awaited = 0
        self.waiting = 9
        self.waited: list[bool] = []  # at each wait: whether all that ended had been collected
        self._ended: list[Slice] = []
        self.put = self.register = self.send = self.clear = lambda *args: None

    def end(self, work: Slice) -> None:
        work.run(lambda job: None, lambda: 0.0)
        self._ended.append(work)

    def running(self) -> list[Slice]:
        return []

    def ended(self) -> list[Slice]:
        ended, self._ended = self._ended, []
        return ended

    def wait(self, seconds: float) -> None:
        self.waited.append(not self._ended)

    def receive(self) -> None:
        return None

    def returned(self) -> bool:
        return False


def test_what_ended_while_an_answer_was_due_is_collected_before_the_next_wait() -> None:
    """Its end wakes nobody then: looked at only after the wait, a settled job was told of 50 ms late."""
    scripted: Any = Scripted()
    agent = Agent("s", 1, {}, Patience(), 0.0)
    control: Any = Control(agent, scripted, scripted, scripted, lambda: 0.0)
    agent.tick(Load(queued=0, idle=0), 10.0)  # a heartbeat, which the master does not hold back
    assert agent.answer_is_due
    control._await(0.0)
    assert scripted.awaited < 0 and scripted.waited == [True]
    agent._asked = None  # the answer came
    control._in_pool = 1
    scripted.end(Slice(0, 0, 1, [0]))
    control._await(0.0)
    assert scripted.awaited == 4 and scripted.waited == [True], "it waited with a slice to collect"
    control._collect(0.0)
    control._await(0.0)
    assert scripted.waited == [True, True] and control._in_pool == 0
