"""Results as a folder of Parquet files: `part-00000001-0-4999.parquet` is the first, with offsets from 0 to 4,999.

The columns are `offset` (int64) and, as text, `cursor`, `result` and `error`. `result` is JSON, or null for a job that
failed, whose `error` is JSON: results may differ in their keys and types, and these columns never do. `cursor` is JSON,
or null for a job without one of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from typing import Any

from taskmaster import defaults, durable
from taskmaster.core.results import Results
from taskmaster.errors import UsageError
from taskmaster.sinks.jsonl import cursor_as_json
from taskmaster.sinks.place import MODE, lost, occupied, unusable

try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    pyarrow = None

_PART = re.compile(r"part-(\d+)-\d+-\d+\.parquet")
_PASSING = ".part.tmp"  # readers of such folders pass over names that begin with a dot


class ParquetFolder:
    """A `Sink`. The mark is how many parts there are; each is written to another name, fsynced and renamed."""

    def __init__(self, path: Path) -> None:
        if pyarrow is None:
            raise UsageError("Parquet files need pyarrow. Install it with: pip install 'taskmaster[parquet]'")
        self.path = path
        self._parts = 0
        self._waiting: list[Results] = []  # of the next part
        self._waiting_bytes = 0

    def open(self, mark: Any | None) -> None:
        self._waiting, self._waiting_bytes = [], 0
        try:
            _make_folder(self.path)
            names = os.listdir(self.path)
        except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise unusable(self.path, error) from error
        if mark is None and set(names) - {_PASSING}:
            raise occupied(self.path)
        self._parts = 0 if mark is None else mark["parts"]
        self._cut(names)

    def _cut(self, names: Iterable[str]) -> None:
        numbers = {int(match[1]): name for name in names if (match := _PART.fullmatch(name))}
        missing = set(range(1, self._parts + 1)) - set(numbers)
        if missing:
            raise lost(self.path, f"lacks part {min(missing)}")
        for number in sorted(numbers, reverse=True):
            if number > self._parts:
                os.unlink(self.path / numbers[number])
        (self.path / _PASSING).unlink(missing_ok=True)
        durable.sync_folder(self.path)

    def write(self, results: Iterable[Results]) -> None:
        for one in results:
            self._waiting.append(one)
            self._waiting_bytes += len(one.lines)
            if self._waiting_bytes >= defaults.PARQUET_PART_BYTES:
                self._write_part()

    def _write_part(self) -> None:
        durable.write_fresh(self.path / _PASSING, _encode(self._waiting), MODE)
        first = min(one.first for one in self._waiting)
        last = max(one.first + one.count for one in self._waiting) - 1
        os.rename(self.path / _PASSING, self.path / f"part-{self._parts + 1:08}-{first}-{last}.parquet")
        self._parts += 1
        self._waiting, self._waiting_bytes = [], 0

    def flush(self) -> Any:
        if self._waiting:
            self._write_part()
        durable.sync_folder(self.path)
        return {"parts": self._parts}

    def close(self) -> None:
        self._waiting, self._waiting_bytes = [], 0


def _make_folder(path: Path) -> None:
    """With the user's umask, and its name durable on return."""
    path.mkdir(exist_ok=True)
    durable.sync_folder(path.parent)


def _encode(results: Iterable[Results]) -> bytes:
    columns: tuple[list[Any], ...] = ([], [], [], [])
    for one in results:
        lines = one.lines.decode("utf-8", "replace").split("\n")[:-1]
        nulls = list(repeat(None, one.count))
        columns[0].extend(range(one.first, one.first + one.count))
        columns[1].extend(nulls if one.cursors is None else map(cursor_as_json, one.cursors))
        columns[2].extend(nulls if one.failed else lines)
        columns[3].extend(lines if one.failed else nulls)
    text = pyarrow.string()
    types = {"offset": pyarrow.int64(), "cursor": text, "result": text, "error": text}
    arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, types.values())]
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(arrays, list(types)), sink)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
