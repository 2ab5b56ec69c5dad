"""Cursors on their way to a slave."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from taskmaster import defaults
from taskmaster.core.leased_cursors import encode_cursors
from taskmaster.core.portable import freeze
from taskmaster.job import NO_CURSOR
from taskmaster.slave.leased_cursors import LeasedCursors

CURSORS: list[Any] = [7, "x", ("a", 1), {"n": None}, True, None, "é\udcff", 1 << 70]


@pytest.mark.parametrize("form", ["pickle", "pickles"])
def test_each_job_has_its_cursor_and_one_without_its_number(form: str) -> None:
    frozen = [*map(freeze, CURSORS), NO_CURSOR]
    leased = LeasedCursors(100, form, encode_cursors(frozen, form))
    assert [leased.of(100 + at) for at in range(len(frozen))] == [*CURSORS, 109]


def test_json_brings_what_json_can_carry_and_refuses_pickles() -> None:
    frozen = [freeze(one) for one in (7, "x", [1, {"a": 2.5}], None)] + [NO_CURSOR, freeze(date(2026, 11, 25))]
    leased = LeasedCursors(-1, "json", encode_cursors(frozen, "json"))
    assert [leased.of(at - 1) for at in range(5)] == [7, "x", [1, {"a": 2.5}], None, 4]
    with pytest.raises(ValueError, match="with --codec json none is read"):
        leased.of(4)


def test_where_no_job_has_its_own_nothing_is_sent() -> None:
    assert encode_cursors(None, "pickle") == b""


@pytest.mark.parametrize("form", ["pickle", "json"])
def test_cursors_too_large_to_send_are_not_taken_for_numbers(form: str) -> None:
    leased = LeasedCursors(0, form, encode_cursors(["x" * defaults.CURSORS_BYTES], form))
    with pytest.raises(ValueError, match="were not sent"):
        leased.of(0)
