"""How many failures a run bears, and which it names."""

from __future__ import annotations

import pytest

from taskmaster.core.budget import FailureBudget, parse_budget
from taskmaster.errors import UsageError


@pytest.mark.parametrize("text, failed, finished, spent", [
    ("10%", 9, 99, False), ("10%", 50, 99, False), ("10%", 10, 100, False), ("10%", 11, 100, True),
    ("0%", 1, 100, True), ("5", 5, 6, False), ("5", 6, 6, True), ("0", 1, 1, True),
    ("none", 10**6, 10**6, False), ("100%", 500, 500, False),
])
def test_a_run_stops_when_its_budget_is_spent(text: str, failed: int, finished: int, spent: bool) -> None:
    assert parse_budget(text).spent(failed, finished) is spent


@pytest.mark.parametrize("text", ["", "ten", "-1", "1.5", "101%", "%", "nan", "5 %x"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-failures"):
        parse_budget(text)


def test_errors_that_differ_in_their_numbers_are_one() -> None:
    budget = FailureBudget()
    for job in range(7):
        budget.observe("ValueError", f"row {job} is bad\nsecond line")
    budget.observe("KeyError", "")
    assert budget.commonest() == ["7 x ValueError: row N is bad", "1 x KeyError"]


def test_errors_are_counted_in_bounded_memory() -> None:
    budget = FailureBudget()
    for job in range(5000):
        budget.observe("ValueError", "x" * (job % 100) + chr(200 + job))
    assert len(budget.errors) <= FailureBudget.KINDS_KEPT + 1 and sum(budget.errors.values()) == 5000


def test_a_number_with_thousands_is_one_number() -> None:
    budget = FailureBudget()
    budget.observe("JobTooLarge", "17,000,000 bytes, the most is 16,777,216")
    assert budget.commonest() == ["1 x JobTooLarge: N bytes, the most is N"]
