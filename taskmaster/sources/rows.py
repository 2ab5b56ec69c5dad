"""A job for each row of a table or a query, in the order of a key, by SQLAlchemy."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from taskmaster.defaults import PAGE_BYTES, PAGE_ROWS
from taskmaster.errors import SourceError, UsageError
from taskmaster.job import Job
from taskmaster.sources.base import Source, located
from taskmaster.sources.keyset import Keyset, keyset_of


def rows(database: Any, table: Any, last: Any = None, *, key: str | Sequence[str] | None = None,
         page: int = PAGE_ROWS) -> Source:
    """Each row as a dict by the names of its columns, in the order of `key`, one column or several.

    `database` is a URL of SQLAlchemy's, an Engine or a Connection; `table` the name of a table, a SELECT as text or
    one of SQLAlchemy's. No two rows may have the same key, and none a NULL in it. For a table, the primary key is the
    default. The cursor is a list of the key's values. Rows are read `page` at a time or, if they are large, fewer, each
    page in a transaction of its own: so none stays open while jobs are handled, and a page begins at its key.
    """
    if page < 1:
        raise UsageError(f"page must be at least 1, not {page}.")
    names = [key] if isinstance(key, str) else None if key is None else list(key)
    if names == []:
        raise UsageError("key must name at least one column.")
    name = f"rows({_shown(database)}, {_shown(table)})"
    return Source(name, partial(_rows, name, located(""), database, table, names, page), last)


def _rows(name: str, here: str, database: Any, table: Any, key: list[str] | None, page: int,
          last: Any) -> Iterator[Job]:
    with _connected(name, here, database) as connection:
        with _one_transaction(connection):
            keyset = keyset_of(name, connection, table, key)
            keyset.refuse_nulls(connection)
        while True:
            with _one_transaction(connection):
                found, more = _page(name, connection, keyset, page, last)
            for row in found:
                yield Job(dict(row._mapping), keyset.cursor(row))
            if not more:
                return
            last = keyset.cursor(found[-1])


def _page(name: str, connection: Any, keyset: Keyset, page: int, last: Any) -> tuple[list[Any], bool]:
    """The next rows, and whether there are more. Where the driver can, no more are fetched than are returned."""
    found: list[Any] = []
    size = 0
    query = keyset.after(last).limit(page + 1)  # the one more shows whether its key is another one
    with connection.execute(query, execution_options=dict(stream_results=True, max_row_buffer=100)) as result:
        for row in result:
            if found and keyset.cursor(row) == keyset.cursor(found[-1]):
                raise SourceError(f"{name}: several rows have the key {keyset.shown(row)}. Add a column to the key by "
                                  f"which they differ, for example key={[*keyset.names, 'id']}.")
            if len(found) == page or size >= PAGE_BYTES:
                return found, True
            found.append(row)
            size += sum(len(value) for value in row if isinstance(value, (str, bytes)))
    return found, False


@contextmanager
def _connected(name: str, here: str, database: Any) -> Iterator[Any]:
    """A connection. Raises SourceError for what the database, or SQLAlchemy, reports."""
    sqlalchemy = _library(name)
    try:
        if isinstance(database, sqlalchemy.Connection):
            yield database
            return
        engine = database if isinstance(database, sqlalchemy.Engine) else _engine(name, here, sqlalchemy, database)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            if engine is not database:
                engine.dispose()
    except sqlalchemy.exc.SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
        raise SourceError(f"{name}: {why}.") from error


def _library(name: str) -> Any:
    try:
        return importlib.import_module("sqlalchemy")
    except ImportError:
        raise SourceError(f"{name}: to read tables, install the extra: pip install 'taskmaster[sql]'") from None


def _engine(name: str, here: str, sqlalchemy: Any, address: Any) -> Any:
    url = sqlalchemy.make_url(address)
    path = url.database
    if url.get_backend_name() == "sqlite" and path and path != ":memory:" and not path.startswith("file:"):
        url = url.set(database=os.path.join(here, path))
        if not os.path.isfile(url.database):  # which connecting would create
            raise SourceError(f"{name}: there is no file {path!r} (looked for {url.database}).")
    try:
        return sqlalchemy.create_engine(url)
    except ModuleNotFoundError as error:
        raise SourceError(f"{name}: this database needs the module {error.name}. Install it, or name another driver in "
                          "the URL, such as postgresql+psycopg://...") from None


@contextmanager
def _one_transaction(connection: Any) -> Iterator[None]:
    """A transaction that is over at the end, unless the connection was in one of the user's."""
    theirs = connection.in_transaction()
    try:
        yield
    finally:
        if not theirs:
            connection.rollback()  # only read, so nothing is undone


def _shown(what: Any) -> str:
    """Without the password in a URL."""
    if not isinstance(what, str):
        return type(what).__name__ if not hasattr(what, "name") else repr(what.name)
    return repr(without_password(" ".join(what.split())))


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(://[^:@/]*):.*@", r"\1:***@", url)
