"""The key's file: made once, whole and closed to others; refused where it might not be a secret."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from taskmaster.errors import KeyRefused
from taskmaster.transport import keys

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "config" / "taskmaster" / "key"
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert keys.find(None, environ) is None
    made = keys.make(path)
    assert keys.find(None, environ) == keys.make(path) == made
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert [one.name for one in path.parent.iterdir()] == ["key"]
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_the_mode_does_not_hang_on_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        keys.make(tmp_path / "here" / "key")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "here" / "key") == 0o600 and mode_of(tmp_path / "here") == 0o700


def test_many_makers_agree(tmp_path: Path) -> None:
    """Two masters, or a master and a slave, that start at once."""
    start, found = threading.Barrier(8), []

    def make() -> None:
        start.wait()
        found.append(keys.make(tmp_path / "key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({one.name for one in found}) == 1


@pytest.fixture
def key(tmp_path: Path) -> Path:
    keys.make(tmp_path / "key")
    return tmp_path / "key"


def test_no_umask_opens_the_folders_above_a_new_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.make(tmp_path / ".config" / "taskmaster" / "key")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / ".config") == mode_of(tmp_path / ".config" / "taskmaster") == 0o700


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o666, 0o610])
def test_a_key_open_to_others_is_refused(key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(KeyRefused, match=f"accessible to others .mode {mode:04o}.*chmod 600 {key}"):
        keys.read(key)


def test_a_key_that_only_the_owner_may_read_is_taken(key: Path) -> None:
    key.chmod(0o400)
    keys.read(key)


def test_a_key_of_another_user_is_refused(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid + 1)
    with pytest.raises(KeyRefused, match="belongs to user .*chown.*TASKMASTER_KEY"):
        keys.read(key)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_key_given_away_is_refused(key: Path) -> None:
    os.chown(key, 65534, 65534)
    with pytest.raises(KeyRefused, match="belongs to user 65534 and you are user 0"):
        keys.read(key)


def _turned_elsewhere(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


@pytest.mark.parametrize("change, says", [
    (_turned_elsewhere, "symbolic link"), (_dangling, "symbolic link"), (_pipe, "not a regular file"),
    (_folder, "not a regular file"),
    (lambda path: path.write_text(""), "not contain a key"),
    (lambda path: path.write_bytes(b"\xff" * 100_000), "not contain a key"),
    (lambda path: path.write_text(path.read_text()[:30]), "not contain a key"),
    (lambda path: path.write_text(path.read_text().replace("key-1.", "key-1.A")[:81]), "not contain a key|damaged"),
])
@pytest.mark.limit(10)
def test_what_is_not_the_file_that_was_made_is_refused(key: Path, change: Callable[[Path], object], says: str) -> None:
    change(key)
    with pytest.raises(KeyRefused, match=says):
        keys.find(key, {})
    with pytest.raises(KeyRefused, match=says):
        keys.make(key)


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "victim")
    with pytest.raises(KeyRefused, match="symbolic link"):
        keys.make(tmp_path / "key")
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_a_place_that_takes_no_key_is_told_with_the_ways_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyRefused, match="--key-file.*TASKMASTER_KEY"):
        keys.make(tmp_path / "file" / "key")
