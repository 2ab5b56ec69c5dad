"""Checkpoints on a real disk: whatever is cut, flipped or refused, never silently from 0."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.state_folder import at, names, refusing
from support.values import closing_with

from taskmaster.errors import StateMismatch, StateUnwritable
from taskmaster.master.state.checkpoint import encode
from taskmaster.master.state.folder import StateFolder


def test_a_folder_in_which_nothing_ran_has_no_checkpoint(folder: StateFolder) -> None:
    assert folder.load() is None


def test_the_newest_checkpoint_is_loaded_and_the_one_before_is_kept(folder: StateFolder) -> None:
    for offset in (1, 2, 3):
        folder.save(at(offset))
        assert folder.load() == at(offset)
    assert names(folder) == ["checkpoint.json", "checkpoint.prev.json", "lock"]
    assert (folder.path / "checkpoint.prev.json").read_bytes() == encode(at(2))


@pytest.mark.parametrize("previous", ["is missing", "is cut short"])
def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_a_damaged_one(previous: str, two: StateFolder) -> None:
    (two.path / "checkpoint.json").unlink()
    (two.path / "checkpoint.json").mkdir()  # for root, too, nothing that can be read
    if previous == "is missing":
        (two.path / "checkpoint.prev.json").unlink()
    else:
        (two.path / "checkpoint.prev.json").write_text("x")
    wanted = f"cannot be read: checkpoint.json .*checkpoint.prev.json {previous}"
    with pytest.raises(StateUnwritable, match=wanted) as told:
        two.load()
    assert "--reset" not in str(told.value)


def test_a_folder_whose_files_cannot_be_looked_at_is_not_taken_for_an_empty_one(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "stat", refusing(errno.EIO))
    with pytest.raises(StateUnwritable, match="cannot be read: .*Input/output error"):
        folder.load()


def test_a_main_file_cut_at_any_byte_falls_back_to_the_one_before(
    two: StateFolder, caplog: pytest.LogCaptureFixture
) -> None:
    main = two.path / "checkpoint.json"
    whole = main.read_bytes()
    for length in range(len(whole)):
        main.write_bytes(whole[:length])
        caplog.clear()
        assert two.load() == at(1)
        assert "checkpoint.json is cut short" in caplog.text and "run again" in caplog.text
    main.write_bytes(whole)
    assert two.load() == at(2)


def test_a_flipped_bit_anywhere_falls_back_to_the_one_before(two: StateFolder) -> None:
    main = two.path / "checkpoint.json"
    whole = main.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        main.write_bytes(flipped)
        assert two.load() == at(1)


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_bytes(b""), lambda path: path.unlink(),
    lambda path: (path.unlink(), path.mkdir()),
], ids=["empty", "missing", "a folder"])
def test_whatever_became_of_the_main_file_the_one_before_serves(
    spoil: Callable[[Path], Any], two: StateFolder
) -> None:
    spoil(two.path / "checkpoint.json")
    assert two.load() == at(1)


@pytest.mark.parametrize("main", [b"", b"xxx", None])
@pytest.mark.parametrize("previous", [b"", b"xxx", None])
def test_when_neither_serves_the_run_is_refused_with_the_ways_out(
    main: bytes | None, previous: bytes | None, two: StateFolder
) -> None:
    for name, content in (("checkpoint.json", main), ("checkpoint.prev.json", previous)):
        if content is None:
            (two.path / name).unlink()
        else:
            (two.path / name).write_bytes(content)
    if main is None and previous is None:
        two.handed_out.note(5)  # no checkpoint at all, but jobs were handed out here
    with pytest.raises(StateMismatch, match=rf"{two.path} .*point.json.*point.prev.json.*backup.*--reset"):
        two.load()


def test_failures_without_a_checkpoint_are_no_fresh_start_either(folder: StateFolder) -> None:
    folder.failures_path.write_bytes(b"{}\n")
    with pytest.raises(StateMismatch):
        folder.load()


def test_a_newer_format_is_refused_although_the_one_before_is_good(two: StateFolder) -> None:
    line = b'{"format": 99}'
    (two.path / "checkpoint.json").write_bytes(line + b"\n%08x\n" % zlib.crc32(line))
    with pytest.raises(StateMismatch, match="format 99"):
        two.load()


def test_a_damaged_main_file_never_replaces_the_good_one_before(two: StateFolder) -> None:
    (two.path / "checkpoint.json").write_bytes(b"xxx")
    two.save(at(3))
    assert two.load() == at(3)
    assert (two.path / "checkpoint.prev.json").read_bytes() == encode(at(1))


def test_a_filesystem_without_hard_links_gets_copies(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    for offset in (1, 2, 3):
        folder.save(at(offset))
    assert folder.load() == at(3)
    assert (folder.path / "checkpoint.prev.json").read_bytes() == encode(at(2))
    assert names(folder) == ["checkpoint.json", "checkpoint.prev.json", "lock"]


def test_a_short_write_is_no_checkpoint(two: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    room = [100]

    def write(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(file, data[:room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left on device: .*checkpoint.json.tmp"):
            two.save(at(3))
    assert two.load() == at(2)
    assert names(two) == ["checkpoint.json", "checkpoint.prev.json", "lock"]
    two.save(at(4))
    assert two.load() == at(4)


def test_a_save_is_synced_before_it_is_named_and_the_names_last(
    two: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            return real(*arguments, **options)
        return call

    with monkeypatch.context() as patch:
        for name in ("write", "fsync", "link", "replace"):
            patch.setattr(os, name, noted(name))
        two.save(at(3))
    assert calls == ["write", "fsync", "link", "replace", "replace", "fsync"]


def test_a_checkpoint_is_saved_although_close_reports_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", closing_with(errno.EIO))
        with StateFolder(tmp_path / "state") as folder:
            folder.save(at(1))
            folder.save(at(2))
    with StateFolder(tmp_path / "state") as following:
        assert following.load() == at(2)


def test_the_same_workload_passes_the_check(folder: StateFolder) -> None:
    folder.check(at(1), "jobs", {"n": "5"})


@pytest.mark.parametrize("target, arguments, told", [
    ("other", {"n": "5"}, "target was 'jobs' and is now 'other'"),
    ("jobs", {"n": "6"}, "argument n was '5' and is now '6'"),
    ("jobs", {}, "argument n was '5' and is now not given"),
    ("jobs", {"n": "5", "m": "x" * 200}, "argument m was not given and is now 'xxx"),
    ("other", {"n": "6"}, "target was 'jobs' and is now 'other'; argument n was '5' and is now '6'"),
])
def test_another_workload_is_told_what_differs_and_the_ways_out(
    target: str, arguments: dict[str, str], told: str, folder: StateFolder
) -> None:
    with pytest.raises(StateMismatch) as caught:
        folder.check(at(1), target, arguments)
    message = str(caught.value)
    assert all(part in message for part in (told, str(folder.path), "--state DIR", "--reset"))
    assert len(message) < 500
