"""kill -9 of masters, slaves and everything while results are written: they are those of an undisturbed run."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.act import Act
from chaos.bounds import MEMORY_MIB
from chaos.commands import Actor
from chaos.exceptions import Unplayable
from chaos.kills import kill_all, kill_master, kill_slave
from chaos.scene import Scene

KILLS = 20
SIZE = 20_000  # far more than is done while a slow job holds up the others
FAILURES = 3

_WORK = """
def deed(job):
    time.sleep(2.0 if SECONDS and job % 3000 == 500 else SECONDS)
    if job % 2500 == 77:
        raise ValueError("always")
    return {"number": job, "square": job * job, "text": f"job {job}, \\"\\u00e9\\""}
"""
_HANDLED = """
import functools, json, sqlite3

@functools.cache
def database():
    db = sqlite3.connect("handled.db")
    db.execute("PRAGMA synchronous = OFF")  # enough for kill -9, and each result is a transaction
    db.execute("CREATE TABLE IF NOT EXISTS handled (offset, result)")
    db.execute("CREATE TABLE IF NOT EXISTS mark (id INTEGER PRIMARY KEY, last)")
    db.execute("INSERT OR IGNORE INTO mark VALUES (1, -1)")
    db.commit()
    return db


def handle_result(job, result):
    with database() as db:  # one transaction
        if db.execute("UPDATE mark SET last = ? WHERE last < ?", (job.offset, job.offset)).rowcount:
            db.execute("INSERT INTO handled VALUES (?, ?)", (job.offset, json.dumps(result)))
"""


def _rows_of_sqlite(path: Path) -> list[Any]:
    return _rows(path, "SELECT * FROM results ORDER BY offset")


def _rows_handled(path: Path) -> list[Any]:
    return _rows(path, "SELECT * FROM handled ORDER BY rowid")


def _rows(path: Path, query: str) -> list[Any]:
    database = sqlite3.connect(path)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def _rows_of_parquet(path: Path) -> list[Any]:
    parquet = importlib.import_module("pyarrow.parquet")
    return [tuple(row.values()) for part in sorted(path.iterdir())
            for row in parquet.ParquetFile(part).read().to_pylist()]


@dataclass(frozen=True)
class Kind:
    """A kind of results: the name of their file, what a user reads there, and the options that ask for it."""

    name: str
    read: Callable[[Path], Any]
    options: tuple[str, ...] = ()
    more: str = ""  # in the job file
    memory: float = MEMORY_MIB  # that a master may take


JSONL = Kind("out.jsonl", Path.read_bytes, ("--results", "out.jsonl"))
CSV = Kind("out.csv", Path.read_bytes, ("--results", "out.csv"))
SQLITE = Kind("out.sqlite", _rows_of_sqlite, ("--results", "out.sqlite"))
PARQUET = Kind("out.parquet", _rows_of_parquet, ("--results", "out.parquet"), memory=200.0)  # of pyarrow: 65
HANDLE_RESULT = Kind("handled.db", _rows_handled, more=_HANDLED)


def kills(kind: Kind, act: Act) -> None:
    """Twenty, of whatever chance picks."""
    if kind is PARQUET and importlib.util.find_spec("pyarrow") is None:
        raise Unplayable("needs pyarrow")
    scene, options = act.scene().work(_WORK + kind.more), ("--size", SIZE, "--attempts", 2, "--max-failures", "none")
    scene.memory_limit = kind.memory
    master, spawn = scene.master(*options, *kind.options), scene.spawn(2)
    for _ in range(KILLS):
        scene.at_work(20)
        scene.pause(0.1, 1.5)
        master, spawn = _kill(scene, master, spawn, (*options, *kind.options))
    scene.complete(master, spawn, code=FAILURES)
    _expect_undisturbed(act, scene, kind, options)


def _kill(scene: Scene, master: Actor, spawn: Actor, options: tuple[object, ...]) -> tuple[Actor, Actor]:
    slaves, what = scene.slaves(), scene.chance.random()
    if slaves and what < 0.4:
        # What this slave had done, and a kill of the master repeats later, is counted here.
        kill_slave(scene, scene.chance.choice(slaves)).bound = SIZE
        return master, spawn
    if what < 0.8:
        kill_master(scene, master)
        return scene.master(*options), spawn
    kill_all(scene)
    return scene.master(*options), scene.spawn(2)


def _expect_undisturbed(act: Act, scene: Scene, kind: Kind, options: tuple[object, ...]) -> None:
    """Another run of the same jobs, which nothing disturbs, leaves the same."""
    jobs = scene.log.read().exhausted
    calm = act.scene("undisturbed").work(_WORK + kind.more, seconds=0.0, jobs=jobs)
    calm.memory_limit = kind.memory
    calm.complete(calm.run(2, *options, *kind.options), code=FAILURES)
    same = kind.read(scene.folder / kind.name) == kind.read(calm.folder / kind.name)
    scene.expect(same, f"{scene.folder / kind.name} differs from {calm.folder / kind.name}, of an undisturbed run")
    scene.expect(not list(scene.state.glob("waiting-results-*")), "results that waited were left in the state folder")
