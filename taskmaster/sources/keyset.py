"""The rows of a table or a query after a key, as queries of SQLAlchemy's. Never OFFSET, which reads what it skips."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from taskmaster.defaults import NAMES_OFFERED
from taskmaster.errors import SourceError
from taskmaster.sources.base import refuse_cursor

# They compare rows by their first different column, and use an index for it. For others it is spelled out.
_COMPARE_ROWS = {"sqlite", "postgresql", "mysql", "mariadb"}


@dataclass(frozen=True)
class Keyset:
    """A SELECT, the columns of its key with their names, and what is known of them."""

    source: str
    select: Any
    columns: list[Any]
    names: list[str]
    never_null: frozenset[str]  # columns that the database itself keeps NULLs out of
    compares_rows: bool
    sql: Any  # the library

    def after(self, last: Any) -> Any:
        """The query for all rows after this cursor, None for all. Raises SourceError for no cursor of this source."""
        query = self.select.order_by(*self.columns)
        if last is None:
            return query
        if not isinstance(last, (list, tuple)) or len(last) != len(self.columns) or None in last:
            refuse_cursor(self.source, last)
        return query.where(self._beyond(last))

    def refuse_nulls(self, connection: Any) -> None:
        """Raise SourceError if a row has a NULL in its key: no comparison would ever find it."""
        for column, name in zip(self.columns, self.names):
            query = self.select.where(column.is_(None)).limit(1)
            if name not in self.never_null and connection.execute(query).first() is not None:
                raise SourceError(f"{self.source}: a row has NULL as its {name!r}, so it has no place in the order of "
                                  "that key. Give another key, or leave such rows out:\n    SELECT ... WHERE "
                                  f"{name} IS NOT NULL")

    def cursor(self, row: Any) -> list[Any]:
        """Of a row."""
        return [row._mapping[name] for name in self.names]

    def shown(self, row: Any) -> str:
        """The key of a row, for people."""
        return ", ".join(f"{name}={value!r:.80}" for name, value in zip(self.names, self.cursor(row)))

    def _beyond(self, last: Sequence[Any]) -> Any:
        sql, bound = self.sql, [self.sql.literal(value, column.type) for value, column in zip(last, self.columns)]
        if len(last) == 1:
            return self.columns[0] > bound[0]
        if self.compares_rows:
            return sql.tuple_(*self.columns) > sql.tuple_(*bound)
        beyond = self.columns[-1] > bound[-1]
        for column, value in reversed(list(zip(self.columns[:-1], bound[:-1]))):
            beyond = sql.and_(column >= value, sql.or_(column > value, beyond))
        return beyond


def keyset_of(source: str, connection: Any, table: Any, key: list[str] | None) -> Keyset:
    """Of a table by its name, a SELECT as text or one of SQLAlchemy's. Raises SourceError if that has no such key."""
    sql = importlib.import_module("sqlalchemy")
    named = isinstance(table, str) and len(table.split()) == 1
    select = _select_of_table(source, sql, connection, table) if named else _select(sql, connection, table)
    there = select.selected_columns
    names = key or [column.key for column in there if getattr(column, "primary_key", False)]
    if not names:
        raise SourceError(f"{source}: there is no primary key. Name the columns that tell rows apart, for example "
                          "key=['day', 'id'].")
    missing = next((name for name in names if name not in there), None)
    if missing is not None:
        raise SourceError(f"{source}: there is no column {missing!r}. It has: {', '.join(there.keys())}.")
    never_null = _never_null(sql, connection, table) if named else frozenset()
    return Keyset(source, select, [there[name] for name in names], names, never_null,
                  connection.dialect.name in _COMPARE_ROWS, sql)


def _select(sql: Any, connection: Any, table: Any) -> Any:
    if isinstance(table, str):
        return _select_of_text(sql, connection, table)
    if hasattr(table, "subquery"):
        return sql.select(table.subquery("jobs"))
    return sql.select(getattr(table, "__table__", table))  # of a mapped class


def _select_of_text(sql: Any, connection: Any, text: str) -> Any:
    """The names of its columns are what the database says they are."""
    text = text.strip().rstrip(";")
    with connection.execute(sql.text(f"SELECT * FROM ({text}) AS jobs WHERE 1 = 0")) as result:
        names = list(result.keys())
    return sql.select(sql.text(text).columns(*map(sql.column, names)).subquery("jobs"))


def _select_of_table(source: str, sql: Any, connection: Any, table: str) -> Any:
    schema, name = _parts(table)
    try:
        return sql.select(sql.Table(name, sql.MetaData(), schema=schema, autoload_with=connection))
    except sql.exc.NoSuchTableError:
        names = sorted(sql.inspect(connection).get_table_names(schema=schema))
        raise SourceError(f"{source}: there is no table {table!r}. The database has: "
                          f"{', '.join(names[:NAMES_OFFERED]) or 'none'}.") from None


def _never_null(sql: Any, connection: Any, table: str) -> frozenset[str]:
    """Not by the primary key, which may hold NULLs in SQLite."""
    schema, name = _parts(table)
    columns = sql.inspect(connection).get_columns(name, schema=schema)
    return frozenset(column["name"] for column in columns if not column["nullable"])


def _parts(table: str) -> tuple[str | None, str]:
    schema, _, name = table.rpartition(".")
    return schema or None, name
