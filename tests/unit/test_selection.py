"""Which recorded failures --where and --offsets choose."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.values import failure_record

from taskmaster.core.selection import parse_selection
from taskmaster.errors import UsageError


@pytest.mark.parametrize("where, offsets, chosen", [
    ([], None, True),
    (["error=KeyError"], None, True),
    (["error=ValueError", "error=KeyError"], None, True),  # one of them
    (["error=shop.KeyError"], None, False),
    (["error=ValueError"], None, False),
    (["error=KeyError", "kind=timeout"], None, False),  # both
    (["error=KeyError", "kind=raised"], "1-7", True),
    ([], "7", True),
    ([], "1, 2,5-9", True),
    ([], "8-100,1-6", False),
    (["error=ValueError"], "7", False),
])
def test_a_record_is_chosen_by_its_error_its_kind_and_its_offset(where: list[str], offsets: str | None,
                                                                 chosen: bool) -> None:
    record = replace(failure_record(7), error="KeyError", kind="raised")
    assert parse_selection(where, offsets).has(record) is chosen


def test_an_error_is_known_by_its_last_name_too() -> None:
    record = replace(failure_record(7), error="shop.orders.Unpaid")
    assert parse_selection(["error=Unpaid"]).has(record) and parse_selection(["error=shop.orders.Unpaid"]).has(record)


@pytest.mark.parametrize("where, offsets, words", [
    (["KeyError"], None, "--where KeyError is not FIELD=VALUE"),
    (["slave=vm"], None, "fields error and kind"),
    (["error="], None, "is not FIELD=VALUE"),
    ([], "", "'' is neither an offset nor a range"),
    ([], "7-3", "'7-3' is neither"),
    ([], "1,x", "'x' is neither"),
    ([], "-3", "'-3' is neither"),
    ([], "²", "'²' is neither"),
])
def test_nonsense_is_refused_with_what_to_write(where: list[str], offsets: str | None, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_selection(where, offsets)
    assert words in str(refused.value)
