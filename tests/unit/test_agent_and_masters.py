"""A slave whose master is silent, or another one than before, as conversations."""

from __future__ import annotations

from typing import Any

import pytest
from support.agent_talk import FULL, IDLE, Talk

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.agent import Load, Patience
from taskmaster.core.slave_effects import DiscardAll, MasterLost, Rebuild, Request
from taskmaster.core.wire import FailedAttempt, Frames, Lease, Reply

SOON = defaults.REPORT_SECONDS_IDLE


# -- silence


def test_a_silent_master_is_asked_again_in_the_same_words_and_by_a_new_socket() -> None:
    talk = Talk()
    [first] = talk.tick()
    assert isinstance(first, Request)
    assert talk.tick(seconds=1.9) == []
    again = [effect for _ in range(6) for effect in talk.tick(seconds=2.0)]
    assert [type(effect) for effect in again] == [Request, Request, Rebuild] * 2
    assert all(isinstance(effect, (Request, Rebuild)) and effect.frames == first.frames for effect in again)


def test_an_answer_ends_the_silence() -> None:
    talk = Talk()
    talk.tick()
    talk.tick(seconds=2.0)
    talk.tick(seconds=2.0)
    talk.answer("reset")
    talk.tick()
    again = [effect for _ in range(3) for effect in talk.tick(seconds=2.0)]
    assert [type(effect) for effect in again] == [Request, Request, Rebuild]


def test_it_gives_up_when_its_patience_ends() -> None:
    talk = Talk(patience=Patience(timeout=2.0, retries=3))
    talk.tick()
    for _ in range(2):
        talk.tick(seconds=2.0)
    assert talk.tick(seconds=1.9) == []
    [end] = talk.tick(seconds=0.2)
    assert isinstance(end, MasterLost) and end.seconds == pytest.approx(6.1)


def test_silence_is_counted_from_the_question_not_from_the_last_answer() -> None:
    talk = Talk(patience=Patience(timeout=2.0, retries=3))
    talk.join()
    talk.answer("jobs", (0, 104), heartbeat_ms=60_000)
    assert talk.tick(FULL, seconds=50.0) == []
    talk.asks(FULL, seconds=10.0)
    assert talk.tick(FULL, seconds=1.9) == []


def test_a_master_that_holds_requests_as_it_was_allowed_to_is_not_silent() -> None:
    """At a run's end jobs ended one by one; each report overtook a held request, and the slave gave up."""
    talk = Talk(threads=200, patience=Patience(timeout=2.0, retries=3))
    talk.holding((0, 100))
    for offset in range(100):
        talk.now += 0.5
        talk.settle(offset)
        assert [type(effect) for effect in talk.tick(Load(0, 101 + offset), seconds=SOON)] == [Request]
    again = [effect for _ in range(3) for effect in talk.tick(seconds=2.0)]
    assert [type(effect) for effect in again] == [Request, Request, MasterLost], "but then it is"


@pytest.mark.parametrize("frames", [[], [b""], [b"{}", b""], [b"\xff", b""], [b"{}", b"", b""]])
def test_garbage_is_no_answer(frames: Frames) -> None:
    talk = Talk()
    talk.asks()
    assert talk.agent.receive(frames, IDLE, talk.now) == []
    assert [type(effect) for effect in talk.tick(seconds=2.0)] == [Request]


@pytest.mark.parametrize("changed", [{"slave_id": "another"}, {"seq": 1}, {"seq": 3}])
def test_an_answer_to_another_request_changes_nothing(changed: dict[str, Any]) -> None:
    talk = Talk()
    talk.join()
    fields: dict[str, Any] = {"run": "r", "epoch": 4, "slave_id": "s", "seq": 2, "kind": "jobs",
                              "leases": (Lease(0, 1, 1, "json", b"[1]"),)}
    reply = Reply(**(fields | changed))
    assert talk.agent.receive(wire.encode_reply(reply), IDLE, talk.now) == [] and not talk.agent.held


def test_an_answer_is_used_once() -> None:
    talk = Talk()
    talk.holding((0, 2))
    talk.settle(0, 2)
    assert talk.answer("jobs", (0, 2)) == [] and not talk.agent.held


# -- another master


def test_another_master_resets_it() -> None:
    talk = Talk()
    talk.holding((0, 4))
    tag = talk.agent.epoch
    talk.settle(0)
    talk.fail(1)
    talk.asks(seconds=SOON)
    talk.epoch = 5
    assert talk.answer("reset") == [DiscardAll()]
    poll = talk.asks()
    assert (poll.epoch, poll.held, poll.done, poll.failed, poll.want) == (5, (), (), (), 4)
    talk.answer("jobs", (0, 4))
    talk.agent.settled(tag, 0, 4, talk.now)
    talk.agent.failed(tag, FailedAttempt(0, 1, "raised", "ValueError", "no", ""), talk.now)
    talk.agent.returned(tag, 0, 4, talk.now)
    assert talk.agent.held and not talk.agent._reports._done and not talk.agent._reports._failed


def test_an_answer_of_another_master_is_a_reset_whatever_it_says() -> None:
    talk = Talk()
    talk.holding((0, 4))
    talk.asks(seconds=9)
    talk.epoch = 5
    assert talk.answer("jobs", (50, 4)) == [DiscardAll()] and not talk.agent.held


def test_jobs_of_a_reset_run_are_not_taken_for_those_of_the_old_one() -> None:
    """A reset run counts its epochs from 1 again: the old run's offset 0 was settled in the new one."""
    talk = Talk(epoch=1)
    talk.holding((0, 4))
    running = talk.agent.epoch
    talk.asks(seconds=9)
    talk.run = "a new one"
    assert talk.answer("reset") == [DiscardAll()]
    talk.asks()
    talk.answer("jobs", (0, 4))
    talk.agent.settled(running, 0, 4, talk.now)
    assert len(talk.agent.held) == 4 and talk.agent.epoch != running
