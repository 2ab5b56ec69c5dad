"""The shipped examples through the real tm-run; what they did is checked from outside, with other means."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT, Place, wait_until

EXAMPLES = ROOT / "examples"
ROWS = 20_000


def by_hand(place: Place, example: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The example as a script of its own, which is how it verifies."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, str(EXAMPLES / example), *arguments], cwd=place.folder, env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=30)


def test_quickstart_writes_each_square(place: Place) -> None:
    told = place.run("run", EXAMPLES / "quickstart.py", 2, "count=20000")

    assert told.code == 0, told.err
    lines = (place.folder / "squares.txt").read_text().splitlines()
    assert sorted(lines) == sorted(f"{number} {number * number}" for number in range(20_000))


def test_quickstart_stopped_by_ctrl_c_goes_on_and_leaves_out_nothing(place: Place) -> None:
    command = (EXAMPLES / "quickstart.py", 2, "count=30000", "--rate", 10_000)
    first = place.start("run", *command)
    assert wait_until((place.folder / "squares.txt").exists)
    first.signal(signal.SIGINT)
    stopped = first.end()
    resumed = place.run("run", *command[:3], "--summary", "summary.json")

    assert (stopped.code, resumed.code) == (75, 0), stopped.err + resumed.err
    assert 0 < place.summary()["run_settled"] < 30_000
    # In good order nothing is replayed, so each line is there once.
    lines = (place.folder / "squares.txt").read_text().splitlines()
    assert sorted(lines) == sorted(f"{number} {number * number}" for number in range(30_000))


def migrated(path: Path) -> int:
    db = sqlite3.connect(path, timeout=10)
    try:
        [(count,)] = db.execute("SELECT count(*) FROM clients")
        return int(count)
    except sqlite3.OperationalError:
        return 0
    finally:
        db.close()


def test_migration_killed_three_times_migrates_each_row_right(place: Place) -> None:
    """The whole process group is killed with -9, each time when more rows have got to the new table."""
    database = place.folder / "customers.sqlite"
    # The rate spreads the 400 jobs over some seconds: it is killed midway on a fast machine, too.
    command = (EXAMPLES / "migrate_sqlite.py", 2, f"rows={ROWS}", "batch=50", "--rate", 150)
    kills = 0
    for share in (0.1, 0.3, 0.5):
        running = place.start("run", *command)
        assert wait_until(lambda: database.exists() and migrated(database) >= share * ROWS)
        running.kill_group()
        kills += migrated(database) < ROWS
    last = place.run("run", *command, "--summary", "summary.json")

    assert kills == 3, "each kill was midway"
    assert last.code == 0, last.err
    assert migrated(database) == ROWS
    assert place.summary()["settled"] == ROWS / 50
    assert 0 < place.summary()["run_settled"] < ROWS / 50, "the last run went on, and did not begin again"
    told = by_hand(place, "migrate_sqlite.py", "--verify")
    assert told.returncode == 0, told.stdout
    assert told.stdout.decode().endswith(f"{ROWS} customers, {ROWS} migrated, {ROWS} of them correct\n")


def test_migration_is_not_verified_when_a_row_is_wrong(place: Place) -> None:
    assert place.run("run", EXAMPLES / "migrate_sqlite.py", 1, "rows=1000").code == 0
    db = sqlite3.connect(place.folder / "customers.sqlite")
    with db:
        db.execute("UPDATE clients SET balance_cents = balance_cents + 1 WHERE id = (SELECT min(id) FROM clients)")
    db.close()

    told = by_hand(place, "migrate_sqlite.py", "--verify")

    assert told.returncode == 1
    assert b"1000 migrated, 999 of them correct" in told.stdout


@pytest.fixture
def tree(place: Place) -> dict[str, str]:
    """A folder of files; returns path and SHA-256 of each."""
    contents = {
        "a": b"", "b.txt": b"hello\n", "sub/a": b"\0" * 3_000_000, "sub/deeper/\u00e9t\u00e9": b"x", "sub.txt": b"y",
        **{f"many/{number:03}": str(number).encode() * number for number in range(200)},
    }
    for name, content in contents.items():
        path = place.folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {str(place.folder / "tree" / name): hashlib.sha256(content).hexdigest()
            for name, content in contents.items()}


def sums_of(place: Place) -> dict[str, str]:
    told = by_hand(place, "checksum_tree.py", "--sums", "checksums.txt")
    assert told.returncode == 0, told.stderr
    pairs = [line.split("  ", 1) for line in os.fsdecode(told.stdout).splitlines()]
    assert [name for _, name in pairs] == sorted(name for _, name in pairs)
    return {name: digest for digest, name in pairs}


def test_checksums_are_those_of_hashlib(place: Place, tree: dict[str, str]) -> None:
    told = place.run("run", EXAMPLES / "checksum_tree.py", 2, "root=tree")

    assert told.code == 0, told.err
    assert sums_of(place) == tree


def test_checksums_go_on_behind_the_last_file(place: Place, tree: dict[str, str]) -> None:
    command = (EXAMPLES / "checksum_tree.py", 2, "root=tree", "--summary", "summary.json")
    assert place.run("run", *command, "--limit", 50).code == 0
    begun = place.summary()["run_settled"]
    told = place.run("run", *command)

    assert told.code == 0, told.err
    assert (begun, place.summary()["run_settled"]) == (50, len(tree) - 50)
    assert sums_of(place) == tree


def test_a_file_that_vanished_is_a_failure_and_the_others_are_summed(place: Place, tree: dict[str, str]) -> None:
    """It is there for the source, and away for the handler: nothing else is sure to be unreadable for root, too."""
    gone = place.folder / "tree" / "b.txt"
    wrapper = f"""\
import os, sys
sys.path.insert(0, {str(EXAMPLES)!r})
from checksum_tree import get_jobs as jobs_of_example, handle_job

def get_jobs(last="", root="tree"):
    for job in jobs_of_example(last, root):
        if job.payload[0] == {str(gone)!r}:
            os.unlink(job.payload[0])
        yield job
"""
    (place.folder / "vanishing.py").write_text(wrapper)
    told = place.run("run", "vanishing.py", 2)

    assert told.code == 3, told.err
    [failure] = place.failures()
    assert (failure["error"], failure["attempts"]) == ("FileNotFoundError", 3)
    assert failure["cursor"] == {"json": "./b.txt"}
    assert sums_of(place) == {path: digest for path, digest in tree.items() if path != str(gone)}


@pytest.fixture
def shop() -> Iterator[str]:
    """The address of the shop that crawl.py serves."""
    with subprocess.Popen([sys.executable, str(EXAMPLES / "crawl.py"), "--serve", "0"], stdout=subprocess.PIPE,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().rpartition(" ")[2].strip()
        server.kill()


def test_crawl_killed_midway_has_each_page_once_and_in_order(place: Place, shop: str) -> None:
    command = (EXAMPLES / "crawl.py", 2, f"site={shop}", "pages=1500", "--results", "pages.jsonl")
    pages = place.folder / "pages.jsonl"
    running = place.start("run", *command, "--rate", 400)
    assert wait_until(lambda: pages.exists() and pages.stat().st_size > 10_000)
    running.kill_group()
    last = place.run("run", *command, "--summary", "summary.json")

    assert last.code == 0, last.err
    assert 0 < place.summary()["run_settled"] < 1500
    told = by_hand(place, "crawl.py", "--verify", "pages.jsonl")
    assert told.stdout == b"pages.jsonl: 1500 pages, 1500 of them correct\n", told


def test_thumbnails_killed_midway_have_each_photo_in_the_table_once(place: Place) -> None:
    command = (EXAMPLES / "thumbnails.py", 2, "photos=200", "--results", "sizes.csv")
    table = place.folder / "sizes.csv"
    running = place.start("run", *command, "--rate", 60)
    assert wait_until(lambda: table.exists() and len(table.read_bytes().splitlines()) > 30)
    running.kill_group()
    last = place.run("run", *command, "--summary", "summary.json")

    assert last.code == 0, last.err
    assert 0 < place.summary()["run_settled"] < 200
    told = by_hand(place, "thumbnails.py", "--verify", "sizes.csv")
    assert told.stdout == b"sizes.csv: 200 photos, 200 rows, 200 of them correct\n", told


def test_bulk_load_killed_midway_has_each_row_that_is_not_damaged(place: Place) -> None:
    command = (EXAMPLES / "bulk_load.py", 2, "rows=50000")
    running = place.start("run", *command, "--rate", 20_000)
    assert wait_until(lambda: rows_in(place.folder / "sales.sqlite") > 5_000)
    running.kill_group()
    last = place.run("run", *command, "--summary", "summary.json")

    assert last.code == 3, last.err
    assert 0 < place.summary()["run_settled"] < 50_000
    failures = place.failures()
    assert sorted(one["offset"] for one in failures) == [4999, 14_999, 24_999, 34_999, 44_999]
    assert {(one["error"], one["attempts"]) for one in failures} == {("ValueError", 1)}
    told = by_hand(place, "bulk_load.py", "--verify")
    assert told.stdout == (b"49,995 rows loaded, 49,995 of them right; 0 missing, 5 damaged in the file\n"), told


def is_there_postgres() -> bool:
    programs = [shutil.which("initdb"), *Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return any(programs) and importlib.util.find_spec("psycopg") is not None


@pytest.mark.limit(120)
@pytest.mark.skipif(not is_there_postgres(), reason="scripts/engines postgres installs what is missing, once")
def test_bulk_load_into_postgresql() -> None:
    told = subprocess.run([ROOT / "scripts" / "engines", "postgres"], env={**os.environ, "ROWS": "30000"}, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=100)

    assert told.returncode == 0, told.stderr
    assert told.stdout.endswith("29,997 rows loaded, 29,997 of them right; 0 missing, 3 damaged in the file\n")


def rows_in(database: Path) -> int:
    db = sqlite3.connect(database, timeout=10)
    try:
        [(count,)] = db.execute("SELECT count(*) FROM sales")
        return int(count)
    except sqlite3.OperationalError:
        return 0
    finally:
        db.close()
