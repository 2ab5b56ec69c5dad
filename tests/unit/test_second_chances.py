"""Failed jobs of earlier runs that are tried again: in the window, in the checkpoint, in the failures file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.values import failed_attempt, failure_record

from taskmaster.core.codec import GoodJobs, encode
from taskmaster.core.failure import FailureRecord
from taskmaster.core.identity import IDENTITY_BYTES
from taskmaster.core.portable import Packed, pack
from taskmaster.core.runs import Run
from taskmaster.core.second_chances import FailedJob
from taskmaster.core.settled import Above
from taskmaster.core.window import Window
from taskmaster.master.failed_jobs import failed_jobs
from taskmaster.master.state.chances import Chances, new_chances
from taskmaster.master.state.checkpoint import Checkpoint, decode, encode as encode_checkpoint

RUN = "0" * 32


def failed_job(offset: int) -> FailedJob:
    [good] = encode([f"job {offset}"], "pickle", 1000)
    assert isinstance(good, GoodJobs)
    return FailedJob(offset, f"after {offset}", good.batch)


def window(*again: int, first: int = 10, jobs: int = 0) -> Window:
    made = Window(first, 100, 1 << 20, 1)
    for offset in again:
        made.admit_again(failed_job(offset))
    if jobs:
        [good] = encode(list(range(first, first + jobs)), "pickle", 1000)
        assert isinstance(good, GoodJobs)
        made.admit(good.batch)
    return made


def lease(made: Window, want: int) -> list[Run]:
    return [(chunk.first, chunk.count) for chunk in made.lease("a", 1, want, 1 << 20, 0.0)]


def test_they_are_handed_out_before_the_jobs_of_the_source() -> None:
    made = window(7, 3, jobs=4)
    assert lease(made, 10) == [(3, 1), (7, 1), (10, 4)]
    assert (made.in_flight, made.watermark, made.head) == (6, 10, 14)


def test_they_hold_no_watermark_and_are_news_for_the_checkpoint_once_settled() -> None:
    made = window(3, 7, jobs=2)
    lease(made, 4)
    made.settle("a", 10, 2)
    assert (made.watermark, made.in_flight, made.settled) == (12, 2, 2)
    made.settle("a", 7, 1)
    assert (made.in_flight, made.settled, made.settled_again, list(made.take_settled_again())) == (1, 3, 1, [(7, 1)])
    assert not made.take_settled_again()
    assert made.resume_point(0.0).offset == 12


def test_one_that_fails_again_is_abandoned_with_its_offset_cursor_and_payload() -> None:
    made = window(3, jobs=1)
    lease(made, 1)
    abandoned, _ = made.fail("a", [failed_attempt(3)], 0.0)
    assert [(one.offset, one.cursor, one.batch and one.batch.payload(0)) for one in abandoned] == [
        (3, "after 3", "job 3")]
    assert list(made.take_settled_again()) == [(3, 1)] and made.in_flight == 1


def test_they_take_room_as_the_jobs_of_the_source_do() -> None:
    made = Window(10, 3, 1 << 20, 1)
    assert made.room() == 3
    made.admit_again(failed_job(3))
    assert made.room() == 2


def test_only_those_that_no_slave_has_had_are_taken_back_in_a_drain() -> None:
    made = window(3, 7, 9)
    lease(made, 1)
    made.withdraw_chances()
    assert (made.in_flight, made.again, lease(made, 5)) == (1, 1, [])
    made.give_back("a")
    assert lease(made, 5) == [(3, 1)]


@pytest.mark.parametrize("offset", [3, 10, 11])
def test_a_record_of_a_job_that_is_in_flight_already_is_passed_over(offset: int) -> None:
    made = window(3, jobs=2)
    made.admit_again(failed_job(offset))
    assert (made.in_flight, made.again) == (3, 1)


# -- which records count


def record(offset: int, epoch: int, payload: Any = "job") -> FailureRecord:
    packed = None if payload is None else pack(payload)
    return replace(failure_record(offset), epoch=epoch, payload=packed)


def checkpoint(**more: Any) -> Checkpoint:
    return Checkpoint(RUN, 4, 10, **more)


def test_without_a_stop_no_record_is_obsolete_and_none_is_tried_again() -> None:
    found = checkpoint()
    chances, above = new_chances(found, [record(1, 1), record(12, 4)])
    assert (len(chances), above) == (0, [])
    assert not Chances.of(found).is_obsolete(record(1, 1)) and not Chances.of(found).is_obsolete(record(1, 0))


def test_after_a_stop_all_that_have_a_payload_are_tried_again() -> None:
    records = [record(1, 1), record(2, 4), record(3, 4, None), record(12, 4)]
    chances, above = new_chances(checkpoint(stopped=True), records)
    assert (chances.runs, chances.epoch, above) == (((1, 2),), 5, [12])


@pytest.mark.parametrize("one, obsolete, why", [
    (record(1, 3), False, "it is still to be tried again"),
    (record(1, 5), True, "it failed again, but no checkpoint says so: it is tried once more, for its first record"),
    (record(2, 3), True, "it was handled, or has a newer record"),
    (record(2, 5), False, "it failed again"),
    (record(2, 3, None), False, "it could not be tried again"),
    (record(3, 3), False, "it was not chosen"),
    (record(3, 5), False, "it failed in a later run"),
])
def test_a_record_is_obsolete_once_its_job_is_settled_in_a_checkpoint(one: FailureRecord, obsolete: bool,
                                                                      why: str) -> None:
    assert Chances([(1, 1)], 5, tried=[(2, 1)]).is_obsolete(one) == obsolete, why


def test_chances_that_an_interrupted_run_left_stay_for_the_next() -> None:
    found = checkpoint(chances=((1, 2), (5, 1)), chances_epoch=3)
    chances, above = new_chances(found, [record(1, 2), record(5, 2), record(7, 3), record(12, 4)])
    assert (chances.runs, chances.epoch, above) == (((1, 1), (5, 1)), 3, [])
    chances.settle([(1, 1)])
    assert chances.runs == ((5, 1),)


def test_a_checkpoint_keeps_them_and_an_older_one_has_none() -> None:
    found = checkpoint(stopped=True, chances=((1, 2),), chances_epoch=3)
    assert decode(encode_checkpoint(found)) == found


def test_what_is_above_may_lose_some_of_its_jobs() -> None:
    names = [bytes([at]) * IDENTITY_BYTES for at in range(6)]
    above = Above(((10, 3), (20, 3)), b"".join(names))
    assert above.without([(11, 1), (20, 1), (99, 1)]) == Above(
        ((10, 1), (12, 1), (21, 2)), names[0] + names[2] + names[4] + names[5])
    assert above.without([]) == above


# -- from records to jobs


def refuse() -> None:
    raise SystemExit("not here")


class Refuses:
    def __reduce__(self) -> Any:
        return refuse, ()


@pytest.mark.parametrize("cursor, frozen", [(8, 8), ("x", "x"), ((1, 2), Packed)])
def test_a_record_becomes_its_job_again(cursor: Any, frozen: Any) -> None:
    [job] = failed_jobs([replace(record(7, 1, {"a": 1}), cursor=pack(cursor))], "pickle")
    assert (job.offset, job.batch.payload(0)) == (7, {"a": 1})
    assert job.cursor == frozen or (isinstance(job.cursor, frozen) and pack(job.cursor) == pack(cursor))


@pytest.mark.parametrize("payload, codec", [({1, 2}, "json"), (Refuses(), "pickle")])
def test_a_job_that_cannot_be_read_or_sent_stays_in_the_file(payload: Any, codec: str,
                                                             caplog: pytest.LogCaptureFixture) -> None:
    assert [job.offset for job in failed_jobs([record(7, 1, payload), record(8, 1)], codec)] == [8]
    assert "Job 7, which failed in an earlier run, cannot be tried again" in caplog.text
