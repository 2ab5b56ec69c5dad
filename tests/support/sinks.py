"""Results to write, the sinks that the tests share, and file systems after a kill or a power loss."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from taskmaster import durable
from taskmaster.core.portable import freeze
from taskmaster.core.result_codec import encode_result
from taskmaster.core.results import Results
from taskmaster.job import NO_CURSOR
from taskmaster.sinks.base import Sink
from taskmaster.sinks.choose import sink_for

CURSORS: Sequence[Any] = [7, 1 << 70, "a\"ü\n", "\udc80", freeze((1, "x")), freeze({"id": [1]}), NO_CURSOR]


@dataclass(frozen=True)
class Kind:
    """A kind of sink, by the name of its file; `content` is what a user reads there."""

    name: str
    content: Callable[[Path], Any]
    failures: bool = True  # whether it takes failed jobs

    def __str__(self) -> str:
        return self.name

    def sink(self, folder: Path) -> Sink:
        return sink_for(folder / self.name)

    def read(self, folder: Path) -> Any:
        return self.content(folder / self.name)


def rows_of_sqlite(path: Path) -> list[Any]:
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return database.execute("SELECT offset, cursor, result, error FROM results ORDER BY offset").fetchall()
    finally:
        database.close()


def rows_of_parquet(path: Path) -> list[Any]:
    parquet = pytest.importorskip("pyarrow.parquet")
    parts = sorted(path.iterdir())
    assert {part.suffix for part in parts} <= {".parquet"}
    return [tuple(row.values()) for part in parts for row in parquet.ParquetFile(part).read().to_pylist()]


KINDS = [
    Kind("out.jsonl", Path.read_bytes), Kind("out.csv", Path.read_bytes, failures=False),
    Kind("out.sqlite", rows_of_sqlite), Kind("out.parquet", rows_of_parquet),
]


def pieces(chance: random.Random, kind: Kind, count: int, in_order: bool = True) -> list[Results]:
    """So many results in order, with gaps, cursors and failed jobs."""
    found, offset = [], chance.choice([0, 5, 1 << 40])
    for _ in range(count):
        size = chance.choice([1, 1, 2, 7, 40])
        found.append(_piece(chance, offset, size, kind.failures and chance.random() < 0.2))
        offset += size + chance.choice([0, 0, 0, 1, 9])
    if not in_order:
        chance.shuffle(found)
    return found


def _piece(chance: random.Random, first: int, count: int, failed: bool) -> Results:
    cursors = [chance.choice(CURSORS) for _ in range(count)] if chance.random() < 0.3 else None
    values = [{"error": "E"} if failed else _value(chance, first + at) for at in range(count)]
    return Results(first, count, b"".join(map(encode_result, values)), cursors, failed)


def _value(chance: random.Random, offset: int) -> Any:
    return {"id": offset, "name": chance.choice(["", "a,b\"c\"", "é\n\u2028", "\udc80", "x" * 50]),
            "parts": chance.choice([None, [1, {"a": 2.5}], True])}


# -- after a crash


def after_kill(place: Path, new: Path, chance: random.Random) -> None:
    """What `kill -9` leaves: all that was given to the system, perhaps with a torn write at the end."""
    shutil.copytree(place, new)
    for path in list(new.iterdir()):
        if path.suffix in (".jsonl", ".csv") and chance.random() < 0.5:
            with open(path, "ab") as file:
                file.write(chance.choice([b'{"offset":99', b"\0" * 5000, b"7,\"torn"]))
        elif path.suffix == ".parquet" and chance.random() < 0.5:
            (path / ".part.tmp").write_bytes(b"PAR1 torn")
            (path / "part-00009999-0-1.parquet").write_bytes(b"")


class PowerLoss:
    """Notes what is fsynced through `os.fsync` and `durable.sync_folder`; nothing else needs to survive."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._data: dict[int, bytes] = {}  # of an inode, when it was fsynced
        self._names: dict[Path, dict[str, int]] = {}  # of a folder, when it was fsynced: inodes
        self._fsync, self._sync_folder = os.fsync, durable.sync_folder
        patch.setattr(os, "fsync", self._note_file)
        patch.setattr(durable, "sync_folder", self._note_folder)

    def _note_file(self, file: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        if path.is_file():
            self._data[os.fstat(file).st_ino] = path.read_bytes()

    def _note_folder(self, folder: Path) -> None:
        self._names[folder] = {name: (folder / name).stat().st_ino for name in os.listdir(folder)}

    def cut(self, folder: Path, new: Path, chance: random.Random) -> None:
        """What the loss leaves of this folder, as a new one: names and data since the last fsync by chance."""
        self._leave(folder, new, chance)
        for path in (new, *new.rglob("*")):  # what the next start finds is on the disk
            if path.is_dir():
                self._note_folder(path)
            else:
                self._data[path.stat().st_ino] = path.read_bytes()

    def _leave(self, folder: Path, new: Path, chance: random.Random) -> None:
        new.mkdir()
        now = {name: (folder / name).stat().st_ino for name in os.listdir(folder)}
        synced = self._names.get(folder, {})
        for name in sorted({*now, *synced}):
            inodes = {now.get(name), synced.get(name)}
            inode = chance.choice(sorted(inodes, key=str))
            if inode is not None and (folder / name).is_dir():
                self._leave(folder / name, new / name, chance)
            elif inode is not None:
                (new / name).write_bytes(self._left_of(folder / name, inode, chance))

    def _left_of(self, path: Path, inode: int, chance: random.Random) -> bytes:
        safe = self._data.get(inode, b"")
        data = path.read_bytes() if path.exists() and path.stat().st_ino == inode else safe
        more = data[:chance.randint(len(safe), max(len(safe), len(data)))]
        return chance.choice([safe, data, safe + more[len(safe):], safe.ljust(len(data), b"\0")])
