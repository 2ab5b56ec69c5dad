"""The window's verbs one by one: admit, lease, settle, fail, renew, forfeit, and what the watermark does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.values import failed_attempt as failure

from taskmaster import defaults
from taskmaster.core.chunks import Chunk
from taskmaster.core.codec import BadJob, Batch, GoodJobs, encode
from taskmaster.core.portable import freeze
from taskmaster.core.runs import Run, Runs
from taskmaster.core.retrying import RETRY
from taskmaster.core.window import Settled, Window
from taskmaster.core.wire import NEVER
from taskmaster.job import NO_CURSOR

MUCH = 1 << 20


def batch(payloads: Iterable[Any]) -> Batch:
    [good] = encode(list(payloads), "pickle", MUCH)
    assert isinstance(good, GoodJobs)
    return good.batch


def window(jobs: int = 0, *, first: int = 0, size: int = 100, attempts: int = 3) -> Window:
    made = Window(first, size, MUCH, attempts)
    if jobs:
        made.admit(batch(range(first, first + jobs)))
    return made


def runs(chunks: Iterable[Chunk]) -> list[Run]:
    return [(chunk.first, chunk.count) for chunk in chunks]


def lease(made: Window, holder: str, want: int, granted_by_seq: int = 1, now: float = 0.0) -> list[Run]:
    return runs(made.lease(holder, granted_by_seq, want, MUCH, now))


# -- the span


@pytest.mark.parametrize("admitted, settled, room", [
    (0, [], 10),
    (4, [], 6),
    (10, [], 0),
    (10, [(0, 3)], 3),
    (10, [(1, 9)], 0),         # a stuck head keeps the source waiting
    (10, [(1, 9), (0, 1)], 10),
])
def test_the_span_is_bounded_by_the_size(admitted: int, settled: list[Run], room: int) -> None:
    made = window(admitted, size=10)
    lease(made, "a", admitted)
    for run in settled:
        made.settle("a", *run)
    assert made.room() == room


def test_the_span_is_bounded_by_bytes_until_some_are_settled() -> None:
    made = Window(0, 100, 1000, 3)
    made.admit(batch(["x" * 1200]))
    assert made.room() == 0
    lease(made, "a", 1)
    made.settle("a", 0, 1)
    assert made.room() == 100


def test_the_source_is_not_read_ahead_of_slow_handlers() -> None:
    """100,000 rows were pulled for handlers that take a minute; a table that changes meanwhile was read too early."""
    made = window(size=1_000_000)
    made.admit(batch(range(made.room())))
    assert made.ready == defaults.LOOK_AHEAD_JOBS and made.room() == 0
    lease(made, "a", 100)
    assert made.room() == 100


def test_what_is_kept_of_settled_jobs_and_cursors_counts_in_the_windows_bytes() -> None:
    """Cursors were counted nowhere: 1.1 GiB with 10,000 jobs in the window."""
    made = Window(0, 1000, 12_000, 3)
    made.admit(batch(["x" * 5000, "y" * 5000]))
    lease(made, "a", 2)
    made.settle("a", 1, 1)
    assert made.room() == 0
    made.resume_point(9.0).above.above()
    made.resume_point(9.1)  # sees that the last one was written
    assert made.room() > 0
    made.admit(batch([2]), [3], 5000)
    assert made.room() == 0


def test_a_window_starts_where_the_checkpoint_ended() -> None:
    made = window(5, first=40, size=10)
    assert (made.watermark, made.head, made.room(), made.in_flight) == (40, 45, 5, 5)


# -- leasing


def test_leases_take_the_lowest_offsets_first_and_cut_what_is_too_long() -> None:
    made = window(10)
    assert [lease(made, "a", 3), lease(made, "b", 4), lease(made, "a", 9)] == [[(0, 3)], [(3, 4)], [(7, 3)]]
    assert (made.ready, made.leased("a"), made.leased("b")) == (0, 6, 4)


def test_a_lease_joins_batches_and_carries_their_payloads() -> None:
    made = window(2)
    made.admit(batch([20, 30, 40]))
    chunks = made.lease("a", 1, 5, MUCH, 0.0)
    assert [[one.batch.payload(index) for index in range(one.count)] for one in chunks] == [[0, 1], [20, 30, 40]]


@pytest.mark.parametrize("want, first, counts", [(4, 2, [2]), (5, 2, [2, 3]), (6, 2, [2, 4]), (3, 1, [1, 2])])
def test_a_batch_is_cut_only_for_a_lease_that_would_be_less_than_half_without_it(
        want: int, first: int, counts: list[int]) -> None:
    made = window(first)
    made.admit(batch(range(10)))
    assert [one.count for one in made.lease("a", 1, want, MUCH, 0.0)] == counts


def test_little_is_pulled_ahead_of_the_slaves_when_payloads_are_large() -> None:
    made = Window(0, 1000, 1 << 30, 3)
    while made.room():
        made.admit(batch(["x" * 1_000_000]))
    assert 0 <= made.ready - defaults.READY_BYTES / 1_000_000 <= 1
    made.lease("a", 1, 4, 1 << 30, 0.0)
    assert made.room() > 0, "leased payloads do not count"


@pytest.mark.parametrize("most_bytes, count", [(1, 1), (250, 2), (MUCH, 10)])
def test_a_lease_fits_its_bytes_unless_one_job_alone_does_not(most_bytes: int, count: int) -> None:
    made = window()
    made.admit(batch(str(digit) * 110 for digit in range(10)))
    assert sum(one.count for one in made.lease("a", 1, 10, most_bytes, 0.0)) == count


def test_what_was_given_back_is_leased_before_what_came_later() -> None:
    made = window(9)
    lease(made, "a", 3)
    lease(made, "b", 3)
    made.give_back("a")
    assert lease(made, "c", 9) == [(0, 3), (6, 3)]


# -- settling


def settled_by(holder: str, *acknowledged: Run) -> tuple[Window, list[Settled]]:
    """Of ten jobs `a` has leased the first six, and has lost 0 to 2 to `b`; `holder` reports."""
    made = window(10)
    lease(made, "a", 3)
    made.forfeit("a", "silent", False)
    lease(made, "b", 3)
    lease(made, "a", 3)
    return made, [made.settle(holder, *run) for run in acknowledged]


@pytest.mark.parametrize("holder, acknowledged, fresh, repeated, drops, watermark", [
    ("a", [(3, 3)], 3, 0, [], 0),  # whole
    ("b", [(0, 3)], 3, 0, [], 3),
    ("b", [(0, 1)], 1, 0, [], 1),  # partly
    ("b", [(2, 1), (0, 2)], 3, 0, [], 3),
    ("b", [(0, 3), (0, 3)], 3, 3, [], 3),  # twice
    ("b", [(0, 2), (1, 2)], 3, 1, [], 3),
    ("a", [(0, 3)], 3, 0, [("b", (0, 3))], 3),  # late: `b` need not start them
    ("a", [(1, 5)], 5, 0, [("b", (1, 2))], 0),
    ("a", [(6, 4)], 0, 4, [], 0),  # never leased to anybody
    ("b", [(0, 10)], 6, 4, [("a", (3, 3))], 6),
    ("b", [(1000, 7)], 0, 7, [], 0),  # never even pulled
])
def test_settling(
    holder: str, acknowledged: list[Run], fresh: int, repeated: int, drops: list[tuple[str, Run]],
    watermark: int,
) -> None:
    made, results = settled_by(holder, *acknowledged)
    assert sum(one.fresh for one in results) == fresh
    assert sum(one.repeated for one in results) == repeated
    assert [drop for one in results for drop in one.drops] == drops
    assert (made.watermark, made.in_flight) == (watermark, 10 - fresh)


def test_a_late_success_settles_what_waits_for_its_next_attempt() -> None:
    made = window(3)
    lease(made, "a", 3)
    made.fail("a", [failure(1)], now=0.0)
    assert made.settle("a", 0, 3) == Settled(3, 0, ())
    assert (made.watermark, made.wake(100.0), made.ready) == (3, False, 0)


def test_of_a_lease_partly_settled_only_the_rest_goes_back() -> None:
    made = window(8)
    lease(made, "a", 8)
    made.settle("a", 2, 3)
    made.give_back("a")
    assert lease(made, "b", 8) == [(0, 2), (5, 3)]


# -- failing


def test_a_failed_job_waits_and_tries_again_until_it_is_buried() -> None:
    made, now = window(3, attempts=3), 0.0
    lease(made, "a", 3)
    for attempt in (1, 2):
        assert made.fail("a", [failure(1, attempt)], now) == ([], 1)
        due = now + RETRY.delay(attempt, 1)
        assert made.next_due() == due
        assert not made.wake(due - 0.01) and lease(made, "a", 9) == []
        assert made.wake(due)
        assert [(one.first, one.attempt) for one in made.lease("a", 1, 9, MUCH, due)] == [(1, attempt + 1)]
        now = due
    [buried], retried = made.fail("a", [failure(1, 3)], now)
    assert (retried, buried.offset, buried.attempts, buried.holder) == (0, 1, 3, "a")
    assert (buried.error, buried.traceback) == ("ValueError", "Traceback")
    assert buried.batch is not None and buried.batch.payload(0) == 1
    made.settle("a", 0, 1)
    assert made.watermark == 2, "a buried job is settled"


def test_neighbours_of_a_failed_job_stay_where_they_are() -> None:
    made = window(5)
    lease(made, "a", 5)
    assert made.fail("a", [failure(1), failure(3), failure(3)], 0.0) == ([], 2)
    assert made.leased("a") == 3 and made.renew("a", 2, Runs([(0, 1), (2, 1), (4, 1)])) == 0


@pytest.mark.parametrize("holder, offset, attempt", [
    ("a", 0, 1),      # of an attempt whose lease is another's by now
    ("b", 0, 2),      # of an attempt that was never made
    ("b", 2, 1),      # of a job it does not hold
    ("b", 99, 1),     # of none
])
def test_a_failure_that_is_not_the_newest_attempts_is_ignored(holder: str, offset: int, attempt: int) -> None:
    made = window(3, attempts=1)
    lease(made, "a", 1)
    made.forfeit("a", "silent", False)
    lease(made, "b", 1)
    assert made.fail(holder, [failure(offset, attempt)], 0.0) == ([], 0)
    assert (made.leased("b"), made.in_flight) == (1, 3)


def test_a_late_failure_of_an_older_attempt_is_ignored_and_its_late_success_counts() -> None:
    made = window(1, attempts=2)
    lease(made, "a", 1)
    made.fail("a", [failure(0, 1)], 0.0)
    made.wake(10.0)
    lease(made, "b", 1)
    assert made.fail("a", [failure(0, 1)], 10.0) == ([], 0)
    assert made.settle("a", 0, 1) == Settled(1, 0, (("b", (0, 1)),))
    assert made.fail("b", [failure(0, 2)], 10.0) == ([], 0), "settled is settled"


def test_a_handler_says_when_it_wants_to_try_again_and_neighbours_that_agree_stay_together() -> None:
    made = window(6, attempts=3)
    lease(made, "a", 6)
    asked = [replace(failure(offset), retry_ms=ms) for offset, ms in enumerate([0, 5000, 5000, 9000, 5000])]
    assert made.fail("a", asked, 10.0) == ([], 5)
    assert made.next_due() == pytest.approx(10.0 + RETRY.delay(1, 0))
    made.wake(12.0)
    assert lease(made, "a", 6, 2, 12.0) == [(0, 1)]
    made.wake(15.0)
    assert lease(made, "a", 6, 3, 15.0) == [(1, 2), (4, 1)]
    made.wake(19.0)
    assert lease(made, "a", 6, 4, 19.0) == [(3, 1)]


def test_a_job_that_gives_up_has_failed_however_many_attempts_are_left() -> None:
    made = window(2, attempts=3)
    lease(made, "a", 2)
    abandoned, retried = made.fail("a", [replace(failure(1), retry_ms=NEVER)], 0.0)
    assert ([(job.offset, job.attempts) for job in abandoned], retried) == ([(1, 1)], 0)


@pytest.mark.parametrize("option, asked, attempts", [(None, 0, defaults.ATTEMPTS), (None, 5, 5), (2, 5, 2), (4, 1, 4)])
def test_the_option_of_the_run_wins_over_the_attempts_of_the_handler(option: int | None, asked: int,
                                                                     attempts: int) -> None:
    made = Window(0, 100, MUCH, option)
    made.admit(batch([0]))
    for attempt in range(1, attempts + 1):
        made.wake(attempt * 1000.0)
        assert lease(made, "a", 1, attempt, attempt * 1000.0) == [(0, 1)]
        abandoned, _ = made.fail("a", [replace(failure(0, attempt), attempts=asked)], attempt * 1000.0)
        assert bool(abandoned) is (attempt == attempts)


# -- renewing


@pytest.mark.parametrize("request_number, held, back", [
    (2, [(0, 4)], 0),
    (2, [(0, 2)], 2),
    (2, [(1, 2)], 2),
    (2, [], 4),
    (1, [], 0),                # this very request was answered with the lease: the slave cannot have known
    (2, [(0, 4), (50, 9)], 0),
])
def test_what_is_not_listed_goes_back(request_number: int, held: list[Run], back: int) -> None:
    made = window(6)
    lease(made, "a", 4, granted_by_seq=1)
    assert made.renew("a", request_number, Runs(held)) == back
    assert (made.leased("a"), made.ready) == (4 - back, 2 + back)


def test_what_was_settled_and_is_not_listed_does_not_go_back() -> None:
    made = window(4)
    lease(made, "a", 4)
    made.settle("a", 1, 2)
    assert made.renew("a", 2, Runs([(0, 1), (3, 1)])) == 0 and made.renew("a", 3, Runs()) == 2


def test_renewing_takes_nothing_from_others() -> None:
    made = window(4)
    lease(made, "a", 2)
    lease(made, "b", 2)
    made.renew("a", 5, Runs())
    assert (made.leased("a"), made.leased("b")) == (0, 2)


# -- deaths


def test_one_death_is_an_accident_and_two_make_suspects() -> None:
    made = window(16)
    lease(made, "a", 16)
    made.forfeit("a", "died", True)
    assert (made.suspects, lease(made, "b", 16)) == (False, [(0, 16)])
    made.forfeit("b", "died", True)
    assert (made.suspects, made.ready, lease(made, "c", 16)) == (True, 0, [])
    assert runs(made.lease_suspect("c", 1, 0.0)) == [(0, 2)] and made.holds_suspect("c")


def test_what_was_settled_before_a_death_is_no_suspect() -> None:
    made = window(4)
    for holder in ("a", "b"):
        lease(made, holder, 4)
        made.settle(holder, 1, 2)
        made.forfeit(holder, "died", True)
    assert [runs(made.lease_suspect("c", 1, 0.0)) for _ in range(3)] == [[(0, 1)], [(3, 1)], []]


@pytest.mark.parametrize("jobs, attempts", [(64, 3), (64, 1), (64, 5), (8, 3), (1, 3)])
@pytest.mark.parametrize("killer", [0, 1, 37, 63])
def test_a_killer_among_many_jobs_costs_few_slaves_and_itself(jobs: int, attempts: int, killer: int) -> None:
    killer %= jobs
    made, deaths, buried = window(jobs, attempts=attempts), 0, []
    while made.in_flight and deaths <= attempts + 3:
        holder = f"slave{deaths}"
        held = made.lease_suspect(holder, 1, 0.0) or made.lease(holder, 1, jobs, MUCH, 0.0)
        if any(chunk.first <= killer < chunk.end for chunk in held):
            deaths += 1
            buried += made.forfeit(holder, "killed by SIGSEGV", True)
        else:
            for chunk in held:
                made.settle(holder, chunk.first, chunk.count)
    assert (made.in_flight, [job.offset for job in buried]) == (0, [killer])
    assert (buried[0].kind, buried[0].attempts) == ("killed", attempts)
    assert buried[0].message.endswith(": killed by SIGSEGV" + (f", {attempts} times" if attempts > 1 else ""))


def test_who_leaves_in_good_order_makes_no_suspects() -> None:
    made = window(4)
    for holder in "abcdef":
        lease(made, holder, 4)
        made.give_back(holder)
    assert not made.suspects and made.ready == 4


# -- the watermark and its cursor


@pytest.mark.parametrize("settled, watermark, cursor", [
    ([], 0, NO_CURSOR),
    ([(0, 1)], 1, "id-0"),
    ([(1, 5)], 0, NO_CURSOR),
    ([(0, 2)], 2, 2),            # a Job without a cursor of its own: offset + 1
    ([(0, 3)], 3, "id-2"),
    ([(0, 4)], 4, 4),            # plain payloads
    ([(3, 2), (0, 3)], 5, 5),
    ([(0, 6)], 6, ("a", 5)),
    ([(1, 5), (0, 1)], 6, ("a", 5)),
])
def test_the_cursor_is_the_last_settled_jobs(settled: list[Run], watermark: int, cursor: Any) -> None:
    made = Window(0, 100, MUCH, 3)
    made.admit(batch(range(3)), ["id-0", NO_CURSOR, "id-2"])
    made.admit(batch([3, 4]))
    made.admit(batch([5]), [("a", 5)])
    lease(made, "a", 6)
    made.end_of_source()
    for run in settled:
        made.settle("a", *run)
    point = made.resume_point(0.0)
    assert (made.watermark, point.offset, point.cursor) == (watermark, watermark, cursor)


def test_a_job_that_cannot_be_sent_is_settled_as_a_failure_in_its_place() -> None:
    made = window(2)
    buried = made.admit_bad(BadJob(0, "unpicklable", "TypeError", "cannot be encoded"), "id-2")
    assert (buried.offset, buried.cursor, buried.attempts, buried.batch) == (2, "id-2", 0, None)
    assert (made.head, made.watermark, made.in_flight) == (3, 0, 2)
    lease(made, "a", 2)
    made.settle("a", 0, 2)
    made.end_of_source()
    assert (made.watermark, made.resume_point(0.0).cursor) == (3, "id-2")


def test_a_buried_job_has_its_own_cursor() -> None:
    made = Window(0, 100, MUCH, 1)
    made.admit(batch([0, 1]), ["id-0", "id-1"])
    lease(made, "a", 2)
    [buried], _ = made.fail("a", [failure(1)], 0.0)
    assert buried.cursor == "id-1"


class Incomparable:
    """As an array of numbers is: neither equal nor unequal."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


@pytest.mark.parametrize("cursors, plain", [
    (None, True), ([NO_CURSOR, 2], True), ([1, NO_CURSOR], False), ([freeze(Incomparable()), 2], False),
])
def test_a_cursor_of_its_own_is_known_as_such_whatever_its_value(cursors: list[Any] | None, plain: bool) -> None:
    """The cursor was compared with offset + 1: an id that happened to be that passed for none, an array raised."""
    made = window()
    made.admit(batch(["x", "y"]), cursors)
    assert made.next_is_plain is plain
    assert (made.next_cursor is NO_CURSOR) is plain


def test_it_can_show_the_first_unfinished_payload() -> None:
    made = window(5, first=10)
    before = made.first_unfinished()
    lease(made, "a", 5)
    made.settle("a", 10, 2)
    now = made.first_unfinished()
    assert before is not None and now is not None and (before(), now(), before()) == (10, 12, 10)
    made.settle("a", 12, 3)
    assert made.first_unfinished() is None


# -- where a run can be resumed


def test_what_is_settled_above_a_job_that_takes_long_is_in_the_checkpoint() -> None:
    """It was not: after a kill -9 behind a straggler 633,833 jobs ran again."""
    made = window(10)
    lease(made, "a", 10, now=1.0)
    made.settle("a", 2, 3)
    made.settle("a", 6, 1)
    soon, late = made.resume_point(1.0 + defaults.STANDS_SECONDS), made.resume_point(1.1 + defaults.STANDS_SECONDS)
    assert (soon.offset, soon.cursor, soon.above.above().runs) == (0, NO_CURSOR, ())
    assert (late.offset, late.above.above().runs) == (0, ((2, 3), (6, 1)))
    made.settle("a", 0, 1)
    point = made.resume_point(9.0)
    assert (point.offset, point.cursor, point.above.above().runs) == (1, 1, ((2, 3), (6, 1)))


def test_a_job_that_waits_for_its_retry_makes_the_watermark_stand() -> None:
    made = window(2)
    lease(made, "a", 2)
    made.settle("a", 1, 1)
    made.fail("a", [failure(0)], 0.2)
    assert made.stands(0.5) and not made.stands(0.2)
    made.wake(9.0)
    lease(made, "b", 1, now=9.0)
    assert made.stands(9.1), "it was handed out long ago"


def test_jobs_that_share_the_newest_cursor_are_pulled_again_and_passed_over() -> None:
    """A page of jobs with one cursor: stopped inside it, a resume began behind it, and 50 jobs were lost."""
    made = window()
    made.admit(batch(range(4)), ["a", "b", "b", "b"], 10)
    lease(made, "a", 4)
    made.settle("a", 0, 4)
    point = made.resume_point(0.0)
    assert (point.offset, point.cursor, point.above.above().runs) == (1, "a", ((1, 3),))
    made.admit(batch([4]), ["c"], 10)
    point = made.resume_point(0.0)
    assert (made.watermark, point.offset, point.cursor, point.above.above().runs) == (4, 4, "b", ())


def test_the_last_cursor_counts_once_the_source_has_ended() -> None:
    made = window()
    made.admit(batch(range(2)), ["a", "b"], 10)
    lease(made, "a", 2)
    made.settle("a", 0, 2)
    assert made.resume_point(0.0).offset == 1
    made.end_of_source()
    point = made.resume_point(0.0)
    assert (point.offset, point.cursor, point.above.above().runs) == (2, "b", ())


def test_what_an_earlier_run_settled_is_not_handed_out_and_stays_in_the_checkpoint() -> None:
    before = window(6)
    lease(before, "a", 6)
    before.settle("a", 2, 2)
    [entry] = before.resume_point(9.0).above.entries
    entry.identify()
    made = window(2)
    made.admit_settled(entry)
    made.admit(batch([4, 5]))
    assert lease(made, "b", 6, now=0.0) == [(0, 2), (4, 2)] and made.settled == 2
    assert made.resume_point(9.0).above.above().runs == ((2, 2),)
    made.settle("b", 0, 2)
    assert (made.watermark, made.resume_point(9.0).offset) == (4, 4)


# -- any history


def left(made: Window) -> Sequence[int]:
    return [run[0] for chunk in made._chunks._chunks.values() for run in chunk.left]


def test_a_long_history_leaves_nothing_behind() -> None:
    made = window(0, size=1000)
    for turn in range(200):
        made.admit(batch(range(made.room())))
        for holder in ("a", "b", "c"):
            lease(made, holder, 1 + turn * 37 % 400)
        made.give_back("b")
        for chunk in [*made._chunks.held_by("a"), *made._chunks.held_by("c")]:
            made.settle(chunk.holder, chunk.first, chunk.count)
    lease(made, "a", 2000)
    made.settle("a", made.watermark, 2000)
    assert (made.in_flight, left(made), made.watermark, made._chunks.bytes) == (0, [], made.head, 0)
    assert made._chunks.next_ready() is None and not made._chunks._ready and not made._chunks._leases
