"""The failures file on a real disk: whole lines only, whatever happens to the writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.limits import no_file_larger_than
from support.values import closing_with
from support.values import failure_record as failure

from taskmaster import durable
from taskmaster.core.failure import to_line
from taskmaster.core.identity import IDENTITY_BYTES
from taskmaster.core.settled import Above
from taskmaster.master.state.failures import FailuresFile


def offsets(file: FailuresFile) -> list[int]:
    return [one.offset for one in file.read()]


@pytest.fixture
def file(tmp_path: Path) -> FailuresFile:
    return FailuresFile(tmp_path / "failures.jsonl")


def failing(real: Callable[..., Any], times: int = 1) -> Callable[..., Any]:
    """A system call that fails so many times and then works."""
    left = [times]

    def call(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments)
    return call


def test_records_are_read_in_the_order_they_were_appended(file: FailuresFile) -> None:
    assert offsets(file) == []
    file.append([failure(3), failure(1)])
    file.append([])
    file.append(iter([failure(2)]))
    assert list(file.read()) == [failure(3), failure(1), failure(2)]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_nothing_to_append_makes_no_file(file: FailuresFile) -> None:
    file.append([])
    assert not file.path.exists()


def test_where_there_is_no_room_the_file_stays_as_it_was(file: FailuresFile) -> None:
    file.append([failure(1)])
    before = file.path.read_bytes()
    with no_file_larger_than(len(before) + 100), pytest.raises(OSError) as caught:
        file.append([failure(2), failure(3)])
    assert caught.value.errno == errno.EFBIG and "failures.jsonl" in str(caught.value)
    assert file.path.read_bytes() == before
    file.append([failure(2), failure(3)])
    assert offsets(file) == [1, 2, 3]


def test_a_failed_fsync_leaves_no_second_copy(file: FailuresFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.append([failure(1)])
    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    with pytest.raises(OSError):
        file.append([failure(2)])
    file.append([failure(2)])
    assert offsets(file) == [1, 2]


@pytest.mark.parametrize("fails", [1, 2], ids=["on the folder", "on the file"])
def test_nor_does_one_on_the_first_record(
    fails: int, file: FailuresFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(os.fsync, fails))
    for _ in range(fails):
        with pytest.raises(OSError):
            file.append([failure(1)])
    file.append([failure(1)])
    assert offsets(file) == [1]


@pytest.mark.parametrize("code", [errno.EIO, errno.EDQUOT])
def test_lines_are_not_written_again_because_close_reports_an_error(
    code: int, file: FailuresFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "close", closing_with(code))
    file.append([failure(1)])
    file.append([failure(2)])
    assert offsets(file) == [1, 2]


@pytest.mark.parametrize("resumed", [False, True])
def test_what_could_not_be_cut_back_at_once_is_cut_back_later(
    resumed: bool, file: FailuresFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.append([failure(1)])
    file = FailuresFile(file.path) if resumed else file
    with monkeypatch.context() as broken:
        broken.setattr(durable, "sync_folder", lambda folder: None)
        broken.setattr(os, "fsync", failing(os.fsync))
        broken.setattr(os, "ftruncate", failing(os.ftruncate))
        with pytest.raises(OSError):
            file.append([failure(2)])
    assert offsets(file) == [1, 2]
    file.append([failure(3)])
    assert offsets(file) == [1, 3]


@pytest.mark.parametrize("length", [1, 100, 200_000])
def test_a_torn_line_of_a_killed_master_is_cut_off_before_the_next(length: int, file: FailuresFile) -> None:
    file.append([failure(1)])
    torn = to_line(failure(2))[:-1] + b"x" * length
    file.path.write_bytes(file.path.read_bytes() + torn[:length])
    file.append([failure(3)])
    assert offsets(file) == [1, 3]
    assert file.path.read_bytes() == to_line(failure(1)) + to_line(failure(3))


def test_a_file_of_one_torn_line_is_emptied(file: FailuresFile) -> None:
    file.path.write_bytes(b"x" * 65536)
    file.append([failure(3)])
    assert file.path.read_bytes() == to_line(failure(3))


def test_a_file_moved_away_between_two_records_is_made_again(file: FailuresFile) -> None:
    file.append([failure(1)])
    file.path.rename(file.path.with_name("seen"))
    file.append([failure(2)])
    assert offsets(file) == [2]


def test_a_resume_keeps_the_records_below_its_watermark(file: FailuresFile) -> None:
    file.append([failure(5), failure(10), failure(9), failure(11)])
    assert file.prune(10) == 2
    assert offsets(file) == [5, 9]
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.append([failure(10)])
    assert offsets(file) == [5, 9, 10]


def test_a_resume_keeps_the_records_above_its_watermark_whose_jobs_do_not_run_again(file: FailuresFile) -> None:
    """They were dropped, and no run would have shown them again: their jobs count as settled."""
    file.append([failure(5), failure(10), failure(12), failure(13)])
    assert file.prune(10, Above(((12, 1), (14, 2)), bytes(3 * IDENTITY_BYTES))) == 2
    assert offsets(file) == [5, 12]


def test_a_resume_that_needs_to_drop_nothing_leaves_the_file_alone(file: FailuresFile) -> None:
    assert file.prune(10) == 0
    assert not file.path.exists()
    file.append([failure(5)])
    inode = file.path.stat().st_ino
    assert file.prune(10) == 1
    assert file.path.stat().st_ino == inode


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_resume_drops_a_torn_last_line(cut: int, file: FailuresFile) -> None:
    file.append([failure(1), failure(2)])
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:-1 - cut])
    assert file.prune(10) == 1
    assert file.path.read_bytes() == to_line(failure(1))


def test_a_last_record_below_the_watermark_that_lacks_only_its_line_end_is_kept(file: FailuresFile) -> None:
    file.path.write_bytes(to_line(failure(1)) + to_line(failure(2)).rstrip())
    assert file.prune(10) == 2
    assert file.path.read_bytes() == to_line(failure(1)) + to_line(failure(2))


def test_what_a_resume_kept_is_not_cut_off_by_the_next_record(file: FailuresFile) -> None:
    file.append([failure(1)])
    file.path.write_bytes(to_line(failure(1)) + to_line(failure(2)).rstrip())
    file.prune(10)
    file.append([failure(3)])
    assert offsets(file) == [1, 2, 3]


def test_lines_that_cannot_be_read_are_kept_and_passed_over(
    file: FailuresFile, caplog: pytest.LogCaptureFixture
) -> None:
    file.path.write_bytes(b"\xff garbage\n" + to_line(failure(1)) + to_line(failure(20)))
    assert file.prune(10) == 1
    assert file.path.read_bytes() == b"\xff garbage\n" + to_line(failure(1))
    assert offsets(file) == [1]
    assert "Line 1 of" in caplog.text and "skipping it" in caplog.text


def test_a_resume_without_room_leaves_the_file_as_it_was(file: FailuresFile) -> None:
    file.append([failure(1), failure(2), failure(30)])
    before = file.path.read_bytes()
    with no_file_larger_than(100), pytest.raises(OSError):
        file.prune(10)
    assert file.path.read_bytes() == before
    assert list(file.path.parent.iterdir()) == [file.path]
