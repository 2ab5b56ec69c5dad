"""Rows for a table of SQLite, 1,000 to a transaction.  tm-run batch.py 2 count=3000000"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from stamps import stamp

from taskmaster import handler, lifespan

stamp("ready")

FILE = "rows.sqlite"
BATCH = 1000
INSERT = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)"


def connect() -> sqlite3.Connection:
    """The database, with the settings of a bulk load: a commit does not wait for the disk."""
    db = sqlite3.connect(FILE, timeout=60, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, name TEXT, cents INTEGER)")
    return db


def insert(db: sqlite3.Connection, rows: list[Any]) -> None:
    """In one transaction."""
    db.execute("BEGIN IMMEDIATE")
    with db:
        db.executemany(INSERT, rows)


def get_jobs(last: int = 0, count: int = 100_000) -> Iterator[tuple[int, str, int]]:
    stamp("source")
    for number in range(last, count):
        yield number, f"customer {number}", number * 37 % 100_000


@lifespan
def database() -> Iterator[sqlite3.Connection]:
    db = connect()
    yield db
    db.close()


@handler(batch=BATCH)
def handle_jobs(rows: list[Any], db: sqlite3.Connection) -> None:
    insert(db, rows)
