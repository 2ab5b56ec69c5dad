"""How a run ends, as a table of facts."""

from __future__ import annotations

import pytest

from taskmaster.core.budget import FailureBudget
from taskmaster.core.codec import BadJob
from taskmaster.errors import (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_SOURCE_FAILED,
                               EXIT_STATE_MISMATCH, EXIT_TOO_MANY_FAILURES, EXIT_USAGE, StateMismatch)
from taskmaster.master.ending import Facts, ending_for, first_job_unsendable, source_exhausted, source_failed

DONE, LIMITED, BROKEN = source_exhausted(False), source_exhausted(True), source_failed(ValueError("no"))
CHANGED = source_failed(StateMismatch("another source"))


@pytest.mark.parametrize("facts, code", [
    (Facts(), None),
    (Facts(settled=True), None),
    (Facts(source_end=DONE), None),
    (Facts(source_end=DONE, settled=True, handled=5), EXIT_DONE),
    (Facts(source_end=DONE, settled=True, handled=5, failed=1), EXIT_DONE_WITH_FAILURES),
    (Facts(source_end=LIMITED, settled=True, failed=1), EXIT_DONE_WITH_FAILURES),
    (Facts(source_end=DONE, settled=True, handled=5, failed_before=1), EXIT_DONE_WITH_FAILURES),
    (Facts(source_end=DONE, settled=True, failed_before=3), EXIT_DONE_WITH_FAILURES),
    (Facts(source_end=DONE, failed_before=3), None),
    (Facts(source_end=BROKEN), None),
    (Facts(source_end=BROKEN, settled=True), EXIT_SOURCE_FAILED),
    (Facts(source_end=BROKEN, settled=True, failed=1), EXIT_SOURCE_FAILED),
    (Facts(source_end=CHANGED, settled=True), EXIT_STATE_MISMATCH),
    (Facts(failed=2), None),
    (Facts(failed=3), EXIT_TOO_MANY_FAILURES),
    (Facts(source_end=DONE, settled=True, failed=3), EXIT_TOO_MANY_FAILURES),
    (Facts(interrupted=True), EXIT_INTERRUPTED),
    (Facts(interrupted=True, failed=3), EXIT_INTERRUPTED),
    (Facts(interrupted=True, source_end=DONE, settled=True), EXIT_INTERRUPTED),
    (Facts(crew_verdict=EXIT_USAGE), EXIT_USAGE),
    (Facts(crew_verdict=0), EXIT_ERROR),
    (Facts(crew_verdict=EXIT_USAGE, interrupted=True), EXIT_USAGE),
    (Facts(crew_verdict=EXIT_USAGE, source_end=DONE), EXIT_USAGE),
    (Facts(crew_verdict=0, source_end=DONE, settled=True, handled=5), EXIT_DONE),
])
def test_a_run_ends_for_its_reason(facts: Facts, code: int | None) -> None:
    ending = ending_for(facts, FailureBudget(most=2))
    assert (ending and ending.code) == code


@pytest.mark.parametrize("facts, drains, finished", [
    (Facts(interrupted=True), True, False),
    (Facts(source_end=DONE, settled=True), False, True),
    (Facts(source_end=DONE, settled=True, failed=1), False, True),
    (Facts(source_end=LIMITED, settled=True), False, False),
    (Facts(source_end=BROKEN, settled=True), False, False),
    (Facts(crew_verdict=1), False, False),
])
def test_only_an_interrupt_drains_and_only_an_exhausted_source_is_finished(facts: Facts, drains: bool,
                                                                           finished: bool) -> None:
    ending = ending_for(facts, FailureBudget())
    assert ending is not None and (ending.drains, ending.finished) == (drains, finished)


def test_the_source_s_own_error_is_passed_on() -> None:
    error = ValueError("no")
    assert source_failed(error).error is error and DONE.error is None


def test_a_first_job_that_cannot_be_sent_is_explained_with_a_way_out() -> None:
    ending = first_job_unsendable(BadJob(0, "unpicklable", "TypeError", "cannot be encoded as pickle: a lambda"))
    text = str(ending.error)
    assert ending.code == EXIT_ERROR
    assert text.startswith("The very first job cannot be encoded as pickle: a lambda (TypeError).") and "an id" in text


def test_slaves_that_all_ended_are_an_error_that_says_the_run_can_be_resumed() -> None:
    ending = ending_for(Facts(crew_verdict=0), FailureBudget())
    assert ending is not None and "can be resumed" in str(ending.error)
