"""Results as a CSV file with a header: `offset`, then the keys of the first result that is an object.

Text stands as it is, null as an empty cell, and everything else as JSON: 1.5, true, [1,2]. A key that a later result
lacks is an empty cell. A job that returned None leaves no row.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from taskmaster.core.result_codec import encode_result
from taskmaster.core.results import Results
from taskmaster.errors import ResultsError
from taskmaster.sinks.appended_file import AppendedFile
from taskmaster.sinks.decoding import decoded

_OFFSET = "offset"
_REMEDY = "Change the handler and resume, or start over with results in a .jsonl file."


class CsvFile:
    """A `Sink` for the results of jobs that succeeded. The mark is the size of the file and its columns."""

    def __init__(self, path: Path) -> None:
        self._file = AppendedFile(path)
        self._columns: list[str] | None = None  # without the offset; None until there is a result

    def open(self, mark: Any | None) -> None:
        self._file.open(None if mark is None else mark["size"])
        self._columns = None if mark is None else mark["columns"]

    def write(self, results: Iterable[Results]) -> None:
        """Also raises ResultsError for a result that does not fit the columns."""
        for one in results:
            text = io.StringIO()
            self._write(csv.writer(text, lineterminator="\n"), one)
            self._file.append(text.getvalue().encode("utf-8", "backslashreplace"))  # lone surrogates as escapes

    def _write(self, table: Any, results: Results) -> None:
        for offset, result in decoded(results):
            if result is None:
                continue
            if not isinstance(result, dict):
                raise ResultsError(f"Job {offset} returned a {type(result).__name__}, and a row of a CSV file is made "
                                   f"of a dict. {_REMEDY}")
            if self._columns is None:
                self._columns = _columns_of(result, offset)
                table.writerow([_OFFSET, *self._columns])
            table.writerow([offset, *self._cells(result, offset)])

    def _cells(self, result: Mapping[str, Any], offset: int) -> list[Any]:
        assert self._columns is not None
        if result.keys() <= set(self._columns):
            return [_cell(result.get(key)) for key in self._columns]
        extra = next(key for key in result if key not in self._columns)
        raise ResultsError(f"The result of job {offset} has the key {extra!r}, which the first result did not have, so "
                           f"the CSV file has no such column. {_REMEDY}")

    def flush(self) -> Any:
        return {"size": self._file.flush(), "columns": self._columns}

    def close(self) -> None:
        self._file.close()


def _columns_of(result: Mapping[str, Any], offset: int) -> list[str]:
    if _OFFSET in result:
        raise ResultsError(f"The result of job {offset} has the key {_OFFSET!r}, which is the first column of the CSV "
                           f"file already. Use another name for it.")
    return list(result)


def _cell(value: Any) -> Any:
    if value is None or type(value) in (str, int, float):  # the csv module writes these as they are in JSON
        return value
    return encode_result(value)[:-1].decode()
