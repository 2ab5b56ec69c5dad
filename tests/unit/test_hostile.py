"""What a slave can say at its worst: bytes, headers and conversations made up to do harm, against the real master's
brain. It may drop them or believe them, but never raises, never unpickles, keeps little, and goes on serving others.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import pickle
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.codec import GoodJobs, encode
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Abandon, Effect, Log, Send
from taskmaster.core.window import Window
from taskmaster.core.wire import FailedAttempt, Poll, Reply, WireError

THOUSANDS = settings(max_examples=1000, deadline=None)
HUNDREDS = settings(max_examples=300, deadline=None)

RUN, EPOCH, JOBS = "the-run", 3, 40
FIELDS = ("v", "run", "epoch", "sid", "n", "want", "wait", "state", "held", "done", "info")
POLL = Poll(RUN, EPOCH, "s", 7, 10, 500, held=((5, 2),), done=((1, 4),), info={"host": "h", "pid": "1"},
            failed=(FailedAttempt(9, 1, "raised", "ValueError", "no", "Traceback"),))
HEADER, BLOB = wire.encode_poll(POLL)

BIG = st.sampled_from([0, 1, -1, JOBS, 1 << 31, (1 << 62) - 1, 1 << 62, 1 << 63, 1 << 200, -(1 << 63)])
ODD = st.none() | st.booleans() | BIG | st.floats() | st.text(max_size=8) | st.just("\ud800\x1b[2J\n")
TREE = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10)


# -- bytes


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """A good frame with some bytes changed, put in, taken out or said twice."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        piece = draw(st.binary(max_size=4) | st.sampled_from([b"[" * 50, b"{", b'"', b"1e999", b"NaN", b"\\ud800"]))
        end = at + draw(st.integers(0, 4))
        data[at:end] = piece + bytes(data[at:end]) * draw(st.integers(0, 2))
    return bytes(data)


def plain(value: Any) -> bool:
    """Whether it is made of numbers, text, tuples and dicts alone, all through."""
    if dataclasses.is_dataclass(value):
        return all(plain(getattr(value, one.name)) for one in dataclasses.fields(value))
    if type(value) is dict:
        return all(map(plain, value.keys())) and all(map(plain, value.values()))
    return all(map(plain, value)) if type(value) is tuple else type(value) in (int, str)


def fair(found: Poll | WireError) -> bool:
    """An error, or a poll whose parts are plain and within what the master reckons with."""
    if isinstance(found, WireError):
        return len(found.reason) < 10_000
    numbers = [found.epoch, found.seq, found.want, found.wait_ms, *(number for run in found.held for number in run)]
    return plain(found) and all(0 <= number <= 1 << 62 for number in numbers) and len(found.slave_id) <= 200


@THOUSANDS
@given(spoilt(HEADER), spoilt(BLOB) | st.just(b"") | st.just(BLOB))
def test_a_spoilt_message_is_a_message_or_an_error_value(header: bytes, blob: bytes) -> None:
    assert fair(wire.decode_poll([header, blob]))


@THOUSANDS
@given(st.dictionaries(st.sampled_from(FIELDS), TREE, min_size=1, max_size=4), TREE)
def test_odd_values_in_the_fields_are_a_message_or_an_error_value(fields: dict[str, Any], blob: Any) -> None:
    header = json.dumps({**json.loads(HEADER), **fields}).encode()
    assert fair(wire.decode_poll([header, json.dumps(blob).encode()]))


@pytest.mark.parametrize("header", [
    b"[" * 200_000, b'{"v":' * 40_000, b"1" * 200_000, b'{"n":' + b"9" * 5000 + b"}", b"\xff\xfe" + b"\0" * 999,
    b"\x80\x04K\x01.", b"", b"null", b'{"v":1,"held":' + json.dumps([[1, 1]] * 30_000).encode() + b"}",
])
def test_what_is_made_to_weigh_on_the_parser_is_an_error_value(header: bytes) -> None:
    assert isinstance(wire.decode_poll([header, b""]), WireError)


def test_what_a_slave_says_of_itself_cannot_move_the_cursor_of_a_terminal() -> None:
    said = dataclasses.replace(POLL, info={"host": "h\x1b[2J\r\nERROR: ", "pid": "\u202e1"})
    found = wire.decode_poll(wire.encode_poll(said))
    assert isinstance(found, Poll) and "".join(found.info.values()).isprintable()
    master = Dispatcher(Window(0, 10, 100, 2), RUN, EPOCH)
    hello = Poll("", 0, "\x1b[2J\r\n", 1, info={"x": "y"})
    [joined, _] = master.receive((b"p",), wire.encode_poll(hello), 0.0)
    assert isinstance(joined, Log) and (joined.text % joined.values).isprintable(), "nor does its id"


def test_any_change_of_some_bytes_is_a_message_or_an_error_value() -> None:
    """As above, without the care for small examples: ten times as many in a second."""
    chance = random.Random(20)
    taken = 0
    for _ in range(20_000):
        header = bytearray(HEADER)
        for _ in range(chance.randint(1, 4)):
            header[chance.randrange(len(header))] = chance.choice(b'[]{}",:0123456789e-.\\\xff\x00nusdw')
        found = wire.decode_poll([bytes(header), BLOB])
        assert fair(found)
        taken += isinstance(found, Poll)
    assert 100 < taken < 19_000, "all were refused, or all taken: nothing was tried"


# -- conversations


class Master:
    """The brain of a master with some jobs; whatever it answers must be frames that a slave understands."""

    def __init__(self) -> None:
        self.now = 100.0
        self.brain = Dispatcher(Window(0, 1000, 1 << 20, 2), RUN, EPOCH)
        [good] = encode(list(range(JOBS)), "pickle", 1 << 20)
        assert isinstance(good, GoodJobs)
        self.brain.admit(good.batch, None, self.now)

    def hear(self, frames: Sequence[bytes], route: tuple[bytes, ...] = (b"peer", b"id", b"")) -> list[Reply]:
        return self._replies(self.brain.receive(route, frames, self.now))

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self._replies(self.brain.tick(self.now))

    @staticmethod
    def _replies(effects: Sequence[Effect]) -> list[Reply]:
        replies = []
        for effect in effects:
            assert isinstance(effect, (Send, Abandon, Log))
            if isinstance(effect, Log):
                assert effect.text % effect.values
            if isinstance(effect, Send):
                reply = wire.decode_reply(effect.frames)
                assert isinstance(reply, Reply), reply
                replies.append(reply)
        return replies

    def serve_an_honest_slave(self) -> None:
        """One that knows nothing of what went on gets all that is left, and settles it."""
        run, epoch, done = "", 0, ()
        for n in range(1, 200):
            replies = self.hear(wire.encode_poll(Poll(run, epoch, "honest", n, JOBS, done=done)), (b"honest", b"", b""))
            assert len(replies) == 1, "a request without an answer"
            run, epoch = replies[0].run, replies[0].epoch
            done = tuple((lease.first, lease.count) for lease in replies[0].leases)
            self.pass_by(defaults.RETRY_SECONDS_MOST if not done else 0.0)
            if self.brain.settled:
                return
        raise AssertionError(f"{self.brain.window.in_flight} jobs are never handed out again")


NUMBER = st.integers(0, JOBS + 5) | st.sampled_from([1 << 31, (1 << 62) - 1])
RUNS = st.lists(st.tuples(NUMBER, st.integers(1, JOBS) | st.just((1 << 62) - 1)), max_size=6).map(tuple)
TEXT = st.text(max_size=6) | st.just("\ud800")
LIE = st.builds(
    Poll, st.sampled_from([RUN, RUN, RUN, ""]), st.sampled_from([EPOCH, EPOCH, EPOCH, 0]),
    st.sampled_from(["a", "b", "c", ""]), st.integers(0, 9) | st.just((1 << 62) - 1), NUMBER, NUMBER,
    st.sampled_from(wire.POLL_STATES), RUNS, RUNS,
    st.lists(st.builds(FailedAttempt, NUMBER, st.integers(0, 4), TEXT, TEXT, TEXT, TEXT), max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(["host", "pid", "x"]), TEXT, max_size=3))
ROUTE = st.lists(st.sampled_from([b"p", b"q", b"", b"\xff" * 300]), max_size=4).map(tuple)
GARBAGE = st.lists(st.binary(max_size=30) | st.just(HEADER) | spoilt(HEADER), max_size=5)
DEED = st.one_of(st.tuples(LIE.map(wire.encode_poll), ROUTE), st.tuples(GARBAGE, ROUTE),
                 st.sampled_from([0.1, 3.0, defaults.LEASE_LIFE_SECONDS + 1]))


@HUNDREDS
@given(st.lists(DEED, max_size=25))
def test_after_any_lies_an_honest_slave_is_served_to_the_end(deeds: list[Any]) -> None:
    master = Master()
    for deed in deeds:
        if isinstance(deed, float):
            master.pass_by(deed)
        else:
            master.hear(*deed)
    assert master.brain.slaves <= 4
    master.brain.disconnected(b"p", master.now, 0.0)
    master.pass_by(defaults.LEASE_LIFE_SECONDS + 1)
    master.serve_an_honest_slave()


def test_a_slave_that_makes_up_sessions_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "SLAVES", 50)
    master = Master()
    for number in range(1000):
        master.hear(wire.encode_poll(Poll("", 0, f"s{number}", 1, info={"host": "h", "pid": str(number)})))
        master.now += 0.01
    assert master.brain.slaves == 50
    assert master.brain.counts.refused == 950
    assert master.hear(wire.encode_poll(Poll(RUN, EPOCH, "s0", 2, want=1))), "one that is in is answered no more"
    master.pass_by(defaults.LEASE_LIFE_SECONDS + 1)
    master.serve_an_honest_slave()


def test_that_there_are_too_many_slaves_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "SLAVES", 1)
    brain = Dispatcher(Window(0, 10, 100, 2), RUN, EPOCH)
    told = []
    for number in range(200):
        effects = brain.receive((b"p",), wire.encode_poll(Poll("", 0, f"s{number}", 1)), number * 1.0)
        told += [effect for effect in effects if isinstance(effect, Log) and effect.level == "warning"]
    assert 2 <= len(told) <= 4


# -- pickles


class Trap:
    """Tells that somebody unpickled it."""

    sprung = 0

    def __reduce__(self) -> Any:
        return spring, ()


def spring() -> None:
    Trap.sprung += 1


def trapped() -> Iterator[Sequence[bytes]]:
    """The frames of a poll with a pickle in each place that can hold one, in every writing."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        trap = pickle.dumps(Trap(), protocol)
        yield from ([trap, BLOB], [HEADER, trap], [trap], [trap, trap], [HEADER, BLOB, trap])
        for text in (trap.decode("latin-1"), base64.b64encode(trap).decode(), list(trap)):
            for value in (text, {"pickle": text}, [text], [[text, text]], ["pickles", text]):
                for field in FIELDS:
                    yield [json.dumps({**json.loads(HEADER), field: value}).encode(), BLOB]
                yield [HEADER, json.dumps(value).encode()]
                for at in range(6):
                    row: list[Any] = [9, 1, "raised", "ValueError", "no", "Traceback"]
                    row[at] = value
                    yield [HEADER, json.dumps([row]).encode()]


def test_a_pickle_is_unpickled_in_no_field() -> None:
    pickle.loads(pickle.dumps(Trap()))
    assert Trap.sprung == 1, "the trap does not work"
    master, tried = Master(), 0
    for number, frames in enumerate(trapped()):
        master.hear(frames, (pickle.dumps(Trap()), b"id", b""))
        master.pass_by(1.0)
        tried = number
    assert tried > 1000
    assert Trap.sprung == 1
