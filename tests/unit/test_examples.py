"""The shipped examples do what their docstrings say: iterated, handled, resumed, checked in one process."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from taskmaster.errors import SourceError

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["quickstart", "migrate_sqlite", "checksum_tree", "bulk_load"])
def test_each_example_says_how_to_run_it(name: str) -> None:
    assert f"tm-run examples/{name}.py" in (load(name).__doc__ or "")


# quickstart

def test_the_quickstart_writes_each_square() -> None:
    quickstart = load("quickstart")
    for number in quickstart.get_jobs(count=4):
        quickstart.handle_job(number)
    assert Path("squares.txt").read_text() == "0 0\n1 1\n2 4\n3 9\n"


def test_the_quickstart_goes_on_behind_the_last_number() -> None:
    quickstart = load("quickstart")
    assert list(quickstart.get_jobs(last=3, count=5)) == [3, 4]  # `last` counts the jobs that are settled


# migrate_sqlite

DATABASE = Path("customers.sqlite")


@pytest.fixture(scope="module")
def migrate_module() -> ModuleType:
    return load("migrate_sqlite")


@pytest.fixture
def migrate(migrate_module: ModuleType) -> Iterator[ModuleType]:
    yield migrate_module
    if hasattr(migrate_module.this_thread, "db"):
        migrate_module.this_thread.db.close()
        vars(migrate_module.this_thread).clear()


def ranges(migrate: ModuleType, **arguments: Any) -> list[Any]:
    """All jobs, or the first hundred of a source that goes round in circles."""
    return list(itertools.islice(migrate.get_jobs(**arguments), 100))


def migrate_all(migrate: ModuleType, **arguments: Any) -> None:
    for job in ranges(migrate, **arguments):
        migrate.handle_job(job.payload)


def sql(statement: str) -> list[Any]:
    db = sqlite3.connect(DATABASE)
    try:
        with db:
            return db.execute(statement).fetchall()
    finally:
        db.close()


def test_a_migration_passes_its_own_check(migrate: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    migrate_all(migrate, rows=1000, batch=64)
    assert migrate.verify(DATABASE)
    assert capsys.readouterr().out == "customers.sqlite: 1000 customers, 1000 migrated, 1000 of them correct\n"


def test_ranges_are_strictly_behind_the_cursor_and_leave_no_id_out(migrate: ModuleType) -> None:
    jobs = ranges(migrate, rows=100, batch=7)
    ids = [id for (id,) in sql("SELECT id FROM customers ORDER BY id")]
    assert [first for _, first, _ in (job.payload for job in jobs)] == ids[::7]
    assert [job.cursor for job in jobs] == ids[6::7] + ids[-1:]
    for done, job in enumerate(jobs, start=1):
        assert ranges(migrate, last=job.cursor, rows=100, batch=7) == jobs[done:]


def test_a_finished_migration_has_nothing_more_to_do(migrate: ModuleType) -> None:
    *_, final = ranges(migrate, rows=10)
    assert ranges(migrate, last=final.cursor, rows=10) == []


def test_migrating_twice_changes_nothing(migrate: ModuleType) -> None:
    migrate_all(migrate, rows=50, batch=7)
    once = sql("SELECT * FROM clients ORDER BY id")
    migrate_all(migrate, rows=50, batch=9)
    assert sql("SELECT * FROM clients ORDER BY id") == once


def test_migrating_again_repairs_a_row(migrate: ModuleType) -> None:
    migrate_all(migrate, rows=20)
    sql("UPDATE clients SET last_name = 'stale' WHERE id = 4")
    migrate_all(migrate, rows=20)
    assert migrate.verify(DATABASE)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM clients WHERE id = 4",
        "INSERT INTO clients VALUES (1, 'Ada', 'Lovelace', '2000-01-01', 5)",
        "UPDATE clients SET first_name = last_name, last_name = first_name WHERE id = 4",
        "UPDATE clients SET first_name = first_name || ' ' || last_name, last_name = '' WHERE id = 4",
        "UPDATE clients SET joined = date(joined, '+1 day') WHERE id = 4",
        "UPDATE clients SET joined = 'soon' WHERE id = 4",
        "UPDATE clients SET balance_cents = -balance_cents WHERE id = 4",
        "UPDATE clients SET balance_cents = balance_cents + 1 WHERE id = 4",
    ],
)
def test_the_check_sees_one_wrong_row(migrate: ModuleType, damage: str) -> None:
    migrate_all(migrate, rows=20)
    assert migrate.verify(DATABASE)
    sql(damage)
    assert not migrate.verify(DATABASE)


def test_a_range_that_cannot_be_parsed_is_left_whole_in_the_old_schema(migrate: ModuleType) -> None:
    jobs = ranges(migrate, rows=20)
    sql("UPDATE customers SET joined = 'yesterday' WHERE id = 13")
    with pytest.raises(ValueError):
        migrate.handle_job(jobs[0].payload)
    assert sql("SELECT count(*) FROM clients") == [(0,)]


def test_being_killed_while_making_the_database_leaves_none(
    migrate: ModuleType, monkeypatch: pytest.MonkeyPatch, in_an_empty_folder: Path
) -> None:
    def killed(path: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", killed)
        next(migrate.get_jobs(rows=10))
    assert not DATABASE.exists()
    assert list(in_an_empty_folder.glob("*.tmp"))
    migrate_all(migrate, rows=10)
    assert migrate.verify(DATABASE)
    assert not list(in_an_empty_folder.glob("*.tmp"))


def test_another_number_of_rows_than_the_database_has_is_refused(migrate: ModuleType) -> None:
    next(migrate.get_jobs(rows=10))
    with pytest.raises(ValueError, match="holds 10 customers, not 11. Pass rows=10"):
        next(migrate.get_jobs(rows=11))


def test_a_database_that_vanished_is_not_made_again_on_resume(migrate: ModuleType) -> None:
    with pytest.raises(FileNotFoundError, match="--reset"):
        next(migrate.get_jobs(last=30, rows=20))
    assert not DATABASE.exists()


@pytest.mark.parametrize(
    "text, names",
    [
        ("Ada Lovelace", ("Ada", "Lovelace")),
        ("Ada van der Berg", ("Ada", "van der Berg")),
        ("van der Berg, Jean-Luc", ("Jean-Luc", "van der Berg")),
    ],
)
def test_names_are_split(migrate: ModuleType, text: str, names: tuple[str, str]) -> None:
    assert migrate.split_name(text) == names


@pytest.mark.parametrize("text", ["2019-03-07", "07.03.2019", "03/07/2019", "7 Mar 2019"])
def test_dates_become_iso_dates(migrate: ModuleType, text: str) -> None:
    assert migrate.iso_date(text) == "2019-03-07"


@pytest.mark.parametrize(
    "text, cents",
    [
        ("7", 700), ("12.5", 1250), ("0.29", 29), ("-0.05", -5), ("-1234.5", -123450),
        ("$1,234.56", 123456), ("$-1,234.56", -123456), ("$0.07", 7),
        ("1.234,56 EUR", 123456), ("-1.234,56 EUR", -123456), ("0,07 EUR", 7),
    ],
)
def test_balances_become_cents(migrate: ModuleType, text: str, cents: int) -> None:
    assert migrate.to_cents(text) == cents


def test_the_old_table_holds_every_format(migrate: ModuleType) -> None:
    rows = [migrate.old_customer(n) for n in range(1, 200)]
    assert {re.sub(r"[^,]", "", name) for _, name, _, _ in rows} == {"", ","}
    assert {re.sub(r"\w", "", joined) for _, _, joined, _ in rows} == {"--", "..", "//", "  "}
    assert {re.sub(r"[-.,\d]", "", balance) for _, _, _, balance in rows} == {"", "$", " EUR"}


# checksum_tree

TRICKY = [
    b"a-b", b"a.b", b"a/b", b"a/b.c/d", b"a/c", b"a/.hidden", b"a b/x", b"aa", b"A/z", b" ", b"~",
    b"b/a/a/a", b"b/a/a/b", b"b/a-", b"b/a0",
    b"\xff/\xfe", b"\xff-", "é/ü".encode(), "é.txt".encode(), "e\u0301".encode(), "\U0001f600".encode(),
    b"new\nline/x\\y", b"back\\slash",
]


@pytest.fixture
def tree(in_an_empty_folder: Path) -> Path:
    root = in_an_empty_folder / "tree"
    for name in TRICKY:
        path = Path(os.fsdecode(os.path.join(os.fsencode(root), name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    (root / "empty").mkdir()
    (root / "link").symlink_to(root / "aa")
    (root / "loop").symlink_to(root)
    (root / "a" / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture
def checksum() -> ModuleType:
    return load("checksum_tree")


def cursors(checksum: ModuleType, last: str | None = None, **arguments: Any) -> list[str]:
    """The paths within the root, after `last`."""
    jobs = checksum.get_jobs(last=None if last is None else f"./{last}", **arguments)
    return [job.cursor.removeprefix("./") for job in jobs]


def test_every_regular_file_is_a_job_and_links_and_pipes_are_none(checksum: ModuleType, tree: Path) -> None:
    names = cursors(checksum, root=tree)
    assert sorted(names) == sorted(os.fsdecode(name) for name in TRICKY)
    assert names == sorted(names, key=lambda name: name.split("/"))


def test_resuming_at_any_cursor_yields_exactly_the_rest(checksum: ModuleType, tree: Path) -> None:
    names = cursors(checksum, root=tree)
    for done, last in enumerate(names, start=1):
        assert cursors(checksum, root=tree, last=last) == names[done:]


@pytest.mark.parametrize("last", ["a", "a/b.c", "a/b/was/a/folder", "b/a/a/aa", "not/there", "\U0010ffff"])
def test_a_cursor_whose_file_is_gone_still_has_its_place(checksum: ModuleType, tree: Path, last: str) -> None:
    names = cursors(checksum, root=tree)
    expected = [name for name in names if name.split("/") > last.split("/")]
    assert cursors(checksum, root=tree, last=last) == expected


def test_folders_before_the_cursor_are_not_listed(
    checksum: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = set()

    def scandir(folder: str, original: Any = os.scandir) -> Any:
        listed.add(os.path.relpath(folder, tree))
        return original(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    next(checksum.get_jobs(root=tree, last="./b/a/a/a"))
    assert listed <= {".", "b", "b/a", "b/a/a", "b/a/a/a"}


def test_a_folder_that_cannot_be_listed_is_named_and_the_rest_goes_on(
    checksum: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def scandir(folder: str, original: Any = os.scandir) -> Any:
        if folder == str(tree / "b") + "/":
            raise PermissionError(13, "Permission denied", folder)
        return original(folder)

    everything = cursors(checksum, root=tree)
    monkeypatch.setattr(os, "scandir", scandir)
    assert cursors(checksum, root=tree) == [name for name in everything if not name.startswith("b/")]
    assert f"Passing over the folder '{tree / 'b'}/'" in caplog.text and "Permission denied" in caplog.text


def test_a_root_that_is_missing_is_an_error(checksum: ModuleType, tree: Path) -> None:
    with pytest.raises(SourceError, match="missing' cannot be listed"):
        next(checksum.get_jobs(root=Path("missing")))


def test_the_output_is_not_summed_itself(checksum: ModuleType, tree: Path) -> None:
    (tree / "sums").touch()
    assert "sums" not in cursors(checksum, root=Path("tree"), out=Path("tree/a/../sums"))


def sums_of(checksum: ModuleType, out: str = "checksums.txt") -> list[bytes]:
    with open(out, "rb") as written:
        latest: list[bytes] = checksum.latest_sums(written)
    return latest


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def unescaped(line: bytes) -> tuple[bytes, bytes]:
    digest, _, name = line.rstrip(b"\n").partition(b"  ")
    if digest.startswith(b"\\"):
        name = name.replace(b"\\\\", b"\0").replace(b"\\n", b"\n").replace(b"\0", b"\\")
    return name, digest.lstrip(b"\\")


def test_sums_are_right_however_often_a_job_runs(checksum: ModuleType, tree: Path) -> None:
    jobs = list(checksum.get_jobs(root=tree))
    for job in [*jobs, *jobs[5:], *jobs[:9]]:
        checksum.handle_job(job.payload)
    found = [unescaped(line) for line in sums_of(checksum)]
    root = os.fsencode(tree)
    assert sorted(found) == sorted((os.path.join(root, name), sha256(name)) for name in TRICKY)


def test_the_later_sum_of_a_file_that_changed_is_kept(checksum: ModuleType) -> None:
    for content in ("old", "new"):
        Path("file").write_text(content)
        checksum.handle_job(("file", "out.txt"))
    assert sums_of(checksum, "out.txt") == [sha256(b"new") + b"  file\n"]


def test_a_file_that_cannot_be_read_is_a_failure_and_leaves_no_line(checksum: ModuleType) -> None:
    with pytest.raises(FileNotFoundError):
        checksum.handle_job(("vanished", "checksums.txt"))
    assert not Path("checksums.txt").exists()


def test_a_file_larger_than_a_chunk_is_read_whole(
    checksum: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksum, "CHUNK_BYTES", 3)
    Path("file").write_bytes(b"12345678")
    assert checksum.sha256_of("file").encode() == sha256(b"12345678")


@pytest.mark.parametrize(
    "name, line",
    [
        ("/plain", b"00  /plain\n"),
        ("/two  spaces", b"00  /two  spaces\n"),
        ("/back\\slash", b"\\00  /back\\\\slash\n"),
        ("/new\nline", b"\\00  /new\\nline\n"),
        ("/return\r", b"\\00  /return\\r\n"),
        ("/\udcff", b"00  /\xff\n"),
    ],
)
def test_lines_are_those_of_sha256sum(checksum: ModuleType, name: str, line: bytes) -> None:
    assert checksum.sum_line("00", name) == line


def test_the_default_root_is_the_library_of_this_python(checksum: ModuleType) -> None:
    first = next(checksum.get_jobs())
    assert Path(first.payload[0]).is_relative_to(Path(os.__file__).parent)
