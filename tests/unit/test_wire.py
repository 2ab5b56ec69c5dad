"""The wire round-trips every message and turns every other bytes into an error value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster import defaults
from taskmaster.core.wire import (FailedAttempt, Lease, Poll, Reply, WireError, decode_poll, decode_reply, encode_poll,
                                  encode_reply)

NUMBER = st.integers(0, 1 << 40)
OFFSET = st.integers(-(1 << 40), 1 << 40)  # a source whose `last` is -1 by default begins there
TEXT = st.text(max_size=20)
SHOWN = TEXT.filter(str.isprintable)
RUNS = st.lists(st.tuples(OFFSET, st.integers(1, 1000)), max_size=4).map(tuple)
FAILED = st.builds(FailedAttempt, OFFSET, st.integers(1, 9), TEXT, TEXT, TEXT, TEXT)
LEASE = st.builds(Lease, OFFSET, st.integers(1, 9), st.integers(1, 9), st.sampled_from(["pickle", "json"]), st.binary())
POLL = st.builds(Poll, TEXT, NUMBER, TEXT, NUMBER, NUMBER, NUMBER, st.sampled_from(["run", "drain", "bye"]), RUNS, RUNS,
                 st.lists(FAILED, max_size=3).map(tuple),
                 st.dictionaries(SHOWN, SHOWN, max_size=3), slots=NUMBER)
REPLY = st.builds(Reply, TEXT, NUMBER, TEXT, NUMBER, st.sampled_from(["jobs", "wait", "stop", "reset", "error"]),
                  st.lists(LEASE, max_size=3).map(tuple), RUNS, NUMBER, NUMBER, SHOWN)
A_POLL = Poll("r", 3, "s", 7, 10, 500, held=((5, 2),), done=((1, 4),), info={"host": "h"},
              failed=(FailedAttempt(9, 1, "raised", "ValueError", "no", "Traceback"),))
A_REPLY = Reply("r", 3, "s", 7, "jobs", (Lease(5, 2, 1, "pickle", b"abc"), Lease(9, 1, 2, "json", b"[1]")), wait_ms=3)


@given(POLL)
def test_every_poll_comes_back(poll: Poll) -> None:
    assert decode_poll(encode_poll(poll)) == poll


@given(REPLY)
def test_every_reply_comes_back(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


@pytest.mark.parametrize("decode, frames", [(decode_poll, encode_poll(A_POLL)), (decode_reply, encode_reply(A_REPLY))])
def test_every_truncation_is_an_error_value(decode, frames) -> None:
    header, blob = frames
    for cut in range(len(header)):
        assert isinstance(decode([header[:cut], blob]), WireError)
    for cut in range(1, len(blob)):
        assert isinstance(decode([header, blob[:cut]]), WireError)
    for other in ([], [header], [header, blob, b""]):
        assert isinstance(decode(other), WireError)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_random_bytes_are_an_error_value(frames: list[bytes]) -> None:
    assert isinstance(decode_poll(frames), WireError)
    assert isinstance(decode_reply(frames), WireError)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
                    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=12)


@given(st.sampled_from(["run", "epoch", "sid", "n", "want", "wait", "state", "held", "done", "info",
                        "kind", "leases", "drop", "hb", "v"]), JSON, JSON)
def test_any_value_in_any_field_is_a_message_or_an_error_value(key: str, value, failures) -> None:
    for encode, decode, message in ((encode_poll, decode_poll, A_POLL), (encode_reply, decode_reply, A_REPLY)):
        header, blob = encode(message)
        fields = json.loads(header) | {key: value}
        assert isinstance(decode([json.dumps(fields).encode(), blob]), (WireError, type(message)))
        assert isinstance(decode([header, json.dumps(failures).encode()]), (WireError, type(message)))


@pytest.mark.parametrize("change, says", [
    ({"v": 2}, "version"), ({"v": None}, "version"), ({"n": -1}, "natural"), ({"n": 1 << 63}, "natural"),
    ({"n": True}, "natural"), ({"held": [[1, 0]]}, "empty run"), ({"sid": "x" * 201}, "short text"),
    ({"state": "asleep"}, "state"), ({"done": [[1]]}, "two numbers"),
])
def test_an_error_value_says_what_is_wrong(change: dict, says: str) -> None:
    header, blob = encode_poll(A_POLL)
    result = decode_poll([json.dumps(json.loads(header) | change).encode(), blob])
    assert isinstance(result, WireError) and says in result.reason


def test_frames_over_the_limits_are_refused_unread() -> None:
    header, blob = encode_poll(A_POLL)
    assert isinstance(decode_poll([b" " * defaults.HEADER_BYTES + header, blob]), WireError)
    assert isinstance(decode_poll([header, b" " * (defaults.REPORT_BYTES + 1)]), WireError)
    assert isinstance(decode_poll([b"[" * 100_000, b""]), WireError)


def test_a_lone_surrogate_in_an_error_text_does_not_stop_a_report() -> None:
    failed = FailedAttempt(1, 1, "raised", "OSError", "no file \udcff", "")
    back = decode_poll(encode_poll(Poll("r", 1, "s", 1, failed=(failed,))))
    assert isinstance(back, Poll) and back.failed[0].message == "no file ?"
