"""Migrate a table of a million customers from an old schema to a new one, by keyset cursor.

It shows a source that resumes at a row id (`Job(..., cursor=id)` and `WHERE id > ?`), a batch of rows as one
job, and a handler that may run twice, even at the same time: it upserts, in one transaction.

Run:     tm-run examples/migrate_sqlite.py 4              (or with rows=1000, path=/tmp/my.sqlite, batch=2000)
Kill:    Ctrl-C, or kill -9 any of its processes at any moment
Resume:  the same command again; `--reset` migrates everything again, which changes nothing
Verify:  python examples/migrate_sqlite.py --verify [customers.sqlite]

The first run creates the database, `customers.sqlite` in the working folder. SQLite lets one connection write
at a time, and only on one machine: slaves on other machines need a database server instead.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

from taskmaster import Job

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, joined TEXT, balance TEXT);
CREATE TABLE clients (id INTEGER PRIMARY KEY, first_name TEXT NOT NULL, last_name TEXT NOT NULL,
                      joined TEXT NOT NULL, balance_cents INTEGER NOT NULL);
"""
UPSERT = "INSERT OR REPLACE INTO clients VALUES (?, ?, ?, ?, ?)"
LOCK_PATIENCE_S = 60  # 4 slaves x 10 threads share one write lock, a few milliseconds each
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def get_jobs(
    last: int = 0, rows: int = 1_000_000, path: Path = Path("customers.sqlite"), batch: int = 500
) -> Iterator[Job]:
    path = path.absolute()
    if not last and not path.exists():
        make_database(path, rows)
    db = connect(str(path))
    [(found,)] = db.execute("SELECT count(*) FROM customers")
    if found != rows:
        raise ValueError(f"{path} holds {found} customers, not {rows}. Pass rows={found} or another path.")
    while True:
        [(first, end)] = db.execute(
            "SELECT min(id), max(id) FROM (SELECT id FROM customers WHERE id > ? ORDER BY id LIMIT ?)",
            (last, batch),
        )
        if end is None:
            return
        yield Job((str(path), first, end), cursor=end)
        last = end


def handle_job(payload: tuple[str, int, int]) -> None:
    path, first, end = payload
    db = connect(path)
    old = db.execute("SELECT * FROM customers WHERE id BETWEEN ? AND ?", (first, end))
    new = [(id, *split_name(name), iso_date(joined), to_cents(balance)) for id, name, joined, balance in old]
    with db:  # commits; rolls back if anything below raises
        db.execute("BEGIN IMMEDIATE")  # wait for the write lock here, not in the middle of the work
        db.executemany(UPSERT, new)


def split_name(text: str) -> tuple[str, str]:
    """`Ada Lovelace` and `Lovelace, Ada`; last names may have spaces, first names have none."""
    last_name, comma, first_name = text.partition(", ")
    if not comma:
        first_name, _, last_name = text.partition(" ")
    return first_name, last_name


def iso_date(text: str) -> str:
    """`2019-03-07`, `07.03.2019`, `03/07/2019` (month first) and `7 Mar 2019`."""
    if "." in text:
        day, month, year = text.split(".")
    elif "/" in text:
        month, day, year = text.split("/")
    elif " " in text:
        day, name, year = text.split()
        month = str(MONTHS.index(name) + 1)
    else:
        year, month, day = text.split("-")
    return date(int(year), int(month), int(day)).isoformat()


def to_cents(text: str) -> int:
    """`-1234.5`, `$-1,234.50` and `-1.234,50 EUR`."""
    if text.endswith(" EUR"):
        text = text[:-4].replace(".", "").replace(",", ".")
    return int(Decimal(text.replace("$", "").replace(",", "")) * 100)


# A connection belongs to the thread that made it, so each thread keeps its own.
this_thread = threading.local()


def connect(path: str) -> sqlite3.Connection:
    if getattr(this_thread, "path", None) != path:
        if not os.path.exists(path):  # SQLite would create an empty one
            raise FileNotFoundError(f"There is no {path}. A run creates it; if there was one, use --reset.")
        this_thread.db = sqlite3.connect(path, timeout=LOCK_PATIENCE_S, isolation_level=None)
        this_thread.path = path
    db: sqlite3.Connection = this_thread.db
    return db


def make_database(path: Path, rows: int) -> None:
    """Create the old table under another name, then rename it: a kill in between leaves no partial file."""
    for leftover in path.parent.glob(f"{path.name}.*.tmp"):
        leftover.unlink()
    print(f"creating {path} with {rows} customers", file=sys.stderr)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    db = sqlite3.connect(unfinished)
    db.execute("PRAGMA journal_mode = OFF")
    db.executescript(SCHEMA)
    db.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", map(old_customer, range(1, rows + 1)))
    db.commit()
    db.execute("PRAGMA journal_mode = WAL")  # kept in the file: readers do not wait for the writer
    db.close()
    unfinished.rename(path)


FIRST_NAMES = ("Ada", "Björn", "Chloé", "Dmitri", "Grace", "Jean-Luc", "Mei", "Ngozi", "Zoë", "李")
LAST_NAMES = ("Lovelace", "van der Berg", "García Márquez", "O'Brien", "Hopper", "Smith-Jones", "de la Cruz")
DAYS = [date(1990, 1, 1) + timedelta(days=n) for n in range(12_000)]


def old_customer(n: int) -> tuple[int, str, str, str]:
    """The nth customer, with gaps between the ids; sooner or later each format occurs with each value."""
    names = name_spellings(FIRST_NAMES[n % len(FIRST_NAMES)], LAST_NAMES[n % len(LAST_NAMES)])
    dates = date_spellings(DAYS[n * 7919 % len(DAYS)])
    balances = balance_spellings(n * 7907 % 2_000_000 - 500_000)
    return 3 * n - n % 3, names[n % 11 % 2], dates[n % 13 % 4], balances[n % 17 % 3]


def name_spellings(first: str, last: str) -> tuple[str, ...]:
    return f"{first} {last}", f"{last}, {first}"


@cache
def date_spellings(day: date) -> tuple[str, ...]:
    month = MONTHS[day.month - 1]
    return day.isoformat(), f"{day:%d.%m.%Y}", f"{day:%m/%d/%Y}", f"{day.day} {month} {day.year}"


def balance_spellings(cents: int) -> tuple[str, ...]:
    amount = Decimal(cents) / 100
    european = f"{amount:,.2f}".translate({ord(","): ".", ord("."): ","})
    return str(amount), f"${amount:,.2f}", f"{european} EUR"


def verify(path: Path) -> bool:
    """Check without the parsers above: the old text must be one of the ways to write the new row."""
    db = connect(str(path.absolute()))
    dates = {spelling: day.isoformat() for day in DAYS for spelling in date_spellings(day)}
    [(customers,)] = db.execute("SELECT count(*) FROM customers")
    [(clients,)] = db.execute("SELECT count(*) FROM clients")
    right = 0
    for _, name, joined, balance, first, last, new_joined, cents in db.execute(
        "SELECT * FROM customers JOIN clients USING (id)"
    ):
        right += (" " not in first and name in name_spellings(first, last)
                  and dates[joined] == new_joined and balance in balance_spellings(cents))
    print(f"{path}: {customers} customers, {clients} migrated, {right} of them correct")
    return bool(customers == clients == right)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Check the migration that tm-run did.")
    parser.add_argument("--verify", nargs="?", type=Path, const=Path("customers.sqlite"), required=True)
    try:
        sys.exit(0 if verify(parser.parse_args().verify) else 1)
    except FileNotFoundError as error:
        sys.exit(str(error))
