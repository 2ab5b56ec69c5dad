"""The sink for a path, by its suffix. A new kind of file is a new line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from taskmaster.errors import UsageError
from taskmaster.sinks.base import Sink


def sink_for(path: Path, with_failures: bool = False) -> Sink:
    """The sink that writes there; `with_failures` says whether it will be given jobs that failed.

    Raises UsageError for an unknown suffix, a missing folder, and a path that is of another kind than the suffix says.
    """
    make = _KINDS.get(path.suffix.lower())
    if make is None:
        raise UsageError(f"Results cannot be written to {path}: {_suffix_of(path)}. Use {_known()}.")
    if with_failures and make is _csv:
        raise UsageError("A CSV file has no place for jobs that failed. Use a .jsonl or .sqlite file, or leave out "
                         "--results-with-failures.")
    _check(path, folder=make is _parquet)
    return make(path)


def _suffix_of(path: Path) -> str:
    return f"the suffix {path.suffix} is unknown" if path.suffix else "it has no suffix"


def _known() -> str:
    *most, last = _KINDS
    return f"{', '.join(most)} or {last}"


def _check(path: Path, folder: bool) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"The folder for the results, {path.parent}, does not exist. Create it first.")
    if folder and path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file, and results as {path.suffix} are a folder. Choose another name.")
    if not folder and path.is_dir():
        raise UsageError(f"{path} is a folder, and results as {path.suffix} are a file. Choose another name.")


# Each loads a library that runs with other results, or without any, do not need.


def _jsonl(path: Path) -> Sink:
    from taskmaster.sinks.jsonl import JsonLines  # see above
    return JsonLines(path)


def _csv(path: Path) -> Sink:
    from taskmaster.sinks.csv_file import CsvFile  # see above
    return CsvFile(path)


def _sqlite(path: Path) -> Sink:
    from taskmaster.sinks.sqlite import SqliteTable  # see above
    return SqliteTable(path)


def _parquet(path: Path) -> Sink:
    from taskmaster.sinks.parquet import ParquetFolder  # see above
    return ParquetFolder(path)


_KINDS: dict[str, Callable[[Path], Sink]] = {".jsonl": _jsonl, ".csv": _csv, ".sqlite": _sqlite, ".parquet": _parquet}
