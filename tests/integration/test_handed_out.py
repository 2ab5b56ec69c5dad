"""The mark of what was handed out, on a real disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.values import closing_with

from taskmaster.master.state.handed_out import HandedOut


def test_the_mark_is_the_highest_offset_plus_one(tmp_path: Path) -> None:
    mark = HandedOut(tmp_path / "handed-out")
    assert mark.read() is None
    for offset in (-3, 5, 4, 5, 1_000_000_000_000):
        mark.note(offset)
    assert mark.read() == HandedOut(mark.path).read() == 1_000_000_000_001
    mark.close()
    mark.close()


def test_a_resumed_run_does_not_lower_the_mark(tmp_path: Path) -> None:
    HandedOut(tmp_path / "handed-out").note(100)
    mark = HandedOut(tmp_path / "handed-out")
    mark.note(50)
    assert mark.read() == 101
    mark.note(101)
    assert mark.read() == 102


def test_a_negative_mark_is_read_back(tmp_path: Path) -> None:
    mark = HandedOut(tmp_path / "handed-out")
    mark.note(-10)
    assert mark.read() == -9


@pytest.mark.parametrize("content", [b"", b"12", b"+0000000000000000001", b"x" * 100, b"\xff" * 22])
def test_nonsense_is_no_mark_and_is_written_over(content: bytes, tmp_path: Path) -> None:
    mark = HandedOut(tmp_path / "handed-out")
    mark.path.write_bytes(content)
    assert mark.read() is None
    mark.note(5)
    assert mark.read() == 6


def test_a_mark_that_cannot_be_written_stops_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark = HandedOut(tmp_path / "missing" / "handed-out")
    mark.note(1)
    mark.note(2)
    assert mark.read() is None
    assert len(caplog.records) == 1 and "The run continues" in caplog.text


def test_it_is_not_written_for_an_offset_that_is_not_higher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = HandedOut(tmp_path / "handed-out")
    written: list[bytes] = []
    monkeypatch.setattr(os, "pwrite", lambda file, data, position: written.append(data))
    for offset in (7, 7, 3, 8, 0):
        mark.note(offset)
    assert [int(line) for line in written] == [8, 9]


def test_a_close_that_reports_an_error_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = HandedOut(tmp_path / "handed-out")
    mark.note(5)
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", closing_with(errno.EDQUOT))
        mark.close()
    mark.note(6)
    assert mark.read() == 7
