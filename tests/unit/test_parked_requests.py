"""Requests that wait at the master for work, as conversations: who is answered, when, and with how much."""

from __future__ import annotations

import pytest
from support.dispatcher_talk import Talk, runs, sent

from taskmaster import defaults
from taskmaster.core.master_effects import Send
from taskmaster.core.results import Results
from taskmaster.core.roster import Roster
from taskmaster.core.session import Session
from taskmaster.core.wire import Poll


def test_a_parked_request_is_answered_when_work_arrives() -> None:
    talk = Talk()
    assert talk.park("a") == []
    [reply] = sent(talk.admit(4))
    assert (reply.kind, reply.seq, runs(reply)) == ("jobs", 1, [(0, 2)])
    assert sent(talk.pass_by(2.0)) == [], "and only once"


def test_who_waited_longest_is_fed_first() -> None:
    talk = Talk()
    talk.park("a")
    talk.park("b")
    assert [reply.slave_id for reply in sent(talk.admit(1))] == ["a"]


def test_what_one_gives_back_feeds_another() -> None:
    talk = Talk(jobs=1)
    talk.ask("a", want=1)
    talk.park("b")
    assert [(reply.slave_id, runs(reply)) for reply in sent(talk.say("a"))] == [("a", []), ("b", [(0, 1)])]


def test_what_one_gives_back_is_not_all_for_one() -> None:
    """Jobs that had turned slow went from slave to slave, each of which wanted thousands of quick ones, for 0.4 s."""
    talk = Talk(jobs=40)
    talk.ask("a", want=10_000)
    for slave_id in ("b", "c", "d"):
        talk.say(slave_id, want=10_000, wait_ms=1000)
    shares = [sum(count for _, count in runs(reply)) for reply in sent(talk.say("a", held=()))]
    assert shares == [0, 5, 5, 4]


def test_a_parked_request_that_is_overtaken_is_answered_no_more() -> None:
    talk = Talk()
    talk.park("a")
    [reply] = sent(talk.say("a", want=10))
    assert (reply.kind, reply.seq) == ("wait", 2)
    assert sent(talk.admit(4)) == []


def test_a_parked_request_that_comes_again_still_waits() -> None:
    talk = Talk()
    talk.park("a")
    assert talk.park("a", seq=1, peer="a, rebuilt") == []
    [effect] = talk.admit(1)
    assert isinstance(effect, Send) and effect.route[0] == b"a, rebuilt"


def test_a_parked_request_is_ended_by_time() -> None:
    talk = Talk()
    talk.park("a")
    assert sent(talk.pass_by(defaults.PARK_SECONDS - 0.125)) == []
    assert talk.master.next_due(talk.now) == talk.now + 0.125
    assert [reply.kind for reply in sent(talk.pass_by(0.125))] == ["wait"]
    assert sent(talk.pass_by(0.1)) == []


def test_those_that_wait_end_together_in_rounds() -> None:
    """A thousand idle slaves had the master turn a thousand times a second."""
    talk, turns, waited, parked = Talk(), 0, [], {}
    for number in range(100):
        talk.park(f"slave{number}")
        parked[f"slave{number}"] = talk.now
        talk.now += 0.0007
    while len(waited) < 100 and turns < 100:
        turns += 1
        replies = sent(talk.pass_by(talk.master.next_due(talk.now) - talk.now))
        waited += [talk.now - parked[reply.slave_id] for reply in replies if reply.kind == "wait"]
    assert turns <= 5 and len(waited) == 100
    assert all(0 <= seconds - defaults.PARK_SECONDS < 0.04 for seconds in waited)


def test_all_that_can_be_served_are_though_one_that_cannot_waits_in_front() -> None:
    talk = Talk(jobs=1)
    for slave_id in ("x", "y"):
        talk.ask(slave_id, want=1)
        talk.kill(slave_id)
    assert talk.ask("suspect's", want=1) == [(0, 1)]
    talk.park("suspect's", held=((0, 1),))
    others = [f"slave{number:02}" for number in range(30)]
    for slave_id in others:
        talk.park(slave_id)
    assert [reply.slave_id for reply in sent(talk.admit(10)) + sent(talk.admit(60))] == others


def test_a_request_that_does_not_want_to_wait_is_answered_at_once() -> None:
    talk = Talk()
    assert [reply.wait_ms > 0 for reply in sent(talk.say("a", want=3))] == [True]
    assert [reply.wait_ms > 0 for reply in sent(talk.say("a"))] == [False], "it did not ask for jobs"


def test_nothing_new_is_handed_out_while_holding() -> None:
    talk = Talk(jobs=4)
    talk.master.hold(True)
    assert talk.park("a") == [] and talk.pass_by(0.1) == []
    talk.master.hold(False)
    assert [reply.kind for reply in sent(talk.pass_by(0.1))] == ["jobs"]


def test_a_throttle_spreads_the_jobs_and_wakes_whom_it_made_wait() -> None:
    talk, gone = Talk(jobs=100, rate=10), 0
    talk.say("a")
    for _ in range(20):
        gone += sum(count for _, count in talk.ask("a", want=100, held=((0, 100),)))
        talk.now += 0.11
    assert gone == 20
    talk.ask("a", want=100, held=((0, 100),))
    talk.park("a", held=((0, 100),))
    due = talk.master.next_due(talk.now)
    assert talk.now < due < talk.now + 0.11
    assert [reply.kind for reply in sent(talk.pass_by(due - talk.now + 0.001))] == ["jobs"]


@pytest.mark.parametrize("rate", [None, 10.0])
def test_a_throttle_that_lets_jobs_through_is_no_reason_to_wake_at_once(rate: float | None) -> None:
    """The loop span at full speed while a run with --rate was held."""
    talk = Talk(jobs=4, rate=rate)
    talk.master.hold(True)
    talk.park("a")
    assert talk.master.next_due(talk.now) > talk.now + 0.5


def test_the_results_of_a_parked_request_are_not_kept_with_it() -> None:
    """They are half a megabyte, which each idle slave would hold in the master's memory."""
    slaves, session = Roster(), Session("a")
    slaves.add(session)
    slaves.park(session, Poll("r", 1, "a", 1, want=1, done=((0, 1),), results=(Results(0, 1, b"1\n"),)), 5.0)
    [(_, kept)] = slaves.parked()
    assert (kept.want, kept.done, kept.results) == (1, (), ())
