"""Whether the model of a file system loses what a power loss may take, and nothing that was fsynced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from chaos import strace
from chaos.strace import Call, read_log
from chaos.strict_filesystem import StrictFilesystem, Tree
from chaos.traced_files import TracedFiles

OLD, NEW = b"old state", b"new state"


def hexed(text: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def log(*calls: str, thread: int = 7) -> list[str]:
    """Lines as strace writes them; texts in calls stand in single quotes."""
    lines = []
    for call in calls:
        parts = call.split("'")
        parts[1::2] = map(hexed, parts[1::2])
        lines.append(f"{thread:<5} 1700000000.5 {''.join(parts)}")
    return lines


def replayed(lines: Iterable[str], filesystem: StrictFilesystem, cut_off: Iterable[Call] = ()) -> Iterator[None]:
    """The calls, each of them that changes something in a turn of its own."""
    files = TracedFiles(Path("/work"), "state", filesystem, cut_off)
    yield from (None for call in read_log(lines) if files.take(call))


def trees(*calls: str, filesystem: StrictFilesystem | None = None) -> list[Tree]:
    """What a power loss behind the last of the calls may leave."""
    filesystem = filesystem or StrictFilesystem()
    for _ in replayed(log(*calls), filesystem):
        pass
    return list(filesystem.after_power_loss())


def saved(data: bytes) -> StrictFilesystem:
    """A durable folder with one durable file."""
    filesystem = StrictFilesystem()
    filesystem.create("state", is_folder=True)
    file = filesystem.create("state/main")
    file.write(0, data)
    file.sync(data)
    filesystem.sync_folder("state")
    filesystem.sync_folder("")
    return filesystem


OPEN = ("openat(AT_FDCWD, 'state/fresh', O_WRONLY|O_CREAT|O_EXCL, 0600) = 5", "write(5, 'new state', 9) = 9")
FSYNC, CLOSE = "fsync(5) = 0", "close(5) = 0"
RENAME = "rename('state/fresh', 'state/main') = 0"
SYNC_FOLDER = ("openat(AT_FDCWD, '/work/state', O_RDONLY) = 5", "fsync(5) = 0", "close(5) = 0")


def mains(*calls: str) -> set[bytes | None]:
    """What a power loss behind any of the calls may make of a file that held OLD; None where it is missing."""
    filesystem = saved(OLD)
    found = {tree.get("state/main") for tree in filesystem.after_power_loss()}
    for _ in replayed(log(*calls), filesystem):
        found |= {tree.get("state/main") for tree in filesystem.after_power_loss()}
    return found


def test_a_file_that_is_replaced_in_the_right_order_is_the_old_or_the_new() -> None:
    assert mains(*OPEN, FSYNC, CLOSE, RENAME, *SYNC_FOLDER) == {OLD, NEW}


@pytest.mark.parametrize("calls", [
    (*OPEN, CLOSE, RENAME, *SYNC_FOLDER),
    (*OPEN, RENAME, FSYNC, CLOSE, *SYNC_FOLDER),
    (*OPEN, CLOSE, *SYNC_FOLDER, RENAME),
])
def test_a_rename_before_the_fsync_of_its_data_is_found(calls: tuple[str, ...]) -> None:
    assert {b"", NEW[:4], bytes(9)} <= mains(*calls)


def test_a_file_that_is_overwritten_in_place_is_found() -> None:
    assert NEW[:4] + OLD[4:] in mains("openat(AT_FDCWD, 'state/main', O_RDWR) = 5", "write(5, 'new state', 9) = 9")


def test_a_file_that_is_moved_away_first_is_found_missing() -> None:
    assert None in mains(*OPEN, FSYNC, "rename('state/main', 'state/previous') = 0", RENAME, *SYNC_FOLDER)


def test_names_survive_in_any_combination_until_their_folder_is_fsynced() -> None:
    made = ("mkdir('state', 0700) = 0", "openat(AT_FDCWD, '/work', O_RDONLY) = 3", "fsync(3) = 0",
            "openat(AT_FDCWD, 'state/a', O_WRONLY|O_CREAT, 0600) = 4",
            "openat(AT_FDCWD, 'state/b', O_WRONLY|O_CREAT, 0600) = 5")

    assert {frozenset(tree) for tree in trees(*made)} == {
        frozenset({"state", *more}) for more in ((), ("state/a",), ("state/b",), ("state/a", "state/b"))}
    sync = ("openat(AT_FDCWD, 'state', O_RDONLY) = 6", "fsync(6) = 0")
    assert {frozenset(tree) for tree in trees(*made, *sync)} == {frozenset({"state", "state/a", "state/b"})}


def test_all_is_lost_with_a_folder_whose_own_name_was_never_fsynced() -> None:
    filesystem = StrictFilesystem()
    filesystem.create("state", is_folder=True)
    for number in range(20):
        filesystem.create(f"state/{number}").sync(b"")
        filesystem.sync_folder("state")

    assert {len(tree) for tree in filesystem.after_power_loss()} == {0, 21}
    filesystem.sync_folder("")
    assert {len(tree) for tree in filesystem.after_power_loss()} == {21}


def test_changes_too_old_to_be_combined_are_all_kept_or_all_lost() -> None:
    filesystem = saved(OLD)
    for number in range(10):
        filesystem.create(f"state/{number}")
    counts = {sum(f"state/{number}" in tree for number in range(4)) for tree in filesystem.after_power_loss()}

    assert counts == {0, 4}


def test_a_hard_link_keeps_the_file_that_another_name_lost() -> None:
    linked = saved(OLD)
    linked.link("state/main", "state/previous")
    linked.rename("state/previous", "state/main")  # one file already: nothing happens, as the kernel has it
    assert "state/previous" in linked.names
    found = trees(*OPEN, FSYNC, RENAME, *SYNC_FOLDER, filesystem=linked)

    assert {(tree["state/previous"], tree["state/main"]) for tree in found} == {(OLD, NEW)}


def test_an_unlinked_file_may_come_back() -> None:
    assert {tree.get("state/main") for tree in trees("unlink('state/main') = 0", filesystem=saved(OLD))} == {OLD, None}


def test_a_call_that_failed_changed_nothing() -> None:
    assert mains(*OPEN[:1], "write(5, 'new', 3) = -1 ENOSPC (No space left on device) (INJECTED)", FSYNC,
                 "rename('state/fresh', 'state/main') = -1 EIO (Input/output error) (INJECTED)") == {OLD}


def test_a_file_of_elsewhere_is_not_followed_even_under_a_number_of_ours() -> None:
    assert mains("openat(AT_FDCWD, 'state/main', O_RDWR) = 5", "close(5) = 0", "openat(AT_FDCWD, 'other', O_RDWR) = 5",
                 "write(5, 'x', 1) = 1") == {OLD}


@pytest.mark.parametrize("call", [
    "writev(5, [{iov_base='x', iov_len=1}], 1) = 1",
    "truncate('state/main', 0) = 0",
    "openat(5, 'x', O_RDONLY) = 6",
    "rename('state/main', '/elsewhere') = 0",
])
def test_a_change_that_cannot_be_followed_is_no_silence(call: str) -> None:
    with pytest.raises(ValueError, match="follow"):
        mains("openat(AT_FDCWD, 'state/main', O_RDWR) = 5", call)


def test_offsets_follow_reads_seeks_and_appends() -> None:
    filesystem = saved(b"12345")
    calls = log("openat(AT_FDCWD, 'state/main', O_RDWR) = 5", "read(0x5, 0x7f00, 0x2) = 0x2", "write(5, 'a', 1) = 1",
                "lseek(5, 0, SEEK_END) = 5", "write(5, 'bc', 2) = 2", "ftruncate(5, 6) = 0",
                "openat(AT_FDCWD, 'state/main', O_WRONLY|O_APPEND) = 6", "write(6, 'd', 1) = 1",
                "pwrite64(6, 'e', 1, 0) = 1", "write(5, 'f', 1) = 1")
    for _ in replayed(calls, filesystem):
        pass

    assert filesystem.names["state/main"].data == b"e2a45bdf"[:7] + b"f"


def test_an_fsync_promises_what_was_written_before_it_was_entered() -> None:
    filesystem = saved(b"")
    calls = [*log("openat(AT_FDCWD, 'state/main', O_RDWR) = 5", "write(5, 'a', 1) = 1", "fsync(5 <unfinished ...>"),
             *log("write(5, 'b', 1) = 1", thread=8), *log("<... fsync resumed>) = 0")]
    for _ in replayed(calls, filesystem):
        pass

    assert {tree["state/main"] for tree in filesystem.after_power_loss()} == {b"a", b"ab", b"a\0"}


def test_a_number_is_free_once_its_close_is_entered() -> None:
    filesystem = saved(OLD)
    calls = [*log("openat(AT_FDCWD, 'other', O_RDWR) = 5", "close(5 <unfinished ...>"),
             *log("openat(AT_FDCWD, 'state/main', O_RDWR) = 5", thread=8), *log("<... close resumed>) = 0"),
             *log("write(5, 'new', 3) = 3", thread=8)]

    assert len(list(replayed(calls, filesystem))) == 1
    assert filesystem.names["state/main"].data == b"new state"


def test_lines_that_are_no_calls_are_passed_over() -> None:
    lines = ["7     1700000000.5 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1} ---",
             "7     1700000000.5 write(5, <unfinished ...>", "7     1700000000.6 +++ killed by SIGKILL +++"]

    assert [(call.thread, call.name, call.result) for call in read_log(lines)] == [(7, "write", None)]
    with pytest.raises(ValueError, match="not a line of strace"):
        list(read_log(["strace: Process 7 attached"]))


@pytest.mark.parametrize("end", ["<unfinished ...>) = ?", ") = ?"])
@pytest.mark.parametrize("call, unlink, found", [
    ("openat(AT_FDCWD, 'state/fresh', O_WRONLY|O_CREAT|O_EXCL, 0600", "0", {"state/main": OLD}),
    ("rename('state/main', 'state/new'", "-1 ENOENT (No such file)", {"state/new": OLD}),
    ("rename('state/main', 'state/new'", "0", {}),
])
def test_a_call_cut_off_by_a_kill_was_done_where_a_later_unlink_shows_it(
        call: str, unlink: str, found: dict[str, bytes], end: str) -> None:
    filesystem = saved(OLD)
    cut_off = list(read_log(log(f"{call} {end}")))
    name = "state/fresh" if "fresh" in call else "state/main"
    for _ in replayed(log(f"unlink('{name}') = {unlink}"), filesystem, cut_off):
        pass

    assert {path: node.data for path, node in filesystem.names.items() if not node.is_folder} == found


def test_a_log_is_complete_once_the_process_itself_has_ended(tmp_path: Path) -> None:
    for ended in ("70    1700000000.6 +++ exited with 3 +++", "70    +++ killed by SIGKILL +++"):
        (tmp_path / "log").write_text(f"71    1700000000.6 +++ exited with 0 +++\n{ended}\n")
        assert strace.ended(tmp_path / "log", 70) and strace.ended(tmp_path / "log", 71)
        assert not strace.ended(tmp_path / "log", 7)
