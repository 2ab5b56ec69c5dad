"""`sources.rows` on SQLite: keys of one column and of several, what is refused, and which queries it makes."""

from __future__ import annotations

import datetime
import decimal
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskmaster import sources
from taskmaster.errors import SourceError, UsageError
from tests.support.sources import assert_resumes_anywhere, payloads

sql = pytest.importorskip("sqlalchemy")

ORDERS = [(1, "Mon", 5), (2, "Mon", None), (4, "Tue", 1), (7, "Tue", 2), (9, "Wed", 3)]


@pytest.fixture
def shop(tmp_path: Path) -> str:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, day TEXT NOT NULL, size INTEGER)")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?)", ORDERS)
        database.execute("CREATE TABLE plain (a, b)")
        database.executemany("INSERT INTO plain VALUES (?, ?)", [(1, 1), (1, 2), (1, 2), (3, None)])
    database.close()
    return f"sqlite:///{path}"


def ids(payloads: list[Any]) -> list[int]:
    return [row["id"] for row in payloads]


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
@pytest.mark.parametrize("table, key, expected", [
    ("orders", None, [1, 2, 4, 7, 9]), ("orders", "id", [1, 2, 4, 7, 9]), ("orders", ["day", "id"], [1, 2, 4, 7, 9]),
    ("main.orders", "id", [1, 2, 4, 7, 9]), ("SELECT id, day AS d FROM orders WHERE size > 1;", ["d", "id"], [1, 7, 9]),
    (sql.select(sql.table("orders", sql.column("id"), sql.column("size"))).where(sql.text("size IS NOT NULL")),
     ("size", "id"), [4, 7, 9, 1]),
    ("select id from orders\nlimit 3", "id", [1, 2, 4]),
    ("SELECT max(id) AS id FROM orders GROUP BY day", "id", [2, 7, 9]),
])
def test_rows_come_in_the_order_of_the_key(shop: str, table: Any, key: Any, expected: list[int], page: int) -> None:
    assert ids(assert_resumes_anywhere(sources.rows(shop, table, key=key, page=page))) == expected


def test_a_row_is_a_dict_of_all_columns(shop: str) -> None:
    assert payloads(sources.rows(shop, "orders"))[1] == {"id": 2, "day": "Mon", "size": None}


@pytest.mark.parametrize("compares_rows", [True, False])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.sets(st.tuples(st.integers(0, 2), st.text("ab", max_size=2), st.integers(0, 2)), max_size=20),
       page=st.integers(1, 4))
def test_any_composite_key_resumes_anywhere(tmp_path_factory: pytest.TempPathFactory, compares_rows: bool,
                                            rows: set[Any], page: int) -> None:
    path = tmp_path_factory.mktemp("rows") / "x.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (a, b, c, PRIMARY KEY (a, b, c))")
        database.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    database.close()
    with pytest.MonkeyPatch.context() as patch:
        if not compares_rows:
            patch.setattr("taskmaster.sources.keyset._COMPARE_ROWS", set())
        found = assert_resumes_anywhere(sources.rows(f"sqlite:///{path}", "t", page=page))
    assert [tuple(row.values()) for row in found] == sorted(rows)


@pytest.mark.parametrize("kind, values", [
    (sql.DateTime, [datetime.datetime(2024, 1, 1, 1), datetime.datetime(2024, 1, 1, 1, 0, 0, 1)]),
    (sql.Date, [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]),
    (sql.Numeric(asdecimal=True), [decimal.Decimal("1.5"), decimal.Decimal("2")]),
    (sql.LargeBinary, [b"\0", b"\xff"]), (sql.Uuid, [uuid.UUID(int=1), uuid.UUID(int=2)]),
    (sql.String, ["a'b", "ü"]), (sql.Float, [0.1, 0.30000000000000004]),
])
@pytest.mark.filterwarnings("ignore:Dialect sqlite.* does .not. support Decimal")
def test_a_key_may_be_of_any_type_that_can_be_sorted(tmp_path: Path, kind: Any, values: Any) -> None:
    engine, metadata = sql.create_engine(f"sqlite:///{tmp_path}/x.db"), sql.MetaData()
    table = sql.Table("t", metadata, sql.Column("key", kind, primary_key=True))
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"key": value} for value in values])
    assert assert_resumes_anywhere(sources.rows(engine, table)) == [{"key": value} for value in values]
    engine.dispose()


def test_an_engine_or_a_connection_is_used_and_left_as_it_was(shop: str) -> None:
    engine = sql.create_engine(shop)
    assert ids(payloads(sources.rows(engine, "orders"))) == [1, 2, 4, 7, 9]
    with engine.connect() as connection:
        assert ids(payloads(sources.rows(connection, "orders", page=2))) == [1, 2, 4, 7, 9]
        assert not connection.closed and not connection.in_transaction()
        connection.execute(sql.text("DELETE FROM orders WHERE id = 1"))
        assert ids(payloads(sources.rows(connection, "orders", page=2))) == [2, 4, 7, 9]
        assert connection.in_transaction()  # the user's own
    engine.dispose()


def test_rows_that_come_and_go_between_two_runs_move_no_other(shop: str) -> None:
    jobs = list(sources.rows(shop, "orders"))
    engine = sql.create_engine(shop)
    with engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM orders WHERE id IN (1, 2, 7)"))
        connection.execute(sql.text("INSERT INTO orders VALUES (3, 'Mon', 1), (10, 'Sat', 1)"))
    engine.dispose()
    assert ids(payloads(sources.rows(shop, "orders"), last=jobs[1].cursor)) == [3, 4, 9, 10]


@pytest.fixture
def queries() -> Iterator[list[tuple[str, Any]]]:
    """The queries for pages, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def see(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if "ORDER BY" in statement:
            seen.append((statement, parameters))

    sql.event.listen(sql.Engine, "before_cursor_execute", see)
    yield seen
    sql.event.remove(sql.Engine, "before_cursor_execute", see)


def test_each_query_finds_its_key_in_the_index_and_none_skips_rows(shop: str, queries: list[tuple[str, Any]]) -> None:
    payloads(sources.rows(shop, "orders", page=2))
    assert len(queries) == 3
    assert all(query.endswith("LIMIT ? OFFSET ?") and given[-1] == 0 for query, given in queries)  # as SQLite has it
    database = sqlite3.connect(shop.removeprefix("sqlite:///"))
    plan = database.execute(f"EXPLAIN QUERY PLAN {queries[1][0]}", queries[1][1]).fetchall()
    database.close()
    assert len(plan) == 1 and "SEARCH" in plan[0][3] and "PRIMARY KEY" in plan[0][3]


def test_no_transaction_is_open_while_a_page_is_handled(shop: str) -> None:
    jobs = iter(sources.rows(shop, "orders", page=2))
    next(jobs)
    database = sqlite3.connect(shop.removeprefix("sqlite:///"), timeout=0)
    database.execute("PRAGMA journal_mode=DELETE")
    with database:
        database.execute("INSERT INTO orders VALUES (100, 'Sun', 1)")  # locked if somebody reads
    database.close()
    assert ids([job.payload for job in jobs]) == [2, 4, 7, 9, 100]


def test_a_page_of_large_rows_is_cut(shop: str, monkeypatch: pytest.MonkeyPatch,
                                     queries: list[tuple[str, Any]]) -> None:
    monkeypatch.setattr(sys.modules["taskmaster.sources.rows"], "PAGE_BYTES", 5)
    assert ids(payloads(sources.rows(shop, "orders"))) == [1, 2, 4, 7, 9]
    assert len(queries) == 3  # "MonMon", "TueTue", "Wed"


# -- what is refused


def refused(*given: Any, **options: Any) -> str:
    with pytest.raises(SourceError) as raised:
        list(sources.rows(*given, **options))
    return str(raised.value)


def test_a_null_in_the_key_is_refused_before_the_first_job(shop: str) -> None:
    told = refused(shop, "orders", key=["size", "id"])
    assert "a row has NULL as its 'size'" in told and "WHERE size IS NOT NULL" in told
    assert "NULL as its 'b'" in refused(shop, "plain", key=["a", "b"])
    assert "NULL as its 'size'" in refused(shop, "SELECT size FROM orders", key="size")


def test_a_primary_key_of_sqlite_may_hold_nulls_and_is_refused_then(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE t (name TEXT PRIMARY KEY)")
        database.execute("INSERT INTO t VALUES (NULL), ('a')")
    database.close()
    assert "a row has NULL as its 'name'" in refused(f"sqlite:///{tmp_path}/x.db", "t")


@pytest.mark.parametrize("page", [1, 2, 3])
def test_two_rows_with_one_key_are_refused_wherever_a_page_ends(shop: str, page: int) -> None:
    told = refused(shop, "SELECT * FROM plain WHERE b IS NOT NULL", key=["a", "b"], page=page)
    assert "several rows have the key a=1, b=2" in told


def test_what_is_not_there_is_named(shop: str, tmp_path: Path) -> None:
    assert "there is no table 'order'. The database has: orders, plain" in refused(shop, "order")
    assert "there is no column 'nr'. It has: id, day, size" in refused(shop, "orders", key="nr")
    assert "there is no primary key" in refused(shop, "plain")
    assert "no such table: nowhere" in refused(shop, "SELECT * FROM nowhere", key="id")
    assert "syntax error" in refused(shop, "SELECT FROM WHERE", key="id")
    assert "there is no file" in refused(f"sqlite:///{tmp_path}/typo.db", "orders")
    assert not (tmp_path / "typo.db").exists()
    assert "URL" in refused("shop.db", "orders")
    (tmp_path / "text.db").write_text("this is not a database, but a text that is long enough" * 30)
    assert "file is not a database" in refused(f"sqlite:///{tmp_path}/text.db", "orders")


def test_a_missing_driver_or_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*given: Any) -> Any:
        raise ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2")

    monkeypatch.setattr(sql, "create_engine", missing)
    assert "needs the module psycopg2. Install it" in refused("postgresql://ada:secret@example/shop", "orders")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    assert "pip install 'taskmaster[sql]'" in refused("sqlite://", "orders")


def test_a_password_is_not_shown(shop: str) -> None:
    assert "secret" not in repr(sources.rows("postgresql://ada:se:c@secret@example/shop", "orders"))


@pytest.mark.parametrize("last", ["5", [1, 2], [None], {}])
def test_a_cursor_that_does_not_fit_the_key_is_refused(shop: str, last: Any) -> None:
    if last:
        assert "is not a cursor of rows(" in refused(shop, "orders", last)


@pytest.mark.parametrize("wrong", [lambda: sources.rows("sqlite://", "t", page=0),
                                   lambda: sources.rows("sqlite://", "t", key=[])])
def test_options_that_make_no_sense_are_refused_at_once(wrong: Callable[[], Any]) -> None:
    with pytest.raises(UsageError, match="at least"):
        wrong()
