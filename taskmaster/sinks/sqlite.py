"""Results as a table in a SQLite database:

    CREATE TABLE results (offset INTEGER PRIMARY KEY, cursor, result, error)

`result` is JSON, or null for a job that failed, whose `error` is JSON; SQL reads inside with `result ->> '$.name'`.
`cursor` is null for a job without one of its own. The database may hold other tables.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any

from taskmaster import defaults, durable
from taskmaster.core.portable import Packed
from taskmaster.core.results import Results
from taskmaster.core.runs import Runs
from taskmaster.errors import UsageError
from taskmaster.sinks.place import lost, occupied, open_file

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (offset INTEGER PRIMARY KEY, cursor, result, error);
CREATE TABLE IF NOT EXISTS results_flushes (seq INTEGER, first INTEGER, count INTEGER);
CREATE INDEX IF NOT EXISTS results_flushes_seq ON results_flushes (seq);
"""
_COLUMNS = ["offset", "cursor", "result", "error"]
_INTEGERS = range(-1 << 63, 1 << 63)


class SqliteTable:
    """A `Sink`. Each flush is a transaction with a number, which is the mark; it holds the rows and their offsets as
    runs, so that `open` finds what to delete, in whatever order the jobs were settled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None
        self._seq = 0  # of the last flush
        self._added = Runs()  # the offsets of the rows since then

    def open(self, mark: Any | None) -> None:
        self.close()
        exists = mark is not None and mark["seq"]
        durable.close_quietly(open_file(self.path, os.O_RDWR if exists else os.O_RDWR | os.O_CREAT))
        try:
            with self._explained():
                self._database = self._connected()
                # The removal of the journal is what commits: EXTRA makes it durable. In a WAL, FULL or more is needed.
                self._database.execute("PRAGMA synchronous = EXTRA")
                self._check_table(self._database, mark)
                self._cut(self._database, 0 if mark is None else mark["seq"])
        except BaseException:
            self.close()
            raise
        durable.sync_folder(self.path.parent)  # the name may be new

    def _connected(self) -> sqlite3.Connection:
        # Transactions begin and end where we say so. The thread that writes may be another than the one that opened it.
        return sqlite3.connect(self.path, timeout=defaults.SQLITE_BUSY_SECONDS, isolation_level=None,
                               check_same_thread=False)

    def _check_table(self, database: sqlite3.Connection, mark: Any | None) -> None:
        columns = [row[1] for row in database.execute("PRAGMA table_info(results)")]
        if columns and columns != _COLUMNS:
            raise UsageError(f"The table \"results\" in {self.path} has other columns than results have. Choose "
                             "another file with --results, or rename that table.")
        if mark is None and columns and database.execute("SELECT 1 FROM results").fetchone():
            raise occupied(self.path)

    def _cut(self, database: sqlite3.Connection, seq: int) -> None:
        database.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        newest = database.execute("SELECT coalesce(max(seq), 0) FROM results_flushes").fetchone()[0]
        if newest < seq:
            raise lost(self.path, "is older than the state of this run")
        later = database.execute("SELECT first, first + count FROM results_flushes WHERE seq > ?", (seq,)).fetchall()
        database.executemany("DELETE FROM results WHERE offset >= ? AND offset < ?", later)
        database.execute("DELETE FROM results_flushes WHERE seq > ?", (seq,))
        database.execute("COMMIT")
        self._seq, self._added = seq, Runs()

    def write(self, results: Iterable[Results]) -> None:
        assert self._database is not None
        with self._explained():
            if not self._database.in_transaction:
                self._database.execute("BEGIN IMMEDIATE")
            for one in results:
                # A job that failed in an earlier run has its error there, and may have run again since.
                self._database.executemany("REPLACE INTO results VALUES (?, ?, ?, ?)", _rows(one))
                self._added.add(one.first, one.count)

    def flush(self) -> Any:
        assert self._database is not None
        if self._added:
            with self._explained():
                self._commit(self._database)
        return {"seq": self._seq}

    def _commit(self, database: sqlite3.Connection) -> None:
        rows = [(self._seq + 1, first, count) for first, count in self._added]
        database.executemany("INSERT INTO results_flushes VALUES (?, ?, ?)", rows)
        database.execute("COMMIT")
        self._seq, self._added = self._seq + 1, Runs()

    def close(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):  # the transaction that is under way is rolled back
                self._database.close()
            self._database = None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the database as those that a `Sink` raises."""
        try:
            yield
        except sqlite3.OperationalError as error:  # locked, full, read-only, an error of the disk
            raise OSError(errno.EIO, str(error), str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{self.path} cannot be used as a SQLite database: {error}. Choose another file with "
                             "--results.") from error


def _rows(results: Results) -> Iterator[tuple[Any, ...]]:
    offsets = range(results.first, results.first + results.count)
    cursors = repeat(None) if results.cursors is None else map(_cursor, results.cursors)
    lines = results.lines.decode("utf-8", "replace").split("\n")
    return zip(offsets, cursors, repeat(None), lines) if results.failed else zip(offsets, cursors, lines, repeat(None))


def _cursor(cursor: Any) -> int | str | None:
    if type(cursor) is int:
        return cursor if cursor in _INTEGERS else str(cursor)
    if type(cursor) is str:
        return cursor.encode("utf-8", "backslashreplace").decode("utf-8")
    return cursor.text if type(cursor) is Packed else None
