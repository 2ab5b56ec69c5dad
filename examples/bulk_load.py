"""Load a CSV file of sales into a database, a thousand rows to a transaction.

It shows a handler that takes a list of jobs, a connection that is opened once in each slave, and what becomes of rows
that are damaged: each is a failure of its own, and the rows beside it are loaded.

Run:     tm-run examples/bulk_load.py 2   (or with file=sales.csv, rows=1000000)
Kill:    Ctrl-C, or kill -9 any of its processes at any moment
Resume:  the same command again
Verify:  python examples/bulk_load.py --verify

If there is no file of this name, the first run writes one, in which one line among 10,000 is damaged. They are in the
failures file in the end, with the lines themselves, and the exit code is 3. The rows go into the database that the
variable SALES_DATABASE names: a file of SQLite, sales.sqlite by default, or a postgresql:// address, which needs
psycopg.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from taskmaster import Job, handler, lifespan

DATABASE = os.environ.get("SALES_DATABASE", "sales.sqlite")
IS_SQLITE = not DATABASE.startswith(("postgresql:", "postgres:"))
MARK = "?" if IS_SQLITE else "%s"
TABLE = """
CREATE TABLE IF NOT EXISTS sales (id BIGINT PRIMARY KEY, day DATE NOT NULL, shop TEXT NOT NULL, cents BIGINT NOT NULL)
"""
# Twice is as good as once: a row replaces what an earlier attempt wrote.
INSERT = f"""
INSERT INTO sales (id, day, shop, cents) VALUES ({MARK}, {MARK}, {MARK}, {MARK})
ON CONFLICT (id) DO UPDATE SET day = excluded.day, shop = excluded.shop, cents = excluded.cents
"""
SHOPS = ("Aachen", "Bergen", "Cádiz", "Dover")
DAMAGED = 10_000  # one line among so many


def get_jobs(last: int = 0, file: Path = Path("sales.csv"), rows: int = 50_000) -> Iterator[Job]:
    if not last and not file.exists():
        write_sales(file, rows)
    connect().close()  # so that the table is there before any slave is
    with open(file, "rb") as lines:
        lines.seek(last)
        if not last:
            lines.readline()  # the names of the columns
        while line := lines.readline():
            yield Job(line.decode().rstrip("\r\n"), cursor=lines.tell())


@lifespan(per_thread=True)
def database() -> Iterator[Any]:
    db = connect()
    yield db
    db.close()


@handler(batch=1000, give_up_on=ValueError)  # which another attempt will not cure
def handle_jobs(lines: list[str], db: Any) -> None:
    """All of these rows, or none."""
    rows = [sale_of(fields) for fields in csv.reader(lines)]
    try:
        db.cursor().executemany(INSERT, rows)
        db.commit()
    except BaseException:
        db.rollback()
        raise


def sale_of(fields: Sequence[str]) -> tuple[int, str, str, int]:
    """A row of the table; raises ValueError for a line that is damaged."""
    number, day, shop, amount = fields
    whole, _, cents = amount.partition(".")
    return int(number), datetime.date.fromisoformat(day).isoformat(), shop, int(whole) * 100 + int(cents)


def connect() -> Any:
    """A connection to the database, in which the table exists."""
    if IS_SQLITE:
        db: Any = sqlite3.connect(DATABASE, timeout=60)  # while another slave writes
        db.execute("PRAGMA journal_mode = WAL")
    else:
        import psycopg  # here: only PostgreSQL needs it

        db = psycopg.connect(DATABASE)
    db.execute(TABLE)
    db.commit()
    return db


def write_sales(file: Path, rows: int) -> None:
    """A file of sales, complete or not there at all."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with open(unfinished, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(("id", "day", "shop", "amount"))
        first = datetime.date(2024, 1, 1)
        for number in range(1, rows + 1):
            day = first + datetime.timedelta(days=number % 366)
            amount = "n/a" if number % DAMAGED == DAMAGED // 2 else f"{number % 500}.{number % 100:02}"
            writer.writerow((number, day.isoformat(), SHOPS[number % len(SHOPS)], amount))
    unfinished.rename(file)


def verify(file: Path) -> bool:
    """Whether the table holds exactly the lines of the file that are not damaged."""
    expected, damaged = set(), 0
    with open(file, newline="", encoding="utf-8") as lines:
        for fields in list(csv.reader(lines))[1:]:
            try:
                expected.add(sale_of(fields))
            except ValueError:
                damaged += 1
    db = connect()
    found = {(number, str(day), shop, cents)
             for number, day, shop, cents in db.cursor().execute("SELECT id, day, shop, cents FROM sales").fetchall()}
    db.close()
    print(f"{len(found):,} rows loaded, {len(found & expected):,} of them right; {len(expected - found):,} missing, "
          f"{damaged:,} damaged in the file")
    return found == expected


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the database with the file.")
    parser.add_argument("--verify", nargs="?", const="sales.csv", required=True, type=Path, metavar="FILE")
    sys.exit(0 if verify(parser.parse_args().verify) else 1)


if __name__ == "__main__":
    main()
