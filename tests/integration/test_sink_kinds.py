"""What each kind of sink writes, and what only that kind refuses."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.sinks import rows_of_parquet, rows_of_sqlite

from taskmaster.core.portable import freeze
from taskmaster.core.result_codec import encode_result
from taskmaster.core.results import Results
from taskmaster.errors import ResultHandlerError, ResultsError, UsageError
from taskmaster.job import NO_CURSOR
from taskmaster.sinks import parquet
from taskmaster.sinks.callback import Callback, FinishedJob
from taskmaster.sinks.choose import sink_for


def results(first: int, *values: Any, cursors: list[Any] | None = None, failed: bool = False) -> Results:
    return Results(first, len(values), b"".join(map(encode_result, values)), cursors, failed)


def write_to(path: Path, *work: Results) -> None:
    sink = sink_for(path)
    sink.open(None)
    sink.flush()
    sink.write(iter(work))
    sink.flush()
    sink.close()


MIXED = (
    results(3, None, [1, "a"], {"b": 2.5}),
    results(6, 1, 2, 3, 4, cursors=[12, "é\"", NO_CURSOR, freeze((1, 2))]),
    results(20, {"error": "ValueError"}, failed=True),
    results(21, {"error": "E"}, cursors=["x"], failed=True),
)


def test_json_lines(tmp_path: Path) -> None:
    write_to(tmp_path / "out.jsonl", *MIXED)

    assert (tmp_path / "out.jsonl").read_text("utf-8").split("\n") == [
        '{"offset":3,"result":null}',
        '{"offset":4,"result":[1,"a"]}',
        '{"offset":5,"result":{"b":2.5}}',
        '{"offset":6,"cursor":12,"result":1}',
        '{"offset":7,"cursor":"é\\"","result":2}',
        '{"offset":8,"result":3}',
        '{"offset":9,"cursor":{"pickle": "gASVBwAAAAAAAABLAUsChpQu"},"result":4}',
        '{"offset":20,"error":{"error":"ValueError"}}',
        '{"offset":21,"cursor":"x","error":{"error":"E"}}',
        '',
    ]


def test_more_results_than_wait_in_memory(tmp_path: Path) -> None:
    work = [results(at, "x" * 400_000) for at in range(9)]
    write_to(tmp_path / "out.jsonl", *work)

    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert lines == [b'{"offset":%d,"result":"%b"}' % (at, b"x" * 400_000) for at in range(9)]


@pytest.mark.parametrize("suffix, rows", [("sqlite", rows_of_sqlite), ("parquet", rows_of_parquet)])
def test_rows(suffix: str, rows: Any, tmp_path: Path) -> None:
    path = tmp_path / f"out.{suffix}"
    write_to(path, *MIXED)

    as_is = suffix == "sqlite"  # it holds numbers beside text
    packed = '{"pickle": "gASVBwAAAAAAAABLAUsChpQu"}'
    assert rows(path) == [
        (3, None, 'null', None), (4, None, '[1,"a"]', None), (5, None, '{"b":2.5}', None),
        (6, 12 if as_is else '12', '1', None), (7, 'é"' if as_is else '"é\\""', '2', None), (8, None, '3', None),
        (9, packed, '4', None),
        (20, None, None, '{"error":"ValueError"}'), (21, 'x' if as_is else '"x"', None, '{"error":"E"}'),
    ]


# -- CSV


def test_csv(tmp_path: Path) -> None:
    write_to(tmp_path / "out.csv", results(4, None, {"name": 'a,"b"\n', "n": 1.50}),
             results(9, {"n": None}, {}, None, {"n": [1, {"é": True}], "name": False}))

    assert (tmp_path / "out.csv").read_text("utf-8") == (
        'offset,name,n\n5,"a,""b""\n",1.5\n9,,\n10,,\n12,false,"[1,{""é"":true}]"\n')


@pytest.mark.parametrize("work, words", [
    ([{"a": 1}, {"a": 1, "b": 2}], r"result of job 8 has the key 'b', which the first result did not have"),
    ([{"a": 1}, 5], "Job 8 returned a int"),
    (["text"], "Job 7 returned a str, and a row of a CSV file is made of a dict"),
    ([{"a": 1, "offset": 1}], "result of job 7 has the key 'offset', which is the first column"),
])
def test_what_does_not_fit_a_csv_file_is_named_and_can_be_resumed(work: list[Any], words: str, tmp_path: Path) -> None:
    sink = sink_for(tmp_path / "out.csv")
    sink.open(None)
    mark = sink.flush()
    with pytest.raises(ResultsError, match=words):
        sink.write([results(7, *work)])
    sink.open(mark)
    sink.write([results(7, {"b": 1})])
    sink.flush()
    sink.close()

    assert (tmp_path / "out.csv").read_text() == "offset,b\n7,1\n"


# -- SQLite


def test_a_database_may_hold_other_tables(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "own.sqlite") as database:
        database.execute("CREATE TABLE mine (a)")
        database.execute("INSERT INTO mine VALUES (1)")
    database.close()
    write_to(tmp_path / "own.sqlite", results(1, 2))
    database = sqlite3.connect(tmp_path / "own.sqlite")

    assert database.execute("SELECT * FROM mine").fetchall() == [(1,)]
    assert database.execute("SELECT offset, result FROM results").fetchall() == [(1, "2")]
    database.close()


def test_a_table_of_another_shape_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "a.sqlite")
    database.execute("CREATE TABLE results (mine)")
    database.close()
    (tmp_path / "b.sqlite").write_text("no database at all, but long enough to be read as one" * 20)

    with pytest.raises(UsageError, match='"results" in .*a.sqlite has other columns'):
        sink_for(tmp_path / "a.sqlite").open(None)
    with pytest.raises(UsageError, match="b.sqlite cannot be used as a SQLite database: file is not a database"):
        sink_for(tmp_path / "b.sqlite").open(None)


def test_a_reader_who_locks_the_database_delays_it_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmaster.defaults.SQLITE_BUSY_SECONDS", 0.01)
    sink = sink_for(tmp_path / "a.sqlite")
    sink.open(None)
    mark = sink.flush()
    other = sqlite3.connect(tmp_path / "a.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OSError, match="database is locked"):
        sink.write([results(1, 2)])
    with pytest.raises(OSError, match="database is locked"):
        sink.open(mark)
    other.close()
    sink.open(mark)
    sink.write([results(1, 2)])
    sink.flush()
    sink.close()

    assert rows_of_sqlite(tmp_path / "a.sqlite") == [(1, None, "2", None)]


# -- Parquet


def test_large_results_become_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmaster.defaults.PARQUET_PART_BYTES", 100)
    write_to(tmp_path / "out.parquet", *(results(at, "x" * 40, "y") for at in range(0, 10, 2)))

    assert sorted(os.listdir(tmp_path / "out.parquet")) == [
        "part-00000001-0-5.parquet", "part-00000002-6-9.parquet"]
    assert [row[0] for row in rows_of_parquet(tmp_path / "out.parquet")] == list(range(10))


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "pyarrow", None)

    with pytest.raises(UsageError, match=r"pip install 'taskmaster\[parquet\]'"):
        sink_for(tmp_path / "out.parquet")


# -- the user's function


def test_the_function_is_called_for_each_job_in_order() -> None:
    calls: list[tuple[FinishedJob, Any]] = []
    sink = Callback(lambda job, result: calls.append((job, result)))
    sink.open(None)
    sink.write(MIXED)

    assert [(job.offset, job.cursor, result) for job, result in calls] == [
        (3, 4, None), (4, 5, [1, "a"]), (5, 6, {"b": 2.5}), (6, 12, 1), (7, 'é"', 2), (8, 9, 3), (9, (1, 2), 4)]


def test_a_function_that_raises_ends_the_run_and_has_the_same_result_first_in_the_next() -> None:
    calls: list[int] = []

    def handle_result(job: FinishedJob, result: Any) -> None:
        if result == "bad" and len(calls) < 3:
            raise SystemExit("not mine")
        calls.append(job.offset)

    sink = Callback(handle_result)
    sink.open(None)
    sink.write([results(1, "a")])
    with pytest.raises(ResultHandlerError, match="for the result of job 3: SystemExit: not mine. Fix it") as raised:
        sink.write([results(2, "b", "bad", "c")])
    assert type(raised.value.__cause__) is SystemExit and raised.value.exit_code == 1
    calls += [0]
    sink.open({})
    sink.write([results(1, "a"), results(2, "b", "bad", "c")])

    assert calls == [1, 2, 0, 3, 4]


def test_a_function_that_stores_the_offset_has_each_result_once(tmp_path: Path) -> None:
    """The way that the documentation shows: results and the last offset in one transaction."""
    stored: list[str] = []
    last = -1

    def handle_result(job: FinishedJob, result: Any) -> None:
        nonlocal last
        if job.offset > last:
            stored.append(result)
            last = job.offset

    work = [results(at, f"a{at}", f"b{at}") for at in range(0, 40, 2)]
    for begin in (0, 5, 5, 3, 12):  # a checkpoint may be older than what was handed over
        sink = Callback(handle_result)
        sink.open({})
        sink.write(work[begin:begin + 8])
        sink.flush()

        assert len(sink._called) == 0  # it remembers no more than what was handed over since the last flush
    assert stored == [name for at in range(0, 40, 2) for name in (f"a{at}", f"b{at}")]


@pytest.mark.parametrize("make", [lambda path: Callback(lambda job, result: None), lambda path: sink_for(path)])
def test_a_result_that_is_not_json_is_named(make: Any, tmp_path: Path) -> None:
    sink = make(tmp_path / "out.csv")
    sink.open(None)

    with pytest.raises(ResultsError, match="The result of job 6 is not JSON"):
        sink.write([Results(5, 2, b'{"a":1}\nnonsense\xff\n')])
    sink.close()


# -- the choice


@pytest.mark.parametrize("name, words", [
    ("out.txt", r"the suffix .txt is unknown. Use .jsonl, .csv, .sqlite or .parquet"),
    ("out", "it has no suffix. Use .jsonl"),
    ("missing/out.csv", "missing, does not exist. Create it first"),
    ("folder.jsonl", "folder.jsonl is a folder, and results as .jsonl are a file"),
    ("file.parquet", "file.parquet is a file, and results as .parquet are a folder"),
])
def test_a_place_that_cannot_be_used_is_refused(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "file.parquet").touch()

    with pytest.raises(UsageError, match=words):
        sink_for(tmp_path / name)


def test_a_csv_file_takes_no_failed_jobs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no place for jobs that failed. Use a .jsonl or .sqlite file"):
        sink_for(tmp_path / "out.csv", with_failures=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "sqlite"])
def test_a_pipe_cannot_be_cut_back(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"out.{suffix}")

    with pytest.raises(UsageError, match="is not a regular file, so a resumed run could not cut it back"):
        sink_for(tmp_path / f"out.{suffix}").open(None)
