"""`sources.rows` on PostgreSQL, where TASKMASTER_TEST_POSTGRES is the URL of a database that may be written to."""

from __future__ import annotations

import datetime
import os
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from taskmaster import sources
from taskmaster.errors import SourceError
from tests.support.sources import assert_resumes_anywhere, payloads

sql = pytest.importorskip("sqlalchemy")
URL = os.environ.get("TASKMASTER_TEST_POSTGRES", "")
pytestmark = pytest.mark.skipif(not URL, reason="TASKMASTER_TEST_POSTGRES names no database")


@pytest.fixture
def database() -> Iterator[Any]:
    """A schema of its own for the test."""
    engine = sql.create_engine(URL)
    with engine.begin() as connection:
        connection.execute(sql.text("DROP SCHEMA IF EXISTS taskmaster_test CASCADE"))
        connection.execute(sql.text("CREATE SCHEMA taskmaster_test"))
        connection.execute(sql.text("CREATE TABLE taskmaster_test.orders (day date NOT NULL, id bigint NOT NULL, "
                                    "note text, PRIMARY KEY (day, id))"))
        connection.execute(sql.text("INSERT INTO taskmaster_test.orders SELECT date '2024-01-01' + n / 7, n % 7, "
                                    "CASE WHEN n > 5 THEN repeat('x', n) END FROM generate_series(0, 40) AS n"))
        connection.execute(sql.text("CREATE TABLE taskmaster_test.uuids AS SELECT md5(n::text)::uuid AS id, "
                                    "now() + n * interval '1 s' AS at, n::numeric / 3 AS third "
                                    "FROM generate_series(1, 20) AS n"))
    yield engine
    with engine.begin() as connection:
        connection.execute(sql.text("DROP SCHEMA taskmaster_test CASCADE"))
    engine.dispose()


@pytest.mark.parametrize("page", [1, 3, 1000])
def test_rows_of_a_composite_key_resume_anywhere(database: Any, page: int) -> None:
    found = assert_resumes_anywhere(sources.rows(URL, "taskmaster_test.orders", page=page))
    assert [(row["day"], row["id"]) for row in found] == [
        (datetime.date(2024, 1, 1) + datetime.timedelta(n // 7), n % 7) for n in range(41)]


@pytest.mark.parametrize("key", ["id", "at", "third"])
def test_keys_may_be_uuids_times_and_numbers(database: Any, key: str) -> None:
    found = assert_resumes_anywhere(sources.rows(database, "SELECT * FROM taskmaster_test.uuids", key=key, page=3))
    assert len(found) == 20 and isinstance(found[0]["id"], uuid.UUID)
    assert found == sorted(found, key=lambda row: row[key])


def test_each_page_looks_its_key_up_in_the_index(database: Any) -> None:
    seen: list[Any] = []
    sql.event.listen(database, "before_cursor_execute", lambda c, cursor, text, *rest: seen.append((text, rest[0])))
    payloads(sources.rows(database, "taskmaster_test.orders", page=20))
    pages = [(text, given) for text, given in seen if "FROM taskmaster_test.orders" in text and "ORDER BY" in text]
    assert len(pages) == 3 and not any("OFFSET" in text for text, _ in pages)
    with database.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")
        plan = connection.exec_driver_sql(f"EXPLAIN {pages[1][0]}", pages[1][1]).scalars().all()
    assert "Index Scan using orders_pkey" in str(plan) and "ROW(day, id) > ROW" in str(plan) and "Sort" not in str(plan)


def peak_kib() -> int:
    with open("/proc/self/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmHWM:")))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_page_of_large_rows_does_not_come_at_once(database: Any) -> None:
    """A server-side cursor: 2,000 rows of 1 MB are there, and some MB are read for the first of them."""
    with database.begin() as connection:
        connection.execute(sql.text("CREATE TABLE taskmaster_test.large AS SELECT n AS id, repeat('x', 1000000) AS x "
                                    "FROM generate_series(1, 2000) AS n"))
    jobs = iter(sources.rows(URL, "taskmaster_test.large", key="id", page=2000))
    before = peak_kib()
    assert [next(jobs).payload["id"] for _ in range(10)] == list(range(1, 11))
    assert peak_kib() - before < 400 << 10
    jobs.close()  # type: ignore[attr-defined]


def test_no_transaction_is_open_while_a_page_is_handled(database: Any) -> None:
    jobs = iter(sources.rows(URL, "taskmaster_test.orders", page=5))
    next(jobs)
    with database.connect() as connection:
        states = connection.execute(sql.text("SELECT state FROM pg_stat_activity WHERE datname = current_database() "
                                             "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"))
        assert set(states.scalars()) == {"idle"}
    jobs.close()  # type: ignore[attr-defined]


def test_nulls_and_equal_keys_are_refused(database: Any) -> None:
    with pytest.raises(SourceError, match="NULL as its 'note'"):
        list(sources.rows(URL, "taskmaster_test.orders", key=["note"]))
    with pytest.raises(SourceError, match="several rows have the key day="):
        list(sources.rows(URL, "taskmaster_test.orders", key="day"))
    with pytest.raises(SourceError, match="no table 'taskmaster_test.none'"):
        list(sources.rows(URL, "taskmaster_test.none"))
