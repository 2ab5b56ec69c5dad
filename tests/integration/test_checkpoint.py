"""The state folder on a real disk: whatever is cut, flipped, killed or refused, never silently from 0."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.values import closing_with, failure_record

from taskmaster.errors import StateMismatch, StateUnwritable
from taskmaster.master.state import durable
from taskmaster.master.state.checkpoint import Checkpoint, encode
from taskmaster.master.state.failures import FailuresFile
from taskmaster.master.state.folder import StateFolder

ROOT = Path(__file__).resolve().parents[2]
RUN = "0123456789abcdef" * 2


def at(offset: int) -> Checkpoint:
    return Checkpoint(RUN, 1, offset, offset, True, "jobs", {"n": "5"}, None, {"settled": offset}, False, 1.5)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    with StateFolder(tmp_path / "state") as folder:
        yield folder


def refusing(code: int) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        raise OSError(code, os.strerror(code))
    return call


def names(folder: StateFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


# --- opening ------------------------------------------------------------------------------------------------

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
        with pytest.raises(durable.LockLost):
            folder.save(at(2))
        with pytest.raises(durable.LockLost):
            failures.append([failure_record(1)])
    assert not [path for path in tmp_path.rglob("*") if path.name == "failures.jsonl"]


def test_nothing_is_written_without_the_lock(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    for write in (lambda: folder.save(at(1)), folder.reset):
        with pytest.raises(RuntimeError, match="not open"):
            write()


# --- load and save ------------------------------------------------------------------------------------------

def test_a_folder_in_which_nothing_ran_has_no_checkpoint(folder: StateFolder) -> None:
    assert folder.load() is None


def test_the_newest_checkpoint_is_loaded_and_the_one_before_is_kept(folder: StateFolder) -> None:
    for offset in (1, 2, 3):
        folder.save(at(offset))
        assert folder.load() == at(offset)
    assert names(folder) == ["checkpoint.json", "checkpoint.prev.json", "lock"]
    assert (folder.path / "checkpoint.prev.json").read_bytes() == encode(at(2))


@pytest.fixture
def two(folder: StateFolder) -> StateFolder:
    """A folder in which offset 2 was saved after offset 1, seen by the next master."""
    folder.save(at(1))
    folder.save(at(2))
    folder.close()
    following = StateFolder(folder.path)
    following.open()
    return following


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


# --- crashes ------------------------------------------------------------------------------------------------

class Crash(BaseException):
    pass


class PowerSwitch:
    """Lets so many system calls through; from then on the machine is dead and all the others fail."""

    CALLS = ("open", "write", "fsync", "close", "link", "replace", "unlink")

    def __init__(self, patch: pytest.MonkeyPatch, lasts: int) -> None:
        self.left = lasts
        for name in self.CALLS:
            patch.setattr(os, name, self._guarded(getattr(os, name)))

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Crash
            return real(*arguments, **options)
        return call


@pytest.mark.parametrize("links", [True, False])
def test_a_crash_between_any_two_system_calls_leaves_a_checkpoint_twice_over(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    crashes = 0
    for lasts in range(100):
        path = tmp_path / str(lasts)
        with StateFolder(path) as folder:
            folder.save(at(1))
            folder.save(at(2))
            try:
                with monkeypatch.context() as patch:
                    PowerSwitch(patch, lasts)
                    folder.save(at(3))
                    break
            except Crash:
                crashes += 1
        with StateFolder(path) as following:
            assert (path / "checkpoint.json").exists()
            assert following.load() in (at(2), at(3))
            following.save(at(4))  # whatever the crash left lying does not disturb the next save
            assert following.load() == at(4)
            (path / "checkpoint.json").write_bytes(b"")
            assert following.load() in (at(2), at(3))
    else:
        pytest.fail("the save never came to its end")
    assert crashes >= 8


SAVER = """
import sys
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.failures import FailuresFile
from taskmaster.master.state.folder import StateFolder
with StateFolder(sys.argv[1]) as folder:
    found = folder.load()
    offset = found.offset if found else 0
    while True:
        offset += 1
        folder.save(Checkpoint("0" * 32, 1, offset, "x" * 5000, True, "jobs"))
        folder.handed_out.note(offset)
        print(offset, flush=True)
"""


def test_kill_9_in_the_middle_of_saving_never_loses_what_was_acknowledged(tmp_path: Path) -> None:
    state = tmp_path / "state"
    draw = random.Random(20240506)
    newest = 0
    for _ in range(30):
        command = [sys.executable, "-c", SAVER, str(state)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(draw.randrange(1, 60)):
                newest = int(child.stdout.readline())
            child.kill()
            # What was acknowledged between our last line and the kill; a line may be torn.
            for line in child.stdout.read().splitlines(keepends=True):
                newest = int(line) if line.endswith(b"\n") else newest
        assert (state / "checkpoint.json").exists()
        with StateFolder(state) as folder:
            found = folder.load()
            assert found is not None and found.offset >= newest
            marked = folder.handed_out.read()
            assert marked is not None and marked > newest
    assert newest > 30


# --- reset and check ----------------------------------------------------------------------------------------

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


def test_the_same_workload_passes_the_check(folder: StateFolder) -> None:
    folder.check(at(1), "jobs", {"n": "5"})


@pytest.mark.parametrize("target, arguments, told", [
    ("other", {"n": "5"}, "target was 'jobs' and is 'other'"),
    ("jobs", {"n": "6"}, "argument n was '5' and is '6'"),
    ("jobs", {}, "argument n was '5' and is not given"),
    ("jobs", {"n": "5", "m": "x" * 200}, "argument m was not given and is 'xxx"),
    ("other", {"n": "6"}, "target was 'jobs' and is 'other'; argument n was '5' and is '6'"),
])
def test_another_workload_is_told_what_differs_and_the_ways_out(
    target: str, arguments: dict[str, str], told: str, folder: StateFolder
) -> None:
    with pytest.raises(StateMismatch) as caught:
        folder.check(at(1), target, arguments)
    message = str(caught.value)
    assert all(part in message for part in (told, str(folder.path), "--state DIR", "--reset"))
    assert len(message) < 500
