"""--reset: what was there is moved aside, and a reset that is cut short never begins a run anew."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.state_folder import Crash, PowerSwitch, at, names, refusing

from taskmaster.errors import StateMismatch, StateUnwritable
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.folder import StateFolder


def test_a_folder_that_cannot_be_looked_at_is_reported_and_released(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refusing(errno.EIO))
        with pytest.raises(StateUnwritable, match="Input/output error"):
            folder.reset()
        folder.close()
        with pytest.raises(StateUnwritable, match="Input/output error"):
            folder.open()
    folder.open()


def test_a_reset_moves_everything_aside(two: StateFolder) -> None:
    two.failures_path.write_bytes(b"{}\n")
    two.handed_out.note(5)
    aside = two.reset()
    assert aside is not None
    assert names(two) == ["lock", aside.name]
    assert sorted(path.name for path in aside.iterdir()) == [
        "checkpoint.json", "checkpoint.prev.json", "failures.jsonl", "handed-out"]
    assert two.load() is None
    two.save(at(0))
    assert two.load() == at(0)
    assert not (two.path / "checkpoint.prev.json").exists()


def test_a_reset_of_nothing_leaves_nothing(folder: StateFolder) -> None:
    assert folder.reset() is None
    assert names(folder) == ["lock"]


def test_a_reset_makes_way_out_of_damage(two: StateFolder) -> None:
    for name in ("checkpoint.json", "checkpoint.prev.json"):
        (two.path / name).write_bytes(b"xxx")
    two.reset()
    assert two.load() is None


def test_the_last_three_resets_are_kept_also_when_the_clock_goes_back(tmp_path: Path) -> None:
    times = [1_000.25, 2_000.0, 3_000.0, 4_000.0, 500.0]
    with StateFolder(tmp_path, clock=lambda: times.pop(0)) as folder:
        (tmp_path / "old-mine").mkdir()
        made = []
        for offset in range(5):
            folder.save(at(offset))
            made.append(folder.reset())
        left = [path for path in names(folder) if path.startswith("old-")]
        stamps = ("000820", "005000", "010640")
        assert left == [f"old-19700101T{stamp}.000000Z" for stamp in stamps] + ["old-mine"]
        assert made[-1] is not None and made[-1].exists()


def outcome(folder: StateFolder) -> Checkpoint | str | None:
    try:
        return folder.load()
    except StateMismatch:
        return "refused"


def test_a_reset_that_is_cut_short_never_begins_a_run_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lasts in range(100):
        path = tmp_path / str(lasts)
        with StateFolder(path) as folder:
            folder.save(at(1))
            folder.save(at(2))
            folder.failures_path.write_bytes(b"{}\n")
            folder.handed_out.note(5)
            try:
                with monkeypatch.context() as patch:
                    PowerSwitch(patch, lasts)
                    folder.reset()
                    break
            except Crash:
                found = outcome(folder)
                assert found in (at(2), "refused") or (found is None and not folder.failures_path.exists())
                assert found != at(2) or folder.failures_path.exists()
    assert lasts > 4


def test_a_reset_that_the_disk_refuses_says_so(two: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", refusing(errno.EROFS))
    with pytest.raises(StateUnwritable, match="Read-only file system.*--state DIR"):
        two.reset()
