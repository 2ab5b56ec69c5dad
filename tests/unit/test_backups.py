"""At the end of a run, jobs that take long are also given to a slave that is idle: when, to whom, and what follows."""

from __future__ import annotations

import pytest
from support.dispatcher_talk import Talk, buried, runs, sent
from support.values import failed_attempt as failure

from taskmaster import defaults
from taskmaster.core.backup_policy import limit_of
from taskmaster.core.master_effects import Effect
from taskmaster.core.wire import Reply

LONG = defaults.BACKUP_SECONDS + defaults.BACKUP_LOOK_SECONDS


class Tail(Talk):
    """Slave a has job 0 and has done job 1 in no time; the source has no more."""

    def __init__(self, attempts: int = 3, rate: float | None = None, backups: bool = True) -> None:
        super().__init__(2, attempts=attempts, rate=rate, backups=backups)
        self.ask("a", want=1)
        self.ask("a", want=1, held=((0, 1),))
        self.say("a", done=((1, 1),), held=((0, 1),))
        self.master.window.pulled_all = True

    def back_up(self) -> None:
        """Job 0 is given to slave b."""
        self.park("b")
        assert offered(self.pass_by(LONG)) == ["b"]


def offered(effects: list[Effect]) -> list[str]:
    """The slaves that these effects give job 0."""
    return [reply.slave_id for reply in sent(effects) if runs(reply) == [(0, 1)]]


def last(effects: list[Effect]) -> Reply:
    return sent(effects)[-1]


# -- when, and to whom


def test_a_job_that_is_out_for_long_is_also_given_to_an_idle_slave() -> None:
    tail = Tail()
    tail.park("b")
    assert offered(tail.pass_by(0.9)) == []
    assert tail.master.next_due(tail.now) <= tail.now + defaults.BACKUP_LOOK_SECONDS
    assert offered(tail.pass_by(0.2)) == ["b"]
    assert tail.master.window.leased("a") == 1, "the first slave keeps it"


def test_an_idle_slave_that_asks_later_is_given_it_at_once() -> None:
    tail = Tail()
    tail.pass_by(LONG)
    assert tail.ask("b") == [(0, 1)]


def test_only_once_and_never_to_the_slave_that_has_it() -> None:
    tail = Tail()
    tail.park("a", held=((0, 1),))
    assert offered(tail.pass_by(LONG)) == []
    assert tail.ask("b") == [(0, 1)]
    tail.pass_by(20 * LONG)
    assert tail.ask("c") == []


def test_a_slave_whose_threads_are_busy_is_not_idle() -> None:
    tail = Tail()
    tail.admit(1)
    assert tail.ask("b") == [(2, 1)]
    tail.pass_by(LONG)
    assert tail.ask("b", held=((2, 1),)) == []
    tail.say("c", info={"threads": 2})
    assert [tail.ask("c", held=held) for held in ((), ((0, 1),), ((0, 1), (2, 1)))] == [[(0, 1)], [(2, 1)], []]


@pytest.mark.parametrize("why", ["source", "ready", "retry", "drain", "hold", "option", "rate"])
def test_not_while_it_would_take_the_place_of_something_else(why: str) -> None:
    tail = Tail(backups=why != "option", rate=0.01 if why == "rate" else None)
    tail.pass_by(LONG)
    if why == "source":
        tail.master.window.pulled_all = False
    elif why == "ready":
        tail.admit(1)
        assert tail.ask("b") == [(2, 1)]
    elif why == "retry":
        tail.admit(1)
        tail.ask("b", want=1)
        tail.say("b", failed=(failure(2),))
    elif why == "drain":
        tail.master.drain()
    elif why == "hold":
        tail.master.hold(True)
    assert tail.ask("c") == ([(0, 1)] if why == "ready" else [])


def test_a_job_that_may_kill_its_slaves_is_not_given_to_two() -> None:
    tail = Tail()
    tail.kill("a")
    assert tail.ask("b") == [(0, 1)]
    tail.pass_by(LONG)
    assert tail.ask("c") == []


def test_a_job_that_has_failed_before_is_not_given_to_two() -> None:
    """What fails each time would run twice in each attempt."""
    tail = Tail()
    tail.say("a", failed=(failure(0),))
    tail.pass_by(10.0)
    assert tail.ask("b") == [(0, 1)]
    tail.pass_by(LONG)
    assert tail.ask("c") == []


def test_long_is_twice_what_others_took_and_nobody_knows_without_them() -> None:
    assert limit_of([]) is None
    assert limit_of([0.1] * 9) == defaults.BACKUP_SECONDS
    assert limit_of([5.0, 1.0, 100.0]) == 2 * 5.0


def test_of_a_lease_the_jobs_that_are_not_done_are_given_out_one_by_one() -> None:
    talk = Talk(8, backups=True)
    assert talk.ask("a") == [(0, 4)]
    assert talk.ask("a", held=((0, 4),)) == [(4, 2)]
    talk.say("a", done=((1, 1), (4, 2)), held=((0, 1), (2, 2)))
    assert talk.ask("b") == [(6, 1)] and talk.ask("b", held=((6, 1),)) == [(7, 1)]
    talk.say("b", done=((6, 2),))
    talk.master.window.pulled_all = True
    talk.pass_by(LONG)
    assert [talk.ask(slave_id) for slave_id in "bcde"] == [[(0, 1)], [(2, 1)], [(3, 1)], []]


# -- what follows


@pytest.mark.parametrize("winner, loser", [("a", "b"), ("b", "a")])
def test_the_first_to_finish_counts_and_the_other_is_told_to_drop_it(winner: str, loser: str) -> None:
    tail = Tail()
    tail.back_up()
    tail.say(winner, done=((0, 1),))
    assert tail.master.settled and tail.master.counts.handled == 2
    assert last(tail.say(loser, held=((0, 1),), want=1)).drop == ((0, 1),)
    tail.say(loser, done=((0, 1),))
    assert (tail.master.counts.handled, tail.master.counts.duplicates) == (2, 1)
    assert (tail.master.window.backups.made, tail.master.window.backups.won) == (1, int(winner == "b"))


@pytest.mark.parametrize("first, second", [("a", "b"), ("b", "a")])
def test_an_attempt_has_failed_when_it_has_failed_on_both(first: str, second: str) -> None:
    tail = Tail(attempts=1)
    tail.back_up()
    assert buried(tail.say(first, failed=(failure(0),))) == []
    assert tail.master.counts.failed == 0 and tail.master.leased == 1
    assert buried(tail.say(second, failed=(failure(0),))) == [0]


@pytest.mark.parametrize("how", ["dies", "leaves", "forgets it"])
@pytest.mark.parametrize("gone, left", [("a", "b"), ("b", "a")])
def test_when_one_is_gone_the_other_has_it_alone(how: str, gone: str, left: str) -> None:
    tail = Tail()
    tail.back_up()
    if how == "dies":
        tail.kill(gone)
    elif how == "leaves":
        tail.say(gone, state="bye")
    else:
        tail.say(gone, held=())
    assert tail.ask("c") == [], "it is not given to a third one"
    assert tail.master.window.leased(left) == 1 and tail.master.window.held(left) == 1
    tail.say(left, done=((0, 1),))
    assert tail.master.settled


def test_the_death_of_either_is_charged() -> None:
    tail = Tail()
    tail.back_up()
    tail.kill("b")
    tail.kill("a")
    [suspect] = tail.master.window._chunks._chunks.values()
    assert suspect.suspicion.isolated


def test_a_job_that_runs_beside_a_backup_was_not_alone() -> None:
    """Its slave may have been killed by either."""
    tail = Tail(attempts=1)
    tail.admit(1)
    for one in ("x", "y"):
        assert tail.ask(one) == [(2, 1)]
        tail.kill(one)
    assert tail.ask("b") == [(2, 1)], "a suspect now"
    tail.master.window.lease_backup(tail.master.window._chunks.at(0), "b", 1, tail.now)  # type: ignore[arg-type]
    assert buried(tail.kill("b")) == []


def test_a_backup_whose_slave_is_back_from_the_dead_is_not_its_own_again() -> None:
    tail = Tail()
    tail.back_up()
    tail.now += defaults.LEASE_LIFE_SECONDS + 1
    tail.say("a", held=((0, 1),))
    tail.pass_by(0.0)
    assert last(tail.say("b", held=((0, 1),), want=1)).drop == ((0, 1),)
    assert tail.master.window.leased("a") == 1


def test_busy_slaves_are_heard_more_often_at_the_end() -> None:
    """So that one that runs in vain learns it before it is waited for."""
    tail = Tail()
    assert last(tail.say("a", held=((0, 1),))).heartbeat_ms == 1000 * defaults.HEARTBEAT_SECONDS, "nobody else is there"
    tail.park("b")
    assert last(tail.say("a", held=((0, 1),))).heartbeat_ms == 1000 * defaults.HEARTBEAT_SECONDS_TAIL
