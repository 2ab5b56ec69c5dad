"""The slave's decisions as conversations: what happens in its pool, what it is answered, what it says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.agent_talk import BUSY, FULL, IDLE, INFO, Talk

from taskmaster import defaults
from taskmaster.core.agent import Agent, Load, Patience
from taskmaster.core.codec import GoodJobs, encode
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Send
from taskmaster.core.slave_effects import Cancel, DiscardAll, Drain, Effect, Enqueue, Exit, Rebuild, Request
from taskmaster.core.window import Window
from taskmaster.core.wire import FailedAttempt

SOON = defaults.REPORT_SECONDS_IDLE
LATE = defaults.REPORT_SECONDS


# -- asking


def test_it_introduces_itself_until_a_master_has_answered() -> None:
    talk = Talk()
    first = talk.asks()
    assert (first.run, first.epoch, first.seq, first.want, first.info) == ("", 0, 1, 4, INFO)
    assert talk.answer("reset") == [], "there is nothing to forget yet"
    second = talk.asks()
    assert (second.run, second.epoch, second.seq, second.info) == ("r", 4, 2, INFO)
    talk.answer()
    assert talk.asks().info == {}


def test_a_restarted_master_is_told_who_it_is() -> None:
    """It knew only the names of slaves that had never had another master."""
    talk = Talk()
    talk.holding((0, 4))
    talk.asks(seconds=9)
    talk.epoch += 1
    talk.answer("reset")
    assert talk.asks().info == INFO


def test_it_wants_twice_as_many_each_time_as_long_as_jobs_are_quick() -> None:
    talk, wants, offset = Talk(threads=4), [], 0
    poll = talk.join()
    for _ in range(5):
        wants.append(poll.want)
        talk.answer("jobs", (offset, poll.want))
        talk.agent.job_duration.observe(poll.want, poll.want * 1e-6)
        talk.settle(offset, poll.want)
        offset += poll.want
        poll = talk.asks(seconds=SOON)
    assert wants == [4, 8, 16, 32, 64]


def test_it_wants_more_each_time_though_half_is_settled_before_each_answer() -> None:
    """It asked for half of its target, held only that when it came, and so for ever wanted eight jobs at a time."""
    talk, wants, offset = Talk(threads=4), [], 4
    talk.holding((0, 4))
    talk.agent.job_duration.observe(4, 4e-6)
    for _ in range(5):
        half = len(talk.agent.held) // 2
        talk.settle(offset - 2 * half, half)
        poll = talk.asks(BUSY, seconds=LATE)
        wants.append(poll.want)
        talk.settle(offset - half, half)
        talk.answer("jobs", (offset, poll.want))
        offset += poll.want
    assert wants == sorted(wants) and wants[-1] >= 8 * wants[0]


def test_slow_jobs_are_asked_for_one_a_thread() -> None:
    talk = Talk(threads=4)
    talk.holding((0, 4))
    talk.agent.job_duration.observe(1, 10.0)
    talk.settle(0)
    assert talk.asks(Load(0, 1), seconds=SOON).want == 1


def test_it_asks_for_as_many_jobs_as_it_runs_at_once_by_now_and_says_so_from_then_on() -> None:
    talk = Talk(threads=4)
    assert (talk.join().slots, talk.agent.prefetch.target()) == (0, 4)
    talk.answer()
    talk.agent.prefetch.resize(9)
    poll = talk.asks(seconds=SOON)
    assert (poll.slots, poll.want) == (9, 9)
    talk.answer()
    talk.agent.prefetch.resize(4)
    assert talk.asks(seconds=SOON).slots == 4, "the master would take it for nine"


@pytest.mark.parametrize("held, asks", [(104, False), (64, False), (54, True), (14, True), (4, True)])
def test_it_asks_for_more_when_half_of_what_waits_is_gone(held: int, asks: bool) -> None:
    talk = Talk(threads=4)
    talk.holding((0, 204))
    talk.settle(held, 204 - held)
    talk.agent.job_duration.observe(100, 100 * 4 * 0.05 / 100)  # 100 jobs behind the threads are 50 ms of work
    assert talk.agent.prefetch.target() == 104
    assert bool(talk.tick(Load(held - 4, 0))) == asks


@pytest.mark.parametrize("size, asks", [(100, False), (defaults.LEASE_BYTES, True)])
def test_less_than_it_wanted_is_all_there_is_unless_the_bytes_were_too_many(size: int, asks: bool) -> None:
    talk = Talk(threads=4)
    talk.holding((0, 104))
    talk.settle(0, 100)
    talk.agent.job_duration.observe(100, 100 * 4 * 0.05 / 100)
    talk.asks(BUSY)
    took = talk.answer("jobs", (104, 40), size=size)
    assert talk.agent.prefetch.target() >= 84
    assert [type(effect) for effect in took] == ([Request, Enqueue] if asks else [Enqueue]), "asked first"
    talk.settle(100, 24)
    assert bool(talk.tick(BUSY)) != asks, "one request is under way already, or half is gone now"


def test_it_does_not_ask_again_at_once_when_there_was_nothing() -> None:
    talk = Talk()
    talk.join()
    talk.answer("wait", wait_ms=20)
    assert talk.tick() == [] and talk.agent.next_due(IDLE) == pytest.approx(talk.now + 0.02)
    assert talk.asks(seconds=0.021).want == 4


@pytest.mark.parametrize("load, held_back", [(IDLE, True), (BUSY, False), (Load(4, 4), False)])
def test_only_an_idle_slave_lets_its_request_be_held(load: Load, held_back: bool) -> None:
    talk = Talk()
    talk.holding((0, 2))
    assert (talk.asks(load, seconds=9).wait_ms > 0) == held_back
    assert (talk.agent.wake_below(9) == 0) != held_back, "nothing can be said before an answer that is not held"
    talk.answer("wait", wait_ms=20)
    assert talk.agent.wake_below(9) == 5


def test_one_request_is_under_way_at_a_time() -> None:
    talk = Talk()
    talk.holding((0, 3))
    talk.settle(0)
    talk.asks(Load(2, 0), seconds=LATE)
    talk.settle(1)
    assert talk.tick(IDLE, seconds=1.0) == []
    assert talk.answer("wait") == [] and talk.asks(IDLE).done == ((1, 1),)


# -- reporting


def test_it_reports_at_once_when_idle_and_gathers_when_busy() -> None:
    talk = Talk()
    talk.holding((0, 4))
    talk.settle(0)
    assert talk.tick(FULL, seconds=SOON) == []
    talk.settle(1)
    assert talk.tick(FULL, seconds=LATE - 2 * SOON) == []
    poll = talk.asks(FULL, seconds=2 * SOON)
    assert (poll.done, poll.held, poll.wait_ms) == (((0, 2),), ((2, 2),), 0)
    talk.answer()
    talk.settle(2)
    assert talk.asks(Load(0, 1), seconds=SOON).done == ((2, 1),)


def test_a_held_request_is_overtaken_by_news() -> None:
    talk = Talk()
    talk.holding((0, 2))
    parked = talk.asks(Load(0, 1), seconds=5.0)
    assert parked.wait_ms and talk.tick(Load(0, 1), seconds=0.5) == []
    talk.settle(0)
    newer = talk.asks(Load(0, 2), seconds=SOON)
    assert (newer.seq, newer.done) == (parked.seq + 1, ((0, 1),))
    assert talk.answer("jobs", (9, 1), seq=parked.seq) == [] and 9 not in talk.agent.held


def test_a_request_is_not_overtaken_while_its_answer_may_be_on_its_way() -> None:
    """300 slaves joined, a master took 18 ms for an answer, and by then half of them had lost the jobs in it."""
    talk = Talk()
    talk.asks()
    talk.now += 0.018
    talk.answer("reset")
    talk.asks()
    talk.answer("jobs", (0, 2))
    assert talk.asks(Load(0, 2)).wait_ms
    talk.settle(0)
    assert talk.tick(Load(0, 3), seconds=0.035) == []
    assert talk.asks(Load(0, 3), seconds=0.002).done == ((0, 1),)


def test_what_an_overtaken_request_said_is_said_again() -> None:
    talk = Talk()
    talk.holding((0, 4))
    talk.settle(0)
    talk.fail(1)
    talk.asks(Load(0, 2), seconds=SOON)
    talk.settle(2)
    poll = talk.asks(Load(0, 3), seconds=SOON)
    assert poll.done == ((0, 1), (2, 1)) and [failed.offset for failed in poll.failed] == [1]
    talk.answer()
    assert (talk.asks(Load(0, 3), seconds=9).done, talk.agent._reports.failures) == ((), ())


def test_it_renews_its_leases_while_nothing_happens() -> None:
    talk = Talk()
    talk.holding((0, 104))
    assert talk.tick(FULL, seconds=defaults.HEARTBEAT_SECONDS - 1) == []
    assert talk.asks(FULL, seconds=1).held == ((0, 104),)


def test_the_master_sets_the_pace_of_renewals() -> None:
    talk = Talk()
    talk.join()
    talk.answer("jobs", (0, 104), heartbeat_ms=200)
    assert talk.agent.next_due(FULL) == pytest.approx(talk.now + 0.2)


def test_failures_that_do_not_fit_a_report_follow_in_the_next_and_are_held_until_then() -> None:
    """The master took back what was neither listed nor reported, and the failure came too late to count."""
    talk, most = Talk(), defaults.REPORT_FAILURES
    talk.holding((0, most + 6))
    for offset in range(most + 6):
        talk.fail(offset)
    first = talk.asks(seconds=SOON)
    assert [one.offset for one in first.failed] == list(range(most)) and first.held == ((most, 6),)
    talk.answer()
    second = talk.asks()
    assert [one.offset for one in second.failed] == list(range(most, most + 6)) and second.held == ()


def test_long_texts_of_failures_are_spread_over_reports() -> None:
    talk = Talk()
    talk.holding((0, 30))
    for offset in range(30):
        talk.fail(offset, text="x" * 10_000)
    reports = []
    while not talk.agent.quiet:
        reports.append([one.offset for one in talk.asks(seconds=SOON).failed])
        talk.answer()
    assert [len(report) for report in reports] == [10, 10, 10] and sum(reports, []) == list(range(30))


def test_every_failure_counts_however_many_there_are_at_once() -> None:
    """A thousand failures in one lease: each job is attempted as often as it may be, and no more."""
    master, agent = Dispatcher(Window(0, 1000, 1 << 20, 2), "r", 4), Agent("s", 1000, INFO, Patience(), 0.0)
    [good] = encode(list(range(1000)), "pickle", 1 << 20)
    assert isinstance(good, GoodJobs)
    now = 0.0
    attempted = fail_all(agent, master.admit(good.batch, None, now), now)
    while not master.settled and now < 60:
        now += 0.01
        attempted += fail_all(agent, master.tick(now), now)
        for asked in agent.tick(Load(0, 1000), now):
            assert isinstance(asked, Request)
            attempted += fail_all(agent, master.receive((b"s", b""), asked.frames, now), now)
    assert (attempted, master.counts.failed, master.counts.returned) == (2000, 1000, 0)


def fail_all(agent: Agent, replies: Sequence[object], now: float) -> int:
    """The agent gets these replies, and what jobs they bring fail at once; returns how many."""
    effects = [agent.receive(one.frames, IDLE, now) for one in replies if isinstance(one, Send)]
    leases = [lease for one in sum(effects, []) if isinstance(one, Enqueue) for lease in one.leases]
    for lease in leases:
        for offset in range(lease.first, lease.first + lease.count):
            agent.failed(agent.epoch, FailedAttempt(offset, lease.attempt, "raised", "", "no", ""), now)
    return sum(lease.count for lease in leases)


def test_what_was_given_back_is_neither_held_nor_reported() -> None:
    talk = Talk()
    talk.holding((0, 4))
    talk.agent.returned(talk.agent.epoch, 2, 2, talk.now)
    poll = talk.asks(seconds=SOON)
    assert (poll.held, poll.done, poll.failed) == (((0, 2),), (), ())
    talk.settle(3)
    talk.answer()
    assert talk.tick(FULL, seconds=LATE) == [] and not talk.agent._reports._done, "it is no longer its business"


# -- dropping and ending


def test_it_is_told_what_others_have_settled() -> None:
    talk = Talk()
    talk.holding((0, 4))
    talk.asks(seconds=9)
    assert talk.answer("wait", drop=((1, 2),)) == [Cancel(((1, 2),))]
    assert len(talk.agent.held) == 4, "until the backlog says which of them had not been started"


def test_a_slave_that_ends_does_not_wait_for_what_others_have_settled() -> None:
    talk = Talk()
    talk.holding((0, 2))
    talk.asks(seconds=9)
    talk.answer("stop", reason="all jobs are done", drop=((1, 1),))
    assert talk.tick(BUSY) == []
    poll = talk.asks(BUSY, seconds=SOON)
    assert (poll.state, poll.held) == ("drain", ((0, 1),))
    talk.answer("stop", drop=((0, 1),))
    assert talk.tick(BUSY) == []
    assert talk.asks(BUSY, seconds=SOON).state == "bye"
    talk.settle(0)
    assert talk.answer("stop", reason="goodbye") == [Exit()], "what still runs does not count"


def test_asked_to_end_it_speaks_up_if_it_is_busy() -> None:
    talk = Talk()
    talk.holding((0, 1))
    assert talk.tick(BUSY) == []
    talk.agent.drain()
    talk.agent.speak_up(talk.now)
    assert talk.asks(BUSY, seconds=SOON).state == "drain"


def test_an_idle_slave_that_is_asked_to_end_awaits_the_answer_that_dismisses_it() -> None:
    """At the end of a run it had asked again meanwhile, and waited for a master that was gone, until it was killed."""
    talk = Talk()
    talk.join()
    talk.agent.drain()
    talk.agent.speak_up(talk.now)
    assert talk.tick(IDLE, seconds=SOON) == []
    assert talk.answer("stop", reason="all jobs are done") == [Exit()]


def test_what_it_is_given_anew_is_worth_waiting_for() -> None:
    talk = Talk()
    talk.holding((0, 1))
    talk.asks(seconds=9)
    talk.answer("wait", drop=((0, 1),))
    talk.asks(seconds=9)
    talk.answer("jobs", (0, 1))
    talk.agent.drain()
    assert talk.asks(BUSY, seconds=9).held == ((0, 1),)


def test_draining_it_asks_for_nothing_reports_at_once_and_says_goodbye() -> None:
    talk = Talk()
    talk.holding((0, 2))
    talk.agent.drain()
    assert talk.tick(BUSY) == []
    talk.settle(0)
    poll = talk.asks(BUSY, seconds=SOON)
    assert (poll.state, poll.want, poll.done, poll.held) == ("drain", 0, ((0, 1),), ((1, 1),))
    talk.answer()
    talk.settle(1)
    poll = talk.asks(IDLE, seconds=SOON)
    assert (poll.state, poll.done, poll.held) == ("bye", ((1, 1),), ())
    assert not talk.agent.quiet, "the master has not heard it yet"
    assert talk.answer("stop", reason="goodbye") == [Exit()] and talk.agent.quiet


def test_an_idle_slave_that_drains_says_goodbye_at_once() -> None:
    talk = Talk()
    talk.join()
    talk.answer()
    talk.agent.drain()
    assert talk.asks().state == "bye"


def test_goodbye_to_another_master_is_said_again() -> None:
    talk = Talk()
    talk.holding((0, 1))
    talk.agent.drain()
    talk.settle(0)
    assert talk.asks(seconds=SOON).state == "bye"
    talk.epoch = 5
    assert talk.answer("stop", reason="goodbye") == [DiscardAll()]
    poll = talk.asks()
    assert (poll.state, poll.epoch, poll.done) == ("bye", 5, ())
    assert talk.answer("stop", reason="goodbye") == [Exit()]


def test_jobs_that_come_to_a_slave_that_ends_go_to_others_lest_they_wait_behind_a_hung_thread() -> None:
    talk = Talk()
    talk.join()
    talk.agent.drain()
    assert talk.answer("jobs", (0, 2)) == []
    assert talk.asks(seconds=SOON).state == "bye"


def test_a_slave_that_ends_says_at_once_that_it_takes_no_more_than_it_has() -> None:
    talk = Talk()
    talk.holding((0, 1))
    talk.asks()
    talk.agent.drain()
    assert talk.answer("jobs", (1, 2)) == []
    poll = talk.asks(BUSY, seconds=SOON)
    assert (poll.state, poll.held) == ("drain", ((0, 1),))


def test_told_to_stop_with_nothing_in_hand_it_leaves() -> None:
    talk = Talk()
    talk.join()
    assert talk.answer("stop", reason="done") == [Exit()]


def test_told_to_stop_it_gives_back_finishes_reports_and_leaves() -> None:
    talk = Talk()
    talk.holding((0, 4))
    talk.asks(seconds=9)
    assert talk.answer("stop", reason="interrupted") == [Drain("interrupted")]
    talk.agent.returned(talk.agent.epoch, 1, 3, talk.now)
    poll = talk.asks(BUSY, seconds=SOON)
    assert (poll.state, poll.held) == ("drain", ((0, 1),))
    talk.answer("stop", reason="interrupted")
    talk.settle(0)
    poll = talk.asks(seconds=SOON)
    assert (poll.state, poll.done) == ("bye", ((0, 1),))
    assert talk.answer("stop", reason="interrupted") == [Exit()]


def test_a_master_that_has_said_stop_need_not_be_waited_for_long() -> None:
    talk = Talk()
    talk.holding((0, 1))
    talk.asks(seconds=9)
    talk.answer("stop", reason="interrupted")
    talk.settle(0)
    talk.asks(seconds=SOON)
    effects: list[Effect] = []
    while not effects or isinstance(effects[-1], (Request, Rebuild)):
        effects += talk.tick(seconds=0.5)
    assert effects[-1] == Exit() and talk.now < 100 + 9 + 1 + defaults.LEAVING_SECONDS


def test_a_request_that_cannot_tell_every_failure_is_not_held() -> None:
    """Held, it would be overtaken every 2 ms by one that tells the same 64: a handler that always raises stalled."""
    talk = Talk()
    most = defaults.REPORT_FAILURES
    talk.holding((0, most + 1))
    for offset in range(most + 1):
        talk.fail(offset)
    assert talk.asks(IDLE, seconds=SOON).wait_ms == 0


def test_no_jobs_are_asked_for_while_failures_queue_up() -> None:
    talk = Talk()
    most = defaults.REPORT_FAILURES
    talk.holding((0, 3 * most))
    for offset in range(3 * most):
        talk.fail(offset)
    assert talk.asks(IDLE, seconds=SOON).want == 0
    talk.answer()
    talk.asks(IDLE, seconds=SOON)
    talk.answer()
    assert talk.asks(IDLE, seconds=SOON).want > 0


def test_a_slave_that_is_told_to_end_does_not_wait_long_for_a_master_that_is_gone() -> None:
    talk = Talk(patience=Patience(2.0, 60))
    talk.holding((0, 4))
    talk.asks(IDLE, seconds=9)
    talk.agent.drain()
    effects: list[object] = []
    started = talk.now
    while Exit() not in effects:
        effects = list(talk.tick(IDLE, seconds=1.0))
    assert talk.now - started < defaults.LEAVING_SECONDS + 10


@pytest.mark.parametrize("timeout", [0.1, 0.3, 2.0, 60.0])
def test_an_idle_slave_with_a_short_timeout_does_not_take_a_held_request_for_a_lost_one(timeout: float) -> None:
    """With --timeout 300 it left its connection each second, though its master was well and had no work."""
    talk = Talk(patience=Patience(timeout, 60))
    parked = talk.join()
    assert 0 < parked.wait_ms <= 1000 * min(timeout, defaults.PARK_SECONDS)
    assert talk.tick(IDLE, seconds=0.9 * parked.wait_ms / 1000) == []


def test_a_slave_whose_connection_was_made_again_speaks_at_once() -> None:
    """It waited for its timeout or its next heartbeat, and its master gave it up: its long jobs ran twice."""
    talk = Talk()
    talk.join()
    asked = talk.agent._request.seq
    assert talk.tick(seconds=0.5) == []
    talk.agent.reconnected()
    assert talk.asks().seq == asked and talk.tick() == []
    talk.answer("jobs", (0, 4))
    assert talk.tick(BUSY, seconds=0.5) == []
    talk.agent.reconnected()
    assert talk.asks(BUSY).held == ((0, 4),)


def test_it_knows_whether_it_was_told_to_stop_or_wanted_to() -> None:
    told, wanted = Talk(), Talk()
    told.join()
    told.answer("stop")
    wanted.join()
    wanted.agent.drain()
    wanted.answer("stop")
    assert (told.agent.dismissed, wanted.agent.dismissed) == (True, False)
