"""The master's decisions as conversations: what a slave says, when, and what the master does about it."""

from __future__ import annotations

from typing import Any

import pytest
from support.dispatcher_talk import EPOCH, Talk, buried, runs, said, sent
from support.values import failed_attempt as failure

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.codec import BadJob, GoodJobs, encode
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Abandon, Log, Send
from taskmaster.core.runs import Run
from taskmaster.core.stats import Straggler
from taskmaster.core.straggler import straggler
from taskmaster.core.window import Window
from taskmaster.core.wire import DeathReport, Poll, Reply

SILENT = defaults.LEASE_LIFE_SECONDS + 1


# -- joining


def test_a_slave_joins_and_is_told_run_and_epoch() -> None:
    talk = Talk(jobs=4)
    effects = talk.say("a", run="", epoch=0, want=4, info={"host": "box", "pid": 7})
    [reply] = sent(effects)
    assert (reply.run, reply.epoch, reply.kind, reply.seq) == ("r", EPOCH, "reset", 1)
    assert said(effects) == ["slave box:7 joined"] and talk.master.slaves == 1
    assert talk.ask("a", want=4) == [(0, 2)]


@pytest.mark.parametrize("run, epoch", [("r", EPOCH - 1), ("an earlier run", EPOCH), ("", 0)])
def test_what_a_slave_says_of_an_earlier_masters_jobs_is_not_taken(run: str, epoch: int) -> None:
    talk = Talk(jobs=8)
    talk.ask("a", want=8)
    word: dict[str, Any] = {"done": ((0, 8),), "failed": (failure(1),), "held": ((2, 2),)}
    [reply] = sent(talk.say("b", run=run, epoch=epoch, want=4, **word))
    assert reply.kind == "reset"
    assert (talk.master.window.in_flight, talk.master.counts.handled, talk.master.counts.retried) == (8, 0, 0)


# -- requests and answers


def test_the_same_request_gets_the_same_answer_along_its_new_route() -> None:
    talk = Talk(jobs=40)
    [first] = talk.say("a", want=4)
    [again] = talk.say("a", want=4, seq=1, peer="a, rebuilt")
    assert isinstance(first, Send) and isinstance(again, Send)
    assert again.frames == first.frames and again.route[0] == b"a, rebuilt"
    assert talk.master.leased == 4


def test_an_overtaken_request_is_ignored() -> None:
    talk = Talk(jobs=40)
    talk.ask("a", want=4, seq=5)
    assert talk.say("a", want=4, seq=4, done=((0, 4),), peer="elsewhere") == []
    assert talk.master.counts.handled == 0


def test_an_answer_along_the_route_of_the_request() -> None:
    talk = Talk(jobs=1)
    [reply] = talk.say("a", want=1)
    assert isinstance(reply, Send) and reply.route == (b"a", b"7", b"")


@pytest.mark.parametrize("frames", [[], [b""], [b"{}", b""], [b"\xff"] * 2, [b"{", b""], [b"{}", b"", b""]])
def test_garbage_is_counted_and_gets_no_answer(frames: list[bytes]) -> None:
    talk = Talk(jobs=1)
    effects = talk.master.receive((b"x", b""), frames, talk.now)
    assert sent(effects) == [] and talk.master.counts.refused == 1 and talk.master.slaves == 0


def test_a_message_by_no_route_is_garbage() -> None:
    talk = Talk(jobs=1)
    talk.master.receive((), wire.encode_poll(Poll("r", EPOCH, "a", 1)), talk.now)
    assert (talk.master.counts.refused, talk.master.slaves) == (1, 0)


# -- settling


def test_jobs_are_handed_out_settled_and_counted() -> None:
    talk = Talk(jobs=8)
    assert talk.ask("a", want=4) == [(0, 4)] and talk.master.handed_out_to == 4
    assert talk.ask("a", want=4, done=((0, 2),), held=((2, 2),)) == [(4, 2)]
    counts, window = talk.master.counts, talk.master.window
    assert (counts.handled, window.watermark, window.leased("a"), talk.master.settled) == (2, 2, 4, False)


def test_a_lease_whose_answer_was_lost_goes_back_with_the_next_request() -> None:
    talk = Talk(jobs=2)
    assert talk.ask("a", want=2) == [(0, 1)]
    assert talk.ask("a", want=2) == [(0, 1)]
    assert (talk.master.counts.returned, talk.master.counts.retried) == (1, 0)


def test_a_second_holder_is_told_to_drop_what_the_first_settled_after_all() -> None:
    talk = Talk(jobs=4)
    talk.ask("a", want=4)
    talk.pass_by(SILENT)
    assert talk.ask("b", want=4, held=()) == [(0, 2)]
    talk.say("a", done=((0, 2),))
    [reply] = sent(talk.say("b", want=4, wait_ms=1000, held=((0, 2),)))
    assert (reply.kind, reply.drop) == ("wait", ((0, 2),))
    talk.say("b", done=((0, 1),), held=())
    assert (talk.master.counts.handled, talk.master.counts.duplicates) == (2, 1)


def test_what_an_overtaking_request_says_again_is_no_duplicate() -> None:
    talk = Talk(jobs=1)
    talk.ask("a", want=1)
    assert talk.park("a", done=((0, 1),)) == []
    talk.say("a", done=((0, 1),))
    assert (talk.master.counts.handled, talk.master.counts.duplicates) == (1, 0)


def test_a_failed_job_is_retried_and_at_last_buried() -> None:
    talk = Talk(jobs=1, attempts=2)
    talk.ask("a", want=1)
    assert buried(talk.park("a", failed=(failure(0),))) == []
    [reply] = sent(talk.pass_by(0.7))
    assert [lease.attempt for lease in reply.leases] == [2]
    assert buried(talk.say("a", failed=(failure(0, 2),))) == [0]
    assert (talk.master.counts.retried, talk.master.counts.failed, talk.master.settled) == (1, 1, True)


def test_a_job_that_cannot_be_sent_is_buried_at_once() -> None:
    talk = Talk()
    assert buried(talk.master.admit_bad(BadJob(0, "unpicklable", "TypeError", "no"))) == [0]
    assert (talk.master.counts.failed, talk.master.settled) == (1, True)


# -- the end


def test_stop_ends_the_waiting_at_once_and_the_others_as_they_ask() -> None:
    talk = Talk(jobs=2)
    talk.ask("busy", want=2)
    talk.ask("other", want=2)
    talk.park("idle")
    effects = talk.master.stop("it is time")
    [reply] = sent(effects)
    assert (reply.slave_id, reply.kind, reply.reason) == ("idle", "stop", "it is time")
    [reply] = sent(talk.say("busy", want=2, held=((0, 1),)))
    assert (reply.kind, reply.leases, talk.master.slaves) == ("stop", (), 2)
    [reply] = sent(talk.say("busy", state="bye", done=((0, 1),)))
    assert (reply.kind, talk.master.counts.handled, talk.master.slaves) == ("stop", 1, 1)
    talk.say("other")
    assert (talk.master.slaves, talk.master.window.ready) == (0, 1)


def test_one_that_is_told_to_stop_while_it_waits_is_no_slave_any_more() -> None:
    """The master waited two seconds at the end of each run for goodbyes that never come."""
    talk = Talk()
    talk.park("idle")
    talk.master.stop("done")
    assert talk.master.slaves == 0


def test_goodbye_settles_gives_back_and_makes_no_suspects() -> None:
    talk = Talk(jobs=8)
    talk.ask("a", want=4)
    effects = talk.say("a", state="bye", done=((0, 1),), held=((1, 3),))
    assert [reply.kind for reply in sent(effects)] == ["stop"] and said(effects) == ["slave a left"]
    window = talk.master.window
    assert (window.watermark, window.ready, talk.master.slaves, talk.master.counts.deaths) == (1, 7, 0, 0)
    [reply] = sent(talk.say("a", state="bye", seq=2))
    assert reply.kind == "stop", "its answer was lost, and it says it again"


def test_goodbye_to_a_master_that_never_knew_it() -> None:
    talk = Talk()
    assert [reply.kind for reply in sent(talk.say("a", run="", epoch=0, state="bye"))] == ["stop"]
    assert talk.master.slaves == 0


def test_who_drains_gets_nothing_new() -> None:
    talk = Talk(jobs=8)
    assert talk.ask("a", want=4, state="drain") == []


# -- death


def test_a_dropped_connection_is_death_after_the_grace() -> None:
    talk = Talk(jobs=4)
    talk.ask("a", want=4)
    talk.master.disconnected(b"a", talk.now, 0.25)
    assert talk.master.next_due(talk.now) == talk.now + 0.25
    assert talk.pass_by(0.2) == [] and talk.master.slaves == 1
    [text] = said(talk.pass_by(0.1))
    assert "a is gone (its connection dropped); its 2 jobs go to others" in text
    assert (talk.master.slaves, talk.master.window.ready, talk.master.counts.deaths) == (0, 4, 1)


def test_who_comes_back_within_the_grace_keeps_its_leases() -> None:
    talk = Talk(jobs=4)
    talk.ask("a", want=4)
    talk.master.disconnected(b"a", talk.now, 0.25)
    talk.say("a", held=((0, 2),), peer="a, rebuilt")
    assert talk.pass_by(1.0) == [] and talk.master.window.leased("a") == 2


def test_an_old_connection_dropping_late_or_heard_late_kills_nobody() -> None:
    """A message of the old socket, read after one of the new, made the old connection's end the slave's."""
    talk = Talk(jobs=4)
    talk.ask("a", want=4, peer="old")
    talk.say("a", held=((0, 2),), peer="new", seq=3)
    talk.say("a", peer="old", seq=2)
    talk.master.disconnected(b"old", talk.now, 0.25)
    assert talk.pass_by(1.0) == [] and talk.master.slaves == 1
    talk.master.disconnected(b"new", talk.now, 0.25)
    assert talk.pass_by(1.0) != [] and talk.master.slaves == 0


def test_a_connection_of_nobody_drops() -> None:
    talk = Talk(jobs=4)
    talk.master.disconnected(b"a stranger", talk.now, 0.25)
    assert talk.pass_by(1.0) == []


def test_an_idle_slaves_death_is_no_warning() -> None:
    talk = Talk()
    talk.park("a")
    talk.master.disconnected(b"a", talk.now, 0.25)
    effects = talk.pass_by(0.3)
    assert [effect.level for effect in effects if isinstance(effect, Log)] == ["info"]
    assert (talk.master.slaves, talk.master.counts.deaths) == (0, 0)


def test_the_fleets_word_of_a_death_counts_at_once_and_feeds_the_waiting() -> None:
    talk = Talk(jobs=1)
    talk.say("a", run="", epoch=0, info={"host": "box", "pid": 7})
    talk.ask("a", want=1)
    talk.park("b", info={"host": "elsewhere", "pid": 7})
    effects = talk.master.died("box", 7, "killed by signal 9", False, talk.now)
    assert said(effects) == ["slave box:7 is gone (killed by signal 9); its 1 job goes to others"]
    assert [(reply.slave_id, runs(reply)) for reply in sent(effects)] == [("b", [(0, 1)])]
    assert talk.master.died("box", 8, "killed", False, talk.now) == []


def test_jobs_of_a_dead_slave_do_not_go_to_one_that_is_as_dead() -> None:
    """A slave whose own death was due in the same turn was handed them, and its death made them suspects."""
    talk = Talk(jobs=1)
    talk.ask("a", want=1)
    talk.park("b")
    talk.now += SILENT
    assert sent(talk.pass_by(0.0)) == [] and talk.master.counts.deaths == 1
    assert talk.ask("c", want=1) == [(0, 1)]


def test_silence_for_a_leases_life_is_death_and_any_word_is_life() -> None:
    talk = Talk(jobs=4)
    talk.ask("a", want=1)
    talk.ask("b", want=1)
    talk.now += SILENT / 2
    talk.say("b", held=((1, 1),))
    texts = said(talk.pass_by(SILENT / 2))
    assert len(texts) == 1 and "a is gone (silent for 60 s)" in texts[0]
    assert (talk.master.window.leased("b"), talk.master.window.ready) == (1, 3)


def test_one_that_was_given_up_comes_back_known_by_name_and_is_told_what_to_drop() -> None:
    """Its later death was nobody's, and its jobs waited out the life of a lease."""
    talk = Talk(jobs=6)
    talk.say("a", run="", epoch=0, info={"host": "box", "pid": 7})
    talk.ask("a", want=4)
    talk.pass_by(SILENT)
    assert talk.ask("b", want=4) == [(0, 3)]
    [reply] = sent(talk.say("a", held=((0, 2),)))
    assert reply.drop == ((0, 2),) and talk.master.name_of("a") == "box:7"
    assert talk.ask("a", want=4) != []
    assert said(talk.master.died("box", 7, "killed", False, talk.now)) != []


def returned_with(talk: Talk, *held: Run, **fields: Any) -> Reply:
    """What `a` is answered, which was taken for dead and still has these jobs."""
    [reply] = sent(talk.say("a", held=held, **fields))
    return reply


def test_a_slave_that_returns_keeps_what_nobody_else_was_given() -> None:
    """Five copies of a job of a minute ran in one slave whose network failed for four seconds at a time."""
    talk = Talk(jobs=40)
    talk.ask("a", want=6)
    talk.pass_by(SILENT)
    assert talk.ask("b", want=1) == [(0, 1)]
    assert returned_with(talk, (0, 4)).drop == ((0, 1),)
    window = talk.master.window
    assert (window.leased("a"), window.leased("b"), window.ready) == (3, 1, 36)
    talk.say("a", done=((1, 2),), held=((3, 1),))
    talk.say("b", done=((0, 1),))
    assert (window.watermark, window.leased("a")) == (3, 1)


def test_what_a_slave_that_returns_has_finished_meanwhile_counts() -> None:
    talk = Talk(jobs=40)
    talk.ask("a", want=3)
    talk.pass_by(SILENT)
    assert returned_with(talk, (2, 1), done=((0, 1),)).drop == ()
    window = talk.master.window
    assert (window.watermark, window.leased("a"), window.ready) == (1, 1, 38)


def test_a_slave_that_returns_keeps_a_job_that_failed_elsewhere_and_waits_for_its_retry() -> None:
    talk = Talk(jobs=1)
    talk.ask("a", want=1)
    talk.pass_by(SILENT)
    talk.ask("b", want=1)
    talk.say("b", failed=(failure(0),))
    assert returned_with(talk, (0, 1)).drop == () and talk.master.window.leased("a") == 1
    assert talk.ask("b", want=1) == []
    talk.pass_by(30.0)
    talk.say("a", done=((0, 1),))
    assert talk.master.settled


def test_a_slave_that_returns_does_not_get_what_it_never_had() -> None:
    talk = Talk(jobs=4)
    talk.ask("a", want=1)
    talk.pass_by(SILENT)
    assert returned_with(talk, (0, 4)).drop == ((1, 3),)
    assert (talk.master.window.leased("a"), talk.master.window.ready) == (1, 3)


def test_the_return_of_a_slave_withdraws_what_its_death_told_against_its_jobs() -> None:
    talk = Talk(jobs=1)
    talk.ask("a", want=1)
    for _ in range(30):
        talk.pass_by(SILENT)
        assert returned_with(talk, (0, 1)).drop == ()
    assert not talk.master.window.holds_suspect("a") and talk.master.counts.failed == 0


def test_a_fleet_elsewhere_reports_its_dead_and_is_no_slave() -> None:
    talk = Talk(jobs=40)
    talk.say("a", run="", epoch=0, info={"host": "box", "pid": 7})
    talk.ask("a", want=2)
    report = DeathReport("box", 7, "killed by SIGSEGV", True)
    effects = talk.say("fleet", run="", epoch=0, state="bye", deaths=(report,))
    assert said(effects) == ["slave box:7 is gone (killed by SIGSEGV); its 2 jobs go to others"]
    assert [(reply.slave_id, reply.kind) for reply in sent(effects)] == [("fleet", "stop")]
    assert (talk.master.slaves, talk.master.window.ready) == (0, 40)
    effects = talk.say("fleet", run="", epoch=0, state="bye", deaths=(report,))
    assert said(effects) == [] and len(sent(effects)) == 1, "it came twice"


def test_the_master_waits_a_little_for_the_report_of_a_death() -> None:
    """A connection was gone 0.25 s before its fleet, on a loaded machine, had said how the slave died."""
    talk = Talk(jobs=2)
    talk.say("a", run="", epoch=0, info={"fleet": "yes"})
    talk.ask("a", want=1)
    talk.ask("b", want=1)
    for peer in (b"a", b"b"):
        talk.master.disconnected(peer, talk.now, 0.25)
    assert ["b is gone" in text for text in said(talk.pass_by(0.3))] == [True]
    assert ["a is gone" in text for text in said(talk.pass_by(0.75))] == [True]


def test_drops_and_leases_do_not_travel_together() -> None:
    """The slave gave back, as dropped, what the same answer leased to it again; it ran it all in vain."""
    talk = Talk(jobs=2)
    talk.ask("a", want=4)
    talk.pass_by(SILENT)
    talk.ask("b", want=1)
    reply = returned_with(talk, (0, 1), want=4)
    assert (reply.kind, reply.drop, reply.leases, reply.wait_ms) == ("wait", ((0, 1),), (), 0)


def test_a_request_that_was_given_up_with_its_slave_is_answered_when_it_comes_again() -> None:
    talk = Talk()
    talk.park("a")
    talk.master.disconnected(b"a", talk.now, 0.25)
    talk.pass_by(1.0)
    talk.admit(4)
    [reply] = sent(talk.park("a", seq=1, peer="a, rebuilt"))
    assert (reply.kind, runs(reply)) == ("jobs", [(0, 2)])


def test_a_request_older_than_the_one_a_slave_was_given_up_with_brings_nobody_back_to_life() -> None:
    talk = Talk(jobs=4)
    talk.say("a", seq=5)
    talk.pass_by(SILENT)
    assert talk.say("a", seq=4, want=4) == [] and talk.master.leased == 0


def test_a_suspect_runs_alone_on_a_slave_that_others_leave_free() -> None:
    talk = Talk(jobs=40)
    talk.ask("x", want=1)
    assert [talk.ask("a", want=2), talk.ask("b", want=2)] == [[(1, 2)], [(3, 2)]]
    for slave_id in ("x", "y"):
        assert slave_id == "x" or talk.ask("y", want=1) == [(0, 1)]
        talk.kill(slave_id)
    assert talk.master.window.suspects
    assert talk.ask("a", want=2, held=((1, 2),)) == [], "it is kept free until it holds nothing else"
    assert talk.ask("b", want=2, held=((3, 2),)) == [(5, 2)], "the others work on meanwhile"
    assert talk.ask("b", want=2, done=((3, 4),)) == [(0, 1)], "unless one of them is idle before"
    assert talk.ask("b", want=2, held=((0, 1),)) == []
    assert talk.ask("a", want=2, held=((1, 2),)) == [(7, 2)]
    talk.say("b", done=((0, 1),))
    assert talk.master.window.watermark == 1 and talk.ask("b", want=1) != []


def test_a_job_that_kills_every_slave_is_buried_and_the_run_goes_on() -> None:
    talk, deaths = Talk(jobs=12, attempts=3), 0
    for turn in range(100):
        slave_id = f"slave{turn}"
        held = talk.ask(slave_id, want=12)
        if any(first <= 5 < first + count for first, count in held):
            deaths += 1
            talk.kill(slave_id)
        else:
            talk.say(slave_id, done=tuple(held), state="bye")
    assert talk.master.settled and deaths <= 6
    counts = talk.master.counts
    assert (counts.handled, counts.failed, counts.deaths) == (11, 1, deaths)


# -- what it reports


@pytest.mark.parametrize("threads, running", [("10", 6), (4, 4), (1, 1), ("0", 1), ("-3", 1), ("many", 1), (None, 1)])
def test_of_what_a_slave_holds_as_many_run_as_it_has_threads(threads: object, running: int) -> None:
    talk = Talk(jobs=40)
    talk.say("a", run="", epoch=0, info={} if threads is None else {"threads": threads})
    assert talk.master.running == 0
    talk.ask("a", want=6)
    assert (talk.master.leased, talk.master.running) == (6, running)
    talk.ask("b", want=3)
    assert talk.master.running == running + 1


def test_a_slave_may_say_that_it_runs_more_or_fewer_at_once_by_now() -> None:
    talk = Talk(jobs=40)
    talk.say("a", run="", epoch=0, info={"threads": 2})
    talk.ask("a", want=8)
    assert talk.master.running == 2
    for slots, running in ((5, 5), (1, 1), (0, 2)):
        talk.ask("a", want=0, held=((0, 8),), slots=slots)
        assert talk.master.running == running


@pytest.mark.parametrize("cursors, cursor", [(None, None), (["id-0", "id-1"], "id-0"), ([1, 2], 1)])
def test_the_job_that_holds_the_watermark_is_a_straggler_after_a_while(cursors: list[Any] | None, cursor: Any) -> None:
    talk = Talk()
    [good] = encode(["x", "y"], "pickle", 1 << 20)
    assert isinstance(good, GoodJobs)
    talk.master.admit(good.batch, cursors, talk.now)
    talk.say("a", run="", epoch=0, info={"host": "box", "pid": 7})
    assert straggler(talk.master.window, talk.master.name_of, talk.now + 99) is None, "no slave has it"
    talk.ask("a", want=2)
    assert straggler(talk.master.window, talk.master.name_of, talk.now + defaults.STRAGGLER_SECONDS - 0.1) is None
    assert straggler(talk.master.window, talk.master.name_of, talk.now + 65) == Straggler(0, cursor, 65, "box:7")


# -- draining


def test_a_drain_hands_out_nothing_for_the_first_time() -> None:
    talk = Talk(jobs=40)
    assert talk.ask("a", want=4) == [(0, 4)]
    talk.master.drain()
    assert not talk.ask("b", want=4) and not talk.master.drained
    talk.say("a", done=((0, 4),))
    assert talk.master.drained and talk.master.window.watermark == 4


def test_a_drain_fills_the_holes_below_what_was_settled() -> None:
    talk = Talk(jobs=40)
    assert (talk.ask("a", want=4), talk.ask("b", want=4)) == ([(0, 4)], [(4, 4)])
    talk.say("b", done=((4, 4),))
    talk.master.drain()
    talk.say("a", done=((0, 1),), held=((1, 1),))  # gives back 2 and 3, which it has not started
    assert talk.ask("b", want=4) == [(2, 2)], "or a resumed run would repeat 4 to 7"
    talk.say("b", done=((2, 2),))
    talk.say("a", done=((1, 1),))
    assert talk.master.drained and talk.master.window.watermark == 8


def test_a_drain_does_not_wait_for_a_retry_to_come_due() -> None:
    talk = Talk(jobs=40)
    talk.ask("a", want=2)
    talk.say("a", failed=(failure(0),), done=((1, 1),))
    talk.master.drain()
    talk.park("a")
    [reply] = sent(talk.pass_by(0.001))
    assert runs(reply) == [(0, 1)] and reply.leases[0].attempt == 2


def test_a_drain_without_slaves_is_over() -> None:
    talk = Talk(jobs=40)
    talk.ask("a", want=4)
    talk.master.died("?", 0, "killed", False, talk.now)
    talk.master.drain()
    assert not talk.master.drained
    talk.pass_by(SILENT)
    assert talk.master.drained


def test_a_drain_goes_on_though_the_state_could_not_be_saved_before() -> None:
    talk = Talk(jobs=40)
    talk.ask("a", want=2)
    talk.master.hold(True)
    talk.master.drain()
    talk.say("a", held=((0, 1),))
    assert talk.ask("b", want=2) == [(1, 1)]


def test_a_failure_names_its_slave_though_that_says_goodbye_with_it() -> None:
    talk = Talk(jobs=2, attempts=1)
    talk.say("a", run="", epoch=0, info={"host": "box", "pid": 7})
    talk.ask("a", want=2)
    effects = talk.say("a", failed=(failure(0),), state="bye")
    assert [job.holder for effect in effects if isinstance(effect, Abandon) for job in effect.jobs] == ["box:7"]


def test_drops_that_do_not_fit_a_reply_travel_in_the_next_ones() -> None:
    """With 25,000 of them in one reply, no slave could read it, and it was sent again for ever."""
    window = Window(0, 60_000, 1 << 30, 3)
    talk = Talk()
    talk.master = Dispatcher(window, "r", EPOCH)
    talk.admit(50_000)
    held = talk.ask("a", 50_000)
    while window.ready:
        held += talk.ask("a", 50_000, held=tuple(held))
    assert sum(count for _, count in held) == 50_000
    for first in range(0, 50_000, 10_000):
        talk.say("b", done=tuple((offset, 1) for offset in range(first, first + 10_000, 2)))
    drops, replies = [], 0
    while window.leased("a") and (reply := sent(talk.say("a", held=tuple(held)))[0]).drop:
        assert reply.kind == "wait" and len(reply.drop) <= defaults.DROP_RUNS
        drops += reply.drop
        replies += 1
    assert drops == [(offset, 1) for offset in range(0, 50_000, 2)]
    assert replies == 7


def test_a_session_keeps_nothing_of_jobs_that_do_not_exist() -> None:
    """One key holder cost a master 1.5 MiB of memory per session."""
    talk, lies = Talk(10), tuple((10**12 + 2 * number, 1) for number in range(5_000))
    talk.say("x", run="", epoch=0, held=lies)
    talk.say("x", done=lies, held=lies, want=1, wait_ms=1000)
    talk.say("y", held=lies, done=lies)
    for session in talk.master._slaves.sessions():
        assert not session.reported_done and not session.drops


def test_a_held_request_keeps_only_what_its_answer_takes() -> None:
    talk = Talk(1)
    [(first, count)] = talk.ask("x", 2)
    talk.say("x", done=tuple((offset, 1) for offset in range(first, first + count)), want=1, wait_ms=1000)
    [(session, parked)] = talk.master._slaves.parked()
    assert session.reported_done and parked.want == 1 and not parked.done


def test_a_slave_taken_for_dead_costs_little_until_it_returns() -> None:
    talk = Talk(10)
    talk.ask("x", 5)
    [session] = talk.master._slaves.sessions()
    assert session.last_reply is not None
    talk.now += defaults.LEASE_LIFE_SECONDS + 1
    talk.master.tick(talk.now)
    assert session.last_reply is None and session.info == {} and "x" not in talk.master._slaves
