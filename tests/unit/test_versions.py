"""Releases that differ: what a later one adds is ignored, and another protocol version is refused in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.agent import Agent, Load, Patience
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.log_limit import LogLimit
from taskmaster.core.master_effects import Effect, Log, Send
from taskmaster.core.slave_effects import Refused, Request
from taskmaster.core.window import Window
from taskmaster.core.wire import FailedAttempt, Frames, Lease, OtherVersion, Poll, Reply, WireError
from taskmaster.core.wire import frames as wire_frames
from taskmaster.core.wire import poll as wire_poll
from taskmaster.core.wire import reply as wire_reply
from taskmaster.errors import EXIT_STATE_MISMATCH, SlaveRefused
from taskmaster.fleet.exits import HOPELESS

HUNDREDS = settings(max_examples=300, deadline=None)
IDLE = Load(0, 4)
NEWER = wire.VERSION + 1

POLL = Poll("r", 3, "s", 7, 10, 500, held=((5, 2), (9, 1)), done=((1, 4),), info={"host": "h", "pid": "1"},
            failed=(FailedAttempt(9, 1, "raised", "ValueError", "no", "Traceback"),))
REPLY = Reply("r", 3, "s", 7, "jobs", (Lease(5, 2, 1, "pickle", b"abc"), Lease(9, 1, 2, "json", b"[1]")),
              drop=((1, 1),), wait_ms=3, reason="because")
KNOWN = {"v", "run", "epoch", "sid", "n", "want", "wait", "state", "held", "done", "info", "kind", "leases", "drop",
         "hb", "reason"}

SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
TREE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8)
ADDED = st.dictionaries(st.text(max_size=6).filter(lambda key: key not in KNOWN), TREE, max_size=4)
MORE = st.lists(TREE, max_size=3)
VERSIONS = st.integers(0, 1 << 62).filter(lambda version: version != wire.VERSION)


@contextmanager
def speaking(version: int) -> Iterator[None]:
    """Everything in this process speaks another version of the protocol meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (wire, wire_frames, wire_poll, wire_reply):
            patch.setattr(module, "VERSION", version)
        yield


def grown(frames: Frames, added: dict[str, Any], more: Sequence[Any], rows: Sequence[str]) -> Frames:
    """The message with further fields in its header, and further values in each of the rows and of the failures."""
    header, blob = json.loads(frames[0]), frames[1]
    for key in rows:
        header[key] = [[*row, *more] for row in header[key]]
    if "state" in header:
        blob = json.dumps([[*row, *more] for row in json.loads(blob)]).encode()
    return [json.dumps({**added, **header}).encode(), blob]


# -- what a later release adds


@HUNDREDS
@given(ADDED, MORE)
def test_what_a_newer_slave_adds_to_a_poll_is_ignored(added: dict[str, Any], more: list[Any]) -> None:
    assert wire.decode_poll(grown(wire.encode_poll(POLL), added, more, ["held", "done"])) == POLL


@HUNDREDS
@given(ADDED, MORE)
def test_what_a_newer_master_adds_to_a_reply_is_ignored(added: dict[str, Any], more: list[Any]) -> None:
    assert wire.decode_reply(grown(wire.encode_reply(REPLY), added, more, ["leases", "drop"])) == REPLY


@pytest.mark.parametrize("key, rows", [("held", [[1]]), ("done", [[]]), ("held", [[1, 0, 5]]), ("done", [["1", 1, 1]])])
def test_a_row_may_be_longer_but_not_shorter_or_of_another_type(key: str, rows: list[list[Any]]) -> None:
    header, blob = wire.encode_poll(POLL)
    assert type(wire.decode_poll([json.dumps({**json.loads(header), key: rows}).encode(), blob])) is WireError


# -- a poll of another version


@HUNDREDS
@given(VERSIONS, st.text(max_size=20), st.integers(0, 1 << 62), ADDED, st.lists(st.binary(max_size=20), max_size=3))
def test_of_another_version_the_sender_and_the_request_are_read(version: int, slave_id: str, seq: int,
                                                                added: dict[str, Any], rest: list[bytes]) -> None:
    """Whatever else is in it, and in however many frames."""
    header = json.dumps({**added, "v": version, "sid": slave_id, "n": seq, "held": "?", "state": 5}).encode()
    found = wire.decode_poll([header, *rest])
    assert isinstance(found, OtherVersion)
    assert (found.version, found.slave_id, found.seq) == (version, slave_id, seq)
    assert str(wire.VERSION) in found.reason and str(version)[:40] in found.reason


@HUNDREDS
@given(st.dictionaries(st.sampled_from(["v", "sid", "n", "info"]), TREE, max_size=4))
def test_odd_values_in_the_lasting_fields_are_never_an_exception(fields: dict[str, Any]) -> None:
    found = wire.decode_poll([json.dumps({"v": NEWER, "sid": "s", "n": 1, **fields}).encode()])
    assert isinstance(found, WireError)
    if isinstance(found, OtherVersion):
        assert type(found.slave_id) is str and type(found.seq) is int and type(found.version) is int
        assert "".join([*found.info, *found.info.values()]).isprintable()


@pytest.mark.parametrize("header", [
    {"v": NEWER}, {"v": NEWER, "sid": "s"}, {"v": NEWER, "n": 1}, {"v": NEWER, "sid": 5, "n": 1}, {"sid": "s", "n": 1},
    {"v": NEWER, "sid": "s", "n": -1}, {"v": "2", "sid": "s", "n": 1}, {"v": -2, "sid": "s", "n": 1},
    {"v": NEWER, "sid": "s" * 201, "n": 1}, {"v": None, "sid": "s", "n": 1}, {"v": 1.5, "sid": "s", "n": 1}])
def test_what_is_not_a_message_of_any_version_is_not_answered(header: dict[str, Any]) -> None:
    """It may be anything, and nobody waits for the answer."""
    master = Dispatcher(Window(0, 10, 100, 2), "r", 1)
    effects = master.receive((b"p", b"7", b""), [json.dumps(header).encode(), b""], 0.0)
    assert [type(effect) for effect in effects] == [Log] and master.counts.refused == 1


# -- the master's answer


def other_poll(spoken: int, slave_id: str = "s", **info: str) -> Frames:
    with speaking(spoken):
        return wire.encode_poll(Poll("", 0, slave_id, 3, 4, 1500, info=info))


def errors(effects: Sequence[Effect]) -> list[Reply]:
    found = [wire.decode_reply(effect.frames) for effect in effects if isinstance(effect, Send)]
    assert all(isinstance(reply, Reply) and reply.kind == "error" for reply in found)
    return [reply for reply in found if isinstance(reply, Reply)]


@pytest.mark.parametrize("version, older", [(0, "slave"), (2, "master"), (77, "master")])
def test_the_master_names_both_versions_and_which_side_to_upgrade(version: int, older: str) -> None:
    master = Dispatcher(Window(0, 10, 100, 2), "r", 1)
    effects = master.receive((b"p", b"7", b""), other_poll(version, host="vm", pid="5", version="9.8"), 0.0)
    [reply] = errors(effects)
    assert (reply.slave_id, reply.seq) == ("s", 3)
    assert reply.reason == (f"The slave speaks protocol version {version} (Taskmaster 9.8), the master version 1 "
                            f"(Taskmaster {defaults.PRODUCT_VERSION}): upgrade Taskmaster where the {older} runs.")
    assert effects[0] == Send((b"p", b"7", b""), wire.encode_error("s", 3, reply.reason)), "along its route"
    assert master.slaves == 0 and master.counts.refused == 1


def test_a_slave_that_does_not_say_its_release_is_refused_all_the_same() -> None:
    [reply] = errors(Dispatcher(Window(0, 10, 100, 2), "r", 1).receive((b"p", b""), other_poll(2), 0.0))
    assert reply.reason.startswith("The slave speaks protocol version 2, the master version 1 (")


def test_each_refused_slave_is_answered_and_one_a_minute_is_logged() -> None:
    master = Dispatcher(Window(0, 10, 100, 2), "r", 1)
    logged, answered = [], 0
    for number in range(1200):
        effects = master.receive((b"p", b""), other_poll(2, f"slave{number}"), number / 10)
        answered += len(errors(effects))
        logged += [effect for effect in effects if isinstance(effect, Log)]
    assert answered == 1200 and master.slaves == 0
    assert [effect.level for effect in logged] == ["warning"] * 2
    assert "Refused slave slave0: The slave speaks" in logged[0].text % logged[0].values


def test_a_log_limit_lets_one_line_through_in_its_time() -> None:
    limit = LogLimit(60.0)
    assert [now for now in range(0, 200, 10) if limit.allows(float(now))] == [0, 60, 120, 180]


# -- the slave's end


def asked(version: int) -> Agent:
    """A slave of that version, with its first request under way."""
    agent = Agent("s", 4, {}, Patience(), 0.0)
    with speaking(version):
        [request] = agent.tick(IDLE, 0.0)
    assert isinstance(request, Request)
    return agent


def test_the_form_of_an_error_never_changes() -> None:
    """Slaves of every version rely on it, to the byte."""
    assert wire.encode_error("s", 3, "no") == [b'{"v":1,"sid":"s","n":3,"kind":"error","reason":"no"}', b""]


@HUNDREDS
@given(TREE, ADDED, st.lists(st.binary(max_size=9), max_size=3), st.sampled_from(["no", "no \x1b[2J", "n" * 9999]))
def test_an_error_of_any_version_ends_a_slave(version: Any, added: dict[str, Any], rest: list[bytes],
                                              reason: str) -> None:
    header = {**added, "v": version, "sid": "s", "n": 1, "kind": "error", "reason": reason}
    frames = [json.dumps(header).encode(), *(rest if version != wire.VERSION else [b""])]
    [refused] = asked(wire.VERSION).receive(frames, IDLE, 0.0)
    assert isinstance(refused, Refused) and refused.reason.isprintable() and refused.reason.startswith("n")


@pytest.mark.parametrize("change", [{"kind": "wait"}, {"kind": "stop"}, {"kind": None}, {"n": 2}, {"sid": "another"},
                                    {"n": None}])
def test_no_other_reply_of_another_version_is_obeyed(change: dict[str, Any]) -> None:
    header = {"v": NEWER, "sid": "s", "n": 1, "kind": "error", "reason": "no", **change}
    assert asked(wire.VERSION).receive([json.dumps(header).encode(), b""], IDLE, 0.0) == []


@pytest.mark.parametrize("version", [0, NEWER, 1000])
def test_a_slave_of_another_version_ends_with_the_masters_sentence(version: int) -> None:
    master = Dispatcher(Window(0, 10, 100, 2), "r", 1)
    [answer, _] = master.receive((b"p", b""), other_poll(version), 0.0)
    assert isinstance(answer, Send)
    agent = asked(version)
    agent._request.seq = 3
    with speaking(version):
        [refused] = agent.receive(answer.frames, IDLE, 0.0)
    assert isinstance(refused, Refused) and f"version {version}," in refused.reason
    error = SlaveRefused(refused.reason)
    assert (str(error), error.exit_code) == (refused.reason, EXIT_STATE_MISMATCH) and error.exit_code in HOPELESS


@pytest.mark.parametrize("lead", [lambda agent: None, lambda agent: agent.drain()])
def test_a_slave_at_work_ends_too_when_another_master_refuses_it(lead: Callable[[Agent], None]) -> None:
    """The master was replaced by one of another release while it held jobs."""
    agent = asked(wire.VERSION)
    agent.receive(wire.encode_reply(Reply("r", 1, "s", 1, "reset")), IDLE, 0.0)
    agent.tick(IDLE, 0.0)
    agent.receive(wire.encode_reply(Reply("r", 1, "s", 2, "jobs", (Lease(0, 4, 1, "json", b"[]"),))), IDLE, 0.0)
    lead(agent)
    agent.tick(IDLE, 60.0)
    assert agent.receive(wire.encode_error("s", 3, "no"), IDLE, 60.0) == [Refused("no")]


# -- the product's own version


def test_the_product_version_stands_in_one_place() -> None:
    setup = ConfigParser()
    setup.read(Path(__file__).resolve().parents[2] / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: taskmaster.defaults.PRODUCT_VERSION"
