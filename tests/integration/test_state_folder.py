"""The state folder: who may hold it, whom it may belong to, and what is refused before anything is written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.state_folder import at, names, refusing
from support.values import failure_record

from taskmaster import durable
from taskmaster.errors import StateMismatch, StateUnwritable
from taskmaster.master.state.failures import FailuresFile
from taskmaster.master.state.folder import StateFolder
from taskmaster.master.state.lock import LockLost

ROOT = Path(__file__).resolve().parents[2]


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "a" / "b") as folder:
        folder.save(at(1))
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {0o600}


def test_the_name_of_each_new_folder_is_fsynced_before_anything_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[tuple[str, str]] = []
    with monkeypatch.context() as patch:
        for name in ("mkdir", "open"):
            patch.setattr(os, name, noting(calls, name))
        with StateFolder(Path("a/b")):
            assert calls[:5] == [("open", "."), ("mkdir", "a"), ("open", "."), ("mkdir", "a/b"), ("open", "a")]
        calls.clear()
        with StateFolder(Path("a/b")):
            assert calls[0] == ("open", "a")  # a master that was killed had perhaps only made it


def noting(calls: list[tuple[str, str]], name: str) -> Callable[..., Any]:
    """A system call that notes the path it is given."""
    real = getattr(os, name)

    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        calls.append((name, str(path)))
        return real(path, *arguments, **options)
    return call


def test_a_parent_that_cannot_be_read_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "sync_folder", refusing(errno.EACCES))
    durable.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_name_that_cannot_be_fsynced_is_found_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "sync_folder", refusing(errno.EIO))
    with pytest.raises(StateUnwritable, match=os.strerror(errno.EIO)):
        StateFolder(tmp_path / "state").open()


def test_a_second_master_is_refused_with_the_process_that_holds_it(folder: StateFolder) -> None:
    with pytest.raises(StateUnwritable, match=rf"is in use.*process {os.getpid()}\).*--state DIR"):
        StateFolder(folder.path).open()
    folder.close()
    with StateFolder(folder.path):
        pass


def test_a_master_in_another_process_is_refused_too(folder: StateFolder) -> None:
    program = "import sys; from taskmaster.master.state import folder as c; c.StateFolder(sys.argv[1]).open()"
    command = [sys.executable, "-c", program, str(folder.path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"in use by another master (process {os.getpid()})" in done.stderr


def test_a_path_below_a_file_is_unwritable_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateUnwritable, match="file/state cannot be written: Not a directory.*--state DIR"):
        StateFolder(tmp_path / "file" / "state").open()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_found_at_the_start_and_frees_the_lock(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", refusing(code))
        with pytest.raises(StateUnwritable, match=os.strerror(code)):
            StateFolder(tmp_path).open()
    with StateFolder(tmp_path) as folder:
        assert names(folder) == ["lock"]


@pytest.mark.parametrize("mode, who", [(0o777, "Anyone"), (0o770, "Its group"), (0o720, "Its group")])
def test_a_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int, who: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    with pytest.raises(StateUnwritable, match=f"{who} may write.*chmod 700"):
        StateFolder(state).open()
    state.chmod(0o755)
    with StateFolder(state):
        pass


@pytest.mark.parametrize("part", ["", "..", "checkpoint.json"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_state_that_another_user_planted_is_not_read(tmp_path: Path, part: str) -> None:
    state = tmp_path / ".taskmaster" / "state"
    with StateFolder(state) as folder:
        folder.save(at(1))
    os.chown(state / part, 65534, 65534)
    with pytest.raises((StateUnwritable, StateMismatch), match="belongs to user 65534"):
        with StateFolder(state) as folder:
            folder.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give links to others")
def test_a_link_to_a_state_is_followed_if_it_is_ones_own(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to("state")
    with StateFolder(link), pytest.raises(StateUnwritable, match="in use"):
        StateFolder(tmp_path / "state").open()
    os.chown(link, 65534, 65534, follow_symlinks=False)
    with pytest.raises(StateUnwritable, match="belongs to user 65534"):
        StateFolder(link).open()


@pytest.mark.parametrize("name", ["lock", "checkpoint.json", "failures.jsonl"])
def test_no_file_of_a_state_may_be_a_link(tmp_path: Path, name: str) -> None:
    state, victim = tmp_path / "state", tmp_path / "victim"
    state.mkdir(mode=0o700)
    victim.write_bytes(b"precious")
    (state / name).symlink_to(victim)
    with pytest.raises((StateUnwritable, StateMismatch, OSError), match="it is a symbolic link"):
        with StateFolder(state) as folder:
            FailuresFile(folder.failures_path).prune(1)
            folder.load()
    assert victim.read_bytes() == b"precious"


def test_a_parent_that_anyone_may_write_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o777)
    with StateFolder(tmp_path / "state"):
        assert f"Anyone may write to {tmp_path}," in caplog.text
    tmp_path.chmod(0o700)


def test_no_umask_opens_the_state(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with StateFolder(tmp_path / ".taskmaster" / "state") as folder:
            folder.save(at(1))
            folder.handed_out.note(1)
    finally:
        os.umask(before)
    assert not [path for path in tmp_path.rglob("*") if path.stat().st_mode & 0o077]


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(StateUnwritable, match="has no locks.*--state DIR"):
        StateFolder(tmp_path / "state").open()


def _removed(folder: Path) -> None:
    (folder / "lock").unlink()


def _replaced(folder: Path) -> None:
    (folder / "lock").unlink()
    (folder / "lock").touch()


def _moved(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize("lose", [_removed, _replaced, _moved])
def test_nothing_is_written_once_the_lock_was_lost(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    with StateFolder(tmp_path / "state") as folder:
        folder.save(at(1))
        failures = FailuresFile(folder.failures_path, folder.verify)
        lose(folder.path)
        with pytest.raises(LockLost):
            folder.save(at(2))
        with pytest.raises(LockLost):
            failures.append([failure_record(1)])
    assert not [path for path in tmp_path.rglob("*") if path.name == "failures.jsonl"]


def test_nothing_is_written_without_the_lock(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    for write in (lambda: folder.save(at(1)), folder.reset):
        with pytest.raises(RuntimeError, match="not open"):
            write()
