"""A message that is being transferred is life: what a slave and a master conclude from the bytes of a connection."""

from __future__ import annotations

import pytest
from support import dispatcher_talk
from support.agent_talk import IDLE, Talk

from taskmaster import defaults
from taskmaster.core.agent import Patience
from taskmaster.core.job_duration import JobDuration
from taskmaster.core.prefetch_target import PrefetchTarget
from taskmaster.core.slave_effects import MasterLost, Rebuild, Request
from taskmaster.core.transfer import LinkPace, Transfer

TIMEOUT = Patience().timeout
MEGABIT = 125_000.0  # bytes a second


def moved(received: int, confirmed: int = 300, sending: bool = False, trip: float = 0.04) -> Transfer:
    return Transfer(received, confirmed, sending, trip)


class Line(Talk):
    """An agent whose request went out over a connection that had received 1,000 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.join()
        self.agent.sent(moved(1000))

    def looks(self, transfer: Transfer | None, seconds: float) -> list[object]:
        """What it does, as long as `seconds` have passed."""
        self.now += seconds
        if self.agent.doubts(IDLE, self.now):
            self.agent.carried(transfer, self.now)
        return list(self.agent.tick(IDLE, self.now))


def test_an_answer_of_eight_megabytes_over_a_slow_line_is_waited_for() -> None:
    """It was asked for again after two seconds, which threw away what had come, and so for ever."""
    line = Line()
    for second in range(1, 70):
        assert line.looks(moved(1000 + second * 120_000), 1.0) == []
    assert line.answer("jobs", (0, 1))


def test_a_pause_in_the_middle_of_an_answer_is_waited_for_too() -> None:
    line = Line()
    assert line.looks(moved(500_000), TIMEOUT) == []
    assert line.looks(moved(500_000), defaults.STALL_SECONDS - 0.1) == []
    assert isinstance(line.looks(moved(500_000), 0.2)[0], Request)


def test_a_report_that_is_leaving_is_no_silence() -> None:
    line = Line()
    line.agent.sent(moved(1000, 300, sending=True))
    for second in range(1, 30):
        assert line.looks(moved(1000, 300 + second * 25_000, sending=True), 1.0) == []


@pytest.mark.parametrize("transfer", [moved(1000), moved(1000, 900), moved(1000, 300, sending=True), None])
def test_a_master_that_sends_nothing_is_asked_again_in_time(transfer: Transfer | None) -> None:
    """Also where its kernel has confirmed the request, as that of a stopped process does."""
    line = Line()
    asked = []
    while not asked or not isinstance(asked[-1], MasterLost):
        asked += line.looks(transfer, TIMEOUT)
        line.agent.sent(transfer)
    assert len(asked) == Patience().retries and any(isinstance(one, Rebuild) for one in asked)


def test_a_connection_that_was_made_again_is_no_answer() -> None:
    line = Line()
    line.agent.reconnected()
    line.agent.sent(moved(0))
    assert line.looks(moved(0), 0.1) and line.looks(moved(0), TIMEOUT)


def test_a_report_does_not_overtake_an_answer_that_is_arriving() -> None:
    """The request can be held by the master, so it may be overtaken; but then the jobs that are half here are lost."""
    talk = Talk()
    talk.holding((0, 2))
    talk.agent.job_duration.observe(1, 1.0)
    talk.asks()
    talk.agent.sent(moved(1000))
    talk.settle(0)
    for tick in range(1, 20):
        talk.now += 0.5
        if talk.agent.doubts(IDLE, talk.now):
            talk.agent.carried(moved(1000 + tick * defaults.ARRIVING_BYTES), talk.now)
        assert talk.agent.tick(IDLE, talk.now) == []
    talk.answer("jobs", (2, 2))
    assert talk.asks(seconds=1.0).done == ((0, 1),)


@pytest.mark.parametrize("received", [1000, 1200])
def test_a_report_overtakes_a_request_that_the_master_holds(received: int) -> None:
    """A few bytes may be the answer to an earlier request."""
    talk = Talk()
    talk.holding((0, 2))
    talk.asks()
    talk.agent.sent(moved(1000))
    talk.settle(0)
    talk.now += 0.1
    talk.agent.carried(moved(received), talk.now)
    assert talk.asks().done == ((0, 1),)


# -- how much to ask for at once


def test_a_lease_is_what_the_line_carries_in_two_seconds() -> None:
    pace = LinkPace()
    assert not pace.is_slow
    pace.observe(400_000, 400_000 / (1.6 * MEGABIT))
    assert pace.is_slow and pace.most == pytest.approx(1.6 * MEGABIT * defaults.LINK_SECONDS)


@pytest.mark.parametrize("trip", [0.0, 0.2, 0.5, 1.0])
def test_it_settles_at_a_size_that_fills_the_line_whatever_the_round_trip(trip: float) -> None:
    pace = LinkPace()
    for _ in range(30):
        size = int(pace.most)
        pace.observe(size, trip + size / (1.6 * MEGABIT))
    assert size / (1.6 * MEGABIT) == pytest.approx(defaults.LINK_SECONDS - trip, rel=0.05)


def test_a_fast_line_and_small_answers_bound_nothing() -> None:
    pace = LinkPace()
    pace.observe(1 << 20, 0.005)
    pace.observe(5, defaults.PARK_SECONDS)
    assert not pace.is_slow


def test_a_line_that_was_slow_once_is_measured_again() -> None:
    pace = LinkPace()
    pace.observe(1 << 20, 1000.0)
    for _ in range(5):
        pace.observe(int(pace.most), 0.001)
    assert not pace.is_slow


def test_a_slave_on_a_slow_line_asks_for_less_at_once_and_again_as_soon_as_that_is_here() -> None:
    prefetch = PrefetchTarget(8, JobDuration())
    assert prefetch.most_at_once() > 1 << 30
    prefetch.received(80, 400_000, 80, 400_000 / (1.6 * MEGABIT))
    assert prefetch.most_at_once() == 80
    prefetch.received(80, 400_000, 80, 400_000 / (1.6 * MEGABIT))
    assert prefetch.cut_short
    prefetch.received(1, 8 << 20, 1, 8.4)
    assert prefetch.most_at_once() == 1


# -- at the master


def silent_for(seconds: float, *looks: Transfer) -> dispatcher_talk.Talk:
    """A slave with a job is not heard for so long, while the master takes these looks at its connection."""
    talk = dispatcher_talk.Talk(10)
    talk.say("a")
    talk.ask("a")
    for look in looks:
        talk.now += seconds / len(looks)
        for peer in talk.master.quiet_peers(talk.now):
            talk.master.carried(peer, look, talk.now)
        talk.master.tick(talk.now)
    return talk


def test_a_slave_is_alive_while_its_lease_is_on_the_way() -> None:
    looks = [moved(0, second * 10_000, sending=True) for second in range(60)]
    assert silent_for(5 * defaults.LEASE_LIFE_SECONDS, *looks).master.slaves == 1


def test_a_slave_is_alive_while_its_report_comes_in() -> None:
    looks = [moved(second * 10_000) for second in range(60)]
    assert silent_for(5 * defaults.LEASE_LIFE_SECONDS, *looks).master.slaves == 1


@pytest.mark.parametrize("look", [moved(7, 9000, sending=True), moved(7, 9000, sending=False)])
def test_a_slave_whose_connection_is_still_for_the_life_of_a_lease_is_dead(look: Transfer) -> None:
    looks = [look] * 60
    assert silent_for(1.1 * defaults.LEASE_LIFE_SECONDS + 1.0, *looks).master.slaves == 0


def test_only_slaves_that_are_not_heard_are_looked_at() -> None:
    talk = dispatcher_talk.Talk(10)
    talk.say("a")
    talk.say("b")
    talk.now += defaults.QUIET_SECONDS + 1
    talk.say("b")
    assert talk.master.quiet_peers(talk.now) == [b"a"]
