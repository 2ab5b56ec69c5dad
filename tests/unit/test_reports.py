"""What a slave has to report: nothing is forgotten before the master has heard it."""

from __future__ import annotations

from taskmaster import defaults
from taskmaster.core.reports import Reports
from taskmaster.core.wire import FailedAttempt


def failure(offset: int, text: str = "no") -> FailedAttempt:
    return FailedAttempt(offset, 1, "raised", "ValueError", text, "")


def test_what_is_settled_is_listed_until_a_request_reports_it() -> None:
    reports = Reports()
    reports.leased(0, 10)
    assert reports.listed == ((0, 10),) and reports.delivered
    reports.settled(0, 4, 1.0)
    assert reports.listed == ((0, 10),) and reports.done == () and reports.pending
    reports.collect()
    assert (reports.listed, reports.done) == (((4, 6),), ((0, 4),)) and not reports.pending and not reports.delivered
    reports.answered()
    assert reports.done == () and reports.delivered


def test_an_unanswered_request_is_repeated_by_the_next() -> None:
    reports = Reports()
    reports.leased(0, 10)
    reports.settled(0, 1, 1.0)
    reports.failed(failure(5), 1.0)
    reports.collect()
    reports.settled(1, 1, 2.0)
    reports.collect()
    assert reports.done == ((0, 2),) and [failed.offset for failed in reports.failures] == [5]


def test_the_oldest_report_says_since_when_it_waits() -> None:
    reports = Reports()
    reports.leased(0, 10)
    reports.returned(9, 1, 1.0)
    reports.settled(0, 1, 2.0)
    assert reports.pending_since == 1.0 and reports.listed == ((0, 9),)
    reports.collect()
    assert reports.pending_since is None
    reports.declined(3.0)
    assert reports.pending_since == 3.0


def test_what_does_not_fit_stays_listed_and_pending() -> None:
    reports = Reports()
    most = defaults.REPORT_FAILURES
    reports.leased(0, most + 1)
    for offset in range(most + 1):
        reports.failed(failure(offset), 1.0)
    assert reports.congested
    reports.collect()
    assert len(reports.failures) == most and reports.listed == ((most, 1),) and reports.pending
    assert not reports.congested
    reports.answered()
    reports.collect()
    assert [failed.offset for failed in reports.failures] == [most] and not reports.pending


def test_failures_with_long_texts_are_spread_over_requests() -> None:
    reports = Reports()
    for offset in range(3):
        reports.failed(failure(offset, "x" * defaults.REPORT_CHARACTERS), 1.0)
    sent = []
    while not reports.delivered:
        reports.collect()
        sent.append([failed.offset for failed in reports.failures])
        reports.answered()
    assert sent == [[0], [1], [2]]


def test_more_runs_than_a_request_carries_follow_in_the_next() -> None:
    reports = Reports()
    for offset in range(defaults.REPORT_RUNS + 5):
        reports.settled(2 * offset, 1, 1.0)
    reports.collect()
    assert len(reports.done) == defaults.REPORT_RUNS and reports.pending
    reports.answered()
    reports.collect()
    assert len(reports.done) == 5 and not reports.pending


def test_another_master_hears_nothing_of_what_was_done_for_the_first() -> None:
    reports = Reports()
    reports.leased(0, 10)
    reports.settled(0, 1, 1.0)
    reports.failed(failure(1), 1.0)
    reports.collect()
    reports.settled(2, 1, 1.0)
    reports.clear()
    reports.collect()
    assert (reports.listed, reports.done, reports.failures) == ((), (), ()) and reports.delivered
