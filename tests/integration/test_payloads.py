"""The thread in which a master decodes jobs: whatever the user's code does there, nobody else waits long for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.codec import Batch, GoodJobs, encode
from taskmaster.core.failure import FailureRecord
from taskmaster.core.portable import pack, unpack
from taskmaster.master.state.failures import FailuresFile
from taskmaster.master.state.payloads import PayloadReader
from taskmaster.master.state.recorder import Abandoned, FailureRecorder

PATIENCE = 20.0  # seconds after which a test that hangs is a failure; never waited for in a test that passes
TIME = "2024-05-06T07:08:09.000+00:00"


class Gate:
    """Where decoding waits until the test lets it pass."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()

    def pass_through(self, item: Any) -> Any:
        self.entered.set()
        assert self.open.wait(PATIENCE)
        return item


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


def exits(item: int) -> int:
    if item == 3:
        raise SystemExit(item)
    return 10 * item


def test_results_come_in_order_from_one_thread_that_is_not_the_caller_s() -> None:
    reader = PayloadReader()
    threads = {thread for _ in range(3) for thread in reader.each(lambda _: threading.get_ident(), range(5))}
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert reader.each(exits, [1, 2]) == [10, 20] and reader.each(exits, []) == []


def test_one_that_raises_has_no_result_and_the_others_have_theirs() -> None:
    reader = PayloadReader()
    assert reader.each(exits, [1, 3, 5]) == [10, None, 50]
    assert reader.each(exits, [7]) == [70]


def test_one_that_takes_too_long_has_no_result_nor_have_those_behind_it(
        gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    reader = PayloadReader(0.05)
    slow: Callable[[int], int] = lambda item: gate.pass_through(item) if item == 2 else item
    assert reader.each(slow, [1, 2, 3]) == [1, None, None]
    assert "takes longer than 0.05 s" in caplog.text


def test_while_it_runs_further_calls_do_not_wait_and_afterwards_all_is_well(gate: Gate) -> None:
    reader = PayloadReader(0.05)
    assert reader.each(gate.pass_through, [1]) == [None]
    for _ in range(1000):  # each would wait 0.05 s
        assert reader.each(exits, [1, 2]) == [None, None]
    gate.open.set()
    latest = reader._latest
    assert latest is not None and latest.done.wait(PATIENCE)
    assert reader.each(exits, [1, 2]) == [10, 20]


def test_many_that_take_a_little_time_each_are_waited_for() -> None:
    reader = PayloadReader(1.0)
    rest = threading.Event()
    assert reader.each(lambda item: rest.wait(0.02) or item, range(100)) == list(range(100))


# -- records of abandoned jobs


class Thing:
    """An object of the user's, decoded by his code."""

    decode: Callable[[Any], Any] = staticmethod(lambda value: value)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return decoded, (self.value,)


def decoded(value: Any) -> Any:
    return Thing.decode(value)


def job_of(offset: int, payload: Any) -> Abandoned:
    [good] = encode([payload], "pickle", 1 << 20)
    assert isinstance(good, GoodJobs)
    return abandoned(offset, good.batch)


def abandoned(offset: int, batch: Batch | None) -> Abandoned:
    return Abandoned(AbandonedJob(offset, offset + 1, 3, "raised", "ValueError", "no", "", "vm:1", batch), TIME, 1)


class File:
    """A failures file in memory, which refuses while `full`."""

    def __init__(self) -> None:
        self.records: list[FailureRecord] = []
        self.full = False

    def append(self, failures: Any) -> None:
        if self.full:
            raise OSError("full")
        self.records += failures


def recorder(file: File, seconds: float = 1.0) -> FailureRecorder:
    return FailureRecorder(file, "jobs:handle_job", PayloadReader(seconds))


def test_a_record_shows_the_payload_and_can_run_it_again() -> None:
    file = File()
    recorder(file).append([job_of(7, ("a", 1)), abandoned(8, None)])
    one, unsent = file.records
    assert (one.offset, one.handler, one.slave, one.time) == (7, "jobs:handle_job", "vm:1", TIME)
    assert (one.shown, unpack(one.payload), unpack(one.cursor)) == ("('a', 1)", ("a", 1), 8)
    assert (unsent.payload, unsent.shown) == (None, "<a job that could not be sent>")


def test_each_is_decoded_once_however_often_the_disk_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(Thing, "decode", staticmethod(lambda value: seen.append(value) or value))
    file, jobs = File(), [job_of(offset, Thing(offset)) for offset in range(4)]
    made = recorder(file)
    file.full = True
    for upto in (2, 2, 3):
        with pytest.raises(OSError):
            made.append(jobs[:upto])
    file.full = False
    made.append(jobs[:3])
    made.append(jobs[3:])
    assert seen == [0, 1, 2, 3] and [one.offset for one in file.records] == [0, 1, 2, 3]


def test_what_cannot_be_decoded_is_kept_as_it_was_sent_so_that_a_later_version_can(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(value: Any) -> Any:
        raise SystemExit(5)

    job = job_of(7, Thing("value"))
    monkeypatch.setattr(Thing, "decode", staticmethod(refuse))
    file = File()
    recorder(file).append([job])
    monkeypatch.undo()
    assert file.records[0].shown == "<SystemExit while decoding>" and unpack(file.records[0].payload) == "value"


def test_what_takes_too_long_to_decode_is_kept_as_it_was_sent(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job_of(7, Thing("value")), job_of(8, "plain")]
    monkeypatch.setattr(Thing, "decode", staticmethod(gate.pass_through))
    file = File()
    recorder(file, 0.05).append(jobs)
    slow, plain = file.records
    gate.open.set()
    assert slow.shown == "<not decoded>" and unpack(slow.payload) == "value"
    assert plain.shown == "'plain'" and plain.payload == pack("plain")


class Rude(str):
    def __repr__(self) -> str:
        raise SystemExit(5)


def test_a_repr_that_exits_spoils_no_other_record() -> None:
    file = File()
    recorder(file).append([job_of(7, "before"), job_of(8, Rude("x")), job_of(9, "after")])
    assert [one.shown for one in file.records] == ["'before'", "<not decoded>", "'after'"]
    assert unpack(file.records[1].payload) == "x"


def test_records_go_into_the_failures_file(tmp_path: Path) -> None:
    file = FailuresFile(tmp_path / "failures.jsonl")
    FailureRecorder(file, "h", PayloadReader()).append([job_of(7, ("a", 1))])
    assert [(one.offset, one.shown) for one in file.read()] == [(7, "('a', 1)")]
