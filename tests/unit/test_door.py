"""Which key gets in, what is said of the others, and when a slave knows that it never will."""

from __future__ import annotations

import logging
import re

import pytest
import zmq
from zmq.utils import z85

from taskmaster import defaults
from taskmaster.transport import admission, keys
from taskmaster.transport.admission import ConnectionLimit, RejectedConnections, zap_answer
from taskmaster.transport.handshake import KEYED, PLAIN, HandshakeHistory

OURS = keys.derive(b"1" * 32, "/a/key")
THEIRS = keys.derive(b"2" * 32, "/b/key")
OTHER_KEY, OTHER_MECHANISM = 0x11000001, 0x11000002
NO_DETAIL, PROTOCOL, AUTH = (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                             zmq.EVENT_HANDSHAKE_FAILED_AUTH)


def asked(version: bytes = b"1.0", domain: bytes = b"taskmaster", mechanism: bytes = b"CURVE",
          key: bytes = z85.decode(OURS.slave.public)) -> list[bytes]:
    return [version, b"77", domain, b"10.0.0.1", b"", mechanism, key]


def test_the_slaves_key_gets_in() -> None:
    assert zap_answer(asked(), OURS.slave.public) == [b"1.0", b"77", b"200", b"", b"", b""]


@pytest.mark.parametrize("request_", [
    asked(key=z85.decode(THEIRS.slave.public)), asked(key=z85.decode(OURS.master.public)), asked(key=b""),
    asked(key=z85.decode(OURS.slave.public)[:31]), asked(mechanism=b"PLAIN"), asked(mechanism=b"NULL"),
    asked(domain=b""), asked(version=b"2.0"), asked()[:6], [*asked(), b""], [b"1.0"], []])
def test_nothing_else_gets_in(request_: list[bytes]) -> None:
    assert zap_answer(request_, OURS.slave.public)[2] == b"400"


def test_those_turned_away_are_told_of_in_one_line_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    away = RejectedConnections(keyed=True)
    for number in range(3000):
        away.observe(PROTOCOL, OTHER_KEY, number / 100)
        away.observe(PROTOCOL, OTHER_MECHANISM, number / 100)
        away.observe(PROTOCOL, 7, number / 100)
        away.report(number / 100)
    assert len(caplog.records) == 1 and caplog.records[0].levelno == logging.WARNING
    assert all(word in caplog.messages[0] for word in ("with a different key", "without a key", "not speaking ZeroMQ"))
    away.report(defaults.TURNED_AWAY_SECONDS + 2)
    assert len(caplog.records) == 2 and "2,899 with a different key" in caplog.messages[1]
    away.report(10_000.0)
    assert len(caplog.records) == 2, "nobody was turned away since"


def knocks(*events: tuple[int, int]) -> HandshakeHistory:
    found = HandshakeHistory()
    for event in events:
        found.observe(*event)
    return found


MANY = [(zmq.EVENT_CONNECTED, 5), (NO_DETAIL, 32)] * defaults.HANDSHAKES


@pytest.mark.parametrize("events, doubt", [
    ([], False), (MANY[:-1], False), (MANY, True), ([*MANY[:-1], (zmq.EVENT_HANDSHAKE_SUCCEEDED, 0), *MANY[:2]], False),
    ([(PROTOCOL, OTHER_MECHANISM)], True), ([(AUTH, 400)], True), ([*MANY, (zmq.EVENT_HANDSHAKE_SUCCEEDED, 0)], False),
    ([(zmq.EVENT_CONNECTED, 5)] * 50, False)])
def test_a_slave_looks_who_is_there_after_failures_in_a_row(events: list[tuple[int, int]], doubt: bool) -> None:
    assert knocks(*events).in_doubt is doubt


@pytest.mark.parametrize("events, own, found, says", [
    (MANY, OURS, PLAIN, "runs with --insecure, but this slave has"),
    (MANY, None, KEYED, "requires a key, and this slave runs with --insecure"),
    ([(PROTOCOL, 2)], OURS, PLAIN, "runs with --insecure"), ([(PROTOCOL, 2)], None, KEYED, "requires a key"),
    ([(AUTH, 400)], OURS, KEYED, "different key"), ([(AUTH, 400)], OURS, None, "different key"),
])
def test_a_slave_that_will_never_get_in_knows_why(events: list[tuple[int, int]], own: keys.Keys | None,
                                                  found: str | None, says: str) -> None:
    verdict = knocks(*events).verdict("tcp://far:5", own, found)
    assert verdict is not None
    assert verdict.exit_code == 77
    assert re.search(says, str(verdict))


@pytest.mark.parametrize("events, own, found", [
    (MANY * 20, OURS, None), (MANY * 20, None, None), (MANY, None, PLAIN), ([(PROTOCOL, 2)], OURS, KEYED),
    (MANY, OURS, KEYED),
    (MANY, OURS, "PLAIN"), ([(AUTH, 500)], OURS, None)])
def test_a_slave_whose_master_may_yet_come_waits(events: list[tuple[int, int]], own: keys.Keys | None,
                                                 found: str | None) -> None:
    """A tunnel or a proxy with no master behind it accepts and hangs up; so does a master that is just killed, and one
    that has no room: a slave that came as strangers had taken it all said that its key was another, and ended."""
    assert knocks(*events).verdict("tcp://far:5", own, found) is None


@pytest.mark.parametrize("looks, events, refused", [
    ([KEYED], MANY[:2], True), ([KEYED, KEYED], MANY[:2], True), ([KEYED], [], False), ([KEYED, None], MANY, False),
    ([PLAIN], MANY[:2], False), ([KEYED], [(zmq.EVENT_HANDSHAKE_SUCCEEDED, 0), *MANY], False)])
def test_another_key_is_found_by_two_looks_with_a_failure_between(looks: list[str | None],
                                                                  events: list[tuple[int, int]], refused: bool) -> None:
    found = knocks(*MANY)
    for look in looks:
        found = found.roll(look)
        assert not found.in_doubt and not found.admitted
    for event in events:
        found.observe(*event)
    verdict = found.verdict("tcp://far:5", OURS, KEYED)
    assert (verdict is not None) is refused
    assert verdict is None or re.search("different key .* /a/key. Copy", str(verdict))


def test_a_look_does_not_forget_that_the_slave_was_let_in_once() -> None:
    """What it asked then is lost, and it asks again only after it came back, which needs to have been there."""
    assert knocks((zmq.EVENT_HANDSHAKE_SUCCEEDED, 0), *MANY).roll(KEYED).admitted


def test_another_box_is_told_what_to_type() -> None:
    verdict = knocks((AUTH, 400)).verdict("tcp://10.0.0.7:3050", OURS, KEYED)
    assert "scp 10.0.0.7:.config/taskmaster/key /a/key" in str(verdict)


@pytest.mark.parametrize("came, spoke, left, cut", [
    ([1, 2, 3], [], [], []), ([1, 2, 3, 4, 5], [], [], [1, 2]), ([1, 2, 3, 4], [1, 2], [], [3]),
    ([1, 2, 3, 4], [1, 2, 3], [], [4]), ([1, 2, 3, 4], [1, 2, 3], [2], []), ([1, 2, 3, 2, 4], [], [], [1]),
    ([1, 2, 3, 4, 5], [1, 3], [1], [2])])
def test_over_the_limit_who_kept_silent_for_longest_is_cut_off(came: list[int], spoke: list[int], left: list[int],
                                                               cut: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    was_cut: list[int] = []
    monkeypatch.setattr(admission, "_shut_down", was_cut.append)
    crowd = ConnectionLimit(3)
    for news, saw in ((came, crowd.came), (spoke, crowd.spoke), (left, crowd.left)):
        for descriptor in news:
            saw(descriptor)
    crowd.enforce()
    assert was_cut == cut
    crowd.enforce()
    assert was_cut == cut, "one is shut down once"
