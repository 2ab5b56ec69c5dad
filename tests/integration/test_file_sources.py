"""Sources that read a text file: `lines`, `jsonl`, `csv`. Which jobs, and at which bytes a run resumes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskmaster import sources
from taskmaster.errors import SourceError, StateMismatch, UsageError
from taskmaster.job import Job
from taskmaster.native import Flag
from taskmaster.targets.signature import accepts_last, first_offset
from taskmaster.waiting import Interrupted, interruptible
from tests.support.sources import assert_resumes_anywhere, payloads

quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def zstd_compress(data: bytes) -> bytes:
    return pytest.importorskip("backports.zstd").compress(data)  # type: ignore[no-any-return]


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": lambda data: data, "gzip": gzip.compress, "zstd": zstd_compress}
compression = pytest.mark.parametrize("kind", COMPRESS)


def write(folder: Path, data: bytes | str, name: str = "file.txt") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


# -- which jobs


@pytest.mark.parametrize("data, expected", [
    (b"", []), (b"\n", [""]), (b"a", ["a"]), (b"a\n", ["a"]), (b"a\r\nb", ["a", "b"]),
    (b"a\n\n\nb\n", ["a", "", "", "b"]),
    (b"\xef\xbb\xbfa\nb\n", ["a", "b"]), (b"\xef\xbb\xbf", []), (b"a\rb\n", ["a\rb"]), (b" a \n", [" a "]),
    ("ä\x85ö\u2028ü\x0b\x0c\n".encode(), ["ä\x85ö\u2028ü\x0b\x0c"]),
])
def test_lines_end_with_lf_or_crlf_and_nothing_else(tmp_path: Path, data: bytes, expected: list[str]) -> None:
    path = write(tmp_path, data)
    assert assert_resumes_anywhere(sources.lines(path)) == expected


@compression
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32",
                                      "cp1252", "shift_jis", "gb18030", "iso-2022-jp"])
def test_a_file_in_any_encoding_resumes_after_each_line(tmp_path: Path, encoding: str, kind: str) -> None:
    texts = {"utf": "eins\n日本語\r\n\n\u0a0a\u0a41\u610a zwei", "lat": "é\nsecond\r\n\nlast", "cp1": "é\n\n€"}
    text = texts.get(encoding[:3], "日本\n語\n\nx")
    path = write(tmp_path, COMPRESS[kind](text.encode(encoding)))
    found = assert_resumes_anywhere(sources.lines(path, encoding=encoding))
    assert found == text.replace("\r\n", "\n").split("\n")


@quickly
@given(lines=st.lists(st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]), max_size=9)),
       ends=st.sampled_from(["\n", "\r\n"]), last=st.booleans(), mark=st.booleans(), kind=st.sampled_from(["", "gzip"]))
def test_whatever_is_in_a_file_nothing_is_missing_or_twice(tmp_path: Path, lines: list[str], ends: str, last: bool,
                                                           mark: bool, kind: str) -> None:
    lines = [line.rstrip("\r").lstrip("\ufeff") for line in lines]
    lines = lines if last or not lines or lines[-1] else [*lines, "x"]  # an empty last line without an end is no line
    text = ends.join(lines) + ends * (last and bool(lines))
    path = write(tmp_path, COMPRESS[kind](b"\xef\xbb\xbf" * mark + text.encode()))
    assert assert_resumes_anywhere(sources.lines(path)) == lines


@quickly
@given(values=st.lists(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner))),
       blank=st.sampled_from(["\n", "\r\n", "\n\n", "\n \n"]))
def test_jsonl_yields_the_value_of_each_line(tmp_path: Path, values: list[Any], blank: str) -> None:
    path = write(tmp_path, blank.join(json.dumps(value) for value in values))
    assert assert_resumes_anywhere(sources.jsonl(path)) == values


fields = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=5)


@quickly
@given(rows=st.lists(st.lists(fields, min_size=2, max_size=2)), ends=st.sampled_from(["\n", "\r\n"]),
       mark=st.booleans())
def test_csv_yields_what_was_written_with_quotes_and_newlines_in_them(tmp_path: Path, rows: list[list[str]], ends: str,
                                                                      mark: bool) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=ends, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    path = write(tmp_path, b"\xef\xbb\xbf" * mark + text.getvalue().encode())
    assert assert_resumes_anywhere(sources.csv(path)) == [dict(zip("ab", row)) for row in rows]
    assert assert_resumes_anywhere(sources.csv(path, header=False)) == [["a", "b"], *rows]


def test_csv_takes_names_and_another_format(tmp_path: Path) -> None:
    path = write(tmp_path, "1;'a;b'\n\n2;c\n")
    source = sources.csv(path, names=["id", "name"], delimiter=";", quotechar="'")
    assert assert_resumes_anywhere(source) == [{"id": "1", "name": "a;b"}, {"id": "2", "name": "c"}]


def test_a_csv_file_without_rows_has_no_jobs(tmp_path: Path) -> None:
    assert payloads(sources.csv(write(tmp_path, ""))) == payloads(sources.csv(write(tmp_path, "a,b\n"))) == []


@compression
def test_a_long_file_resumes_beyond_what_the_checksum_covers(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, COMPRESS[kind](b"".join(b"%d %s\n" % (n, b"x" * (n % 50)) for n in range(2000))))
    jobs = list(sources.lines(path))
    for done in (1, 100, 350, 500, 1999, 2000):
        assert list(sources.lines(path, jobs[done - 1].cursor)) == jobs[done:]


# -- three ways to write it


def in_a_function(path: Path) -> Any:
    def get_jobs(last: Any = None) -> Any:
        return sources.lines(path, last)
    return get_jobs


def in_a_loop(path: Path) -> Any:
    def get_jobs(last: Any = 0) -> Iterator[Job]:
        for job in sources.lines(path, last):
            if job.payload:
                yield Job(job.payload.upper(), cursor=job.cursor)
    return get_jobs


@pytest.mark.parametrize("write_get_jobs", [sources.lines, in_a_function, in_a_loop])
def test_a_source_is_get_jobs_in_one_line_or_within_a_loop(tmp_path: Path, write_get_jobs: Any) -> None:
    get_jobs = write_get_jobs(write(tmp_path, "A\n\nB\nC\n"))
    assert accepts_last(get_jobs) and first_offset(get_jobs) == 0
    assert [job for job in assert_resumes_anywhere(get_jobs) if job] == ["A", "B", "C"]


def test_a_loop_that_drops_the_cursors_is_refused_when_it_resumes(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"last=3 is a count .*\n    yield Job\(payload, cursor=job.cursor\)"):
        list(in_a_loop(write(tmp_path, "A\nB\n"))(last=3))


# -- files that are not what they were


@pytest.mark.parametrize("make", [sources.lines, sources.jsonl, sources.csv])
@compression
def test_a_file_that_was_replaced_is_refused(tmp_path: Path, make: Any, kind: str) -> None:
    path = write(tmp_path, COMPRESS[kind](b"10\n11\n12\n"))
    cursor = list(make(path))[1].cursor
    for other in (b"10\n21\n12\n", b"21\n11\n12\n", b"10\n1", b"", b"10\n\n11\n12\n"):
        write(tmp_path, COMPRESS[kind](other))
        with pytest.raises(StateMismatch, match="not the one that it was .* --reset"):
            list(make(path, cursor))


def test_a_copy_of_the_file_with_more_lines_is_not_another_file(tmp_path: Path) -> None:
    cursor = list(sources.lines(write(tmp_path, "a\nb")))[1].cursor
    assert payloads(sources.lines(write(tmp_path, "a\nb\nc\n", "copy")), last=cursor) == ["c"]
    assert payloads(sources.lines(write(tmp_path, "a\nb\r\nc\n", "copy")), last=cursor) == ["c"]


def test_a_last_line_that_has_grown_is_refused(tmp_path: Path) -> None:
    cursor = list(sources.lines(write(tmp_path, "a\nb")))[1].cursor
    with pytest.raises(StateMismatch, match="has grown since"):
        list(sources.lines(write(tmp_path, "a\nbb\n"), cursor))


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"line\n" * 100_000)
    jobs = iter(sources.lines(path))
    next(jobs)
    os.truncate(path, 10)
    with pytest.raises(SourceError, match="became shorter"):
        list(jobs)


# -- files that grow


def test_a_followed_file_yields_whole_lines_as_they_come(tmp_path: Path) -> None:
    path = write(tmp_path, "a\nb")
    jobs = iter(sources.lines(path, follow=True))
    first = next(jobs)
    later = threading.Timer(0.5, lambda: append(path, "b\nc\n"))
    later.start()
    assert [first.payload, next(jobs).payload, next(jobs).payload] == ["a", "bb", "c"]
    later.join()
    jobs = iter(sources.lines(path, first.cursor, follow=True))
    assert [next(jobs).payload, next(jobs).payload] == ["bb", "c"]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("replace", ["rename", "cut"])
def test_a_followed_file_that_is_rotated_is_read_to_its_end_and_then_refused(tmp_path: Path, replace: str) -> None:
    path = write(tmp_path, "a\n")
    jobs = iter(sources.lines(path, follow=True))
    assert next(jobs).payload == "a"
    if replace == "rename":
        append(path, "b\n")
        path.rename(tmp_path / "file.1")
        write(tmp_path, "new\n")
        assert next(jobs).payload == "b"
    else:
        write(tmp_path, "")
    with pytest.raises(SourceError, match="was replaced"):
        next(jobs)


def test_a_run_that_ends_does_not_wait_for_the_next_line(tmp_path: Path) -> None:
    flag, ended = Flag(), threading.Event()

    def pull() -> None:
        try:
            with interruptible(flag):
                list(sources.lines(write(tmp_path, "a\n"), follow=True))
        except Interrupted:
            ended.set()

    thread = threading.Thread(target=pull)
    thread.start()
    time.sleep(0.1)
    flag.set()
    thread.join(10)
    assert ended.is_set()


# -- bad input


def refused(source: Any) -> str:
    with pytest.raises(SourceError) as raised:
        list(source)
    return str(raised.value)


def test_what_cannot_be_read_is_explained_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert "no such file (looked for /" in refused(sources.lines(tmp_path / "nothing"))
    assert "use sources.files(" in refused(sources.lines(tmp_path / "folder"))
    assert "not a regular file" in refused(sources.lines(tmp_path / "pipe"))
    assert "null" in refused(sources.lines("a\0b"))
    assert "no encoding 'utf-9'" in refused(sources.lines(write(tmp_path, "a"), encoding="utf-9"))
    assert "not an encoding of text" in refused(sources.lines(write(tmp_path, "a"), encoding="rot13"))
    assert "iconv -f cp500 -t utf-8" in refused(sources.lines(write(tmp_path, "a"), encoding="cp500"))
    assert "Follow the plain one" in refused(sources.lines(write(tmp_path, gzip.compress(b"a")), follow=True))


def test_bytes_of_another_encoding_are_named_with_their_place(tmp_path: Path) -> None:
    told = refused(sources.lines(write(tmp_path, b"abc\nd\xe9f\n")))
    assert "byte 5 (0xe9) is not utf-8" in told and "encoding='latin-1'" in told
    assert payloads(sources.lines(write(tmp_path, b"d\xe9f\n"), errors="replace")) == ["d\ufffdf"]
    assert "encoding='utf-16'" in refused(sources.lines(write(tmp_path, "ab".encode("utf-16"))))
    assert "utf-16-le" in refused(sources.lines(write(tmp_path, "ab"), encoding="utf-16"))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_damaged_compressed_file_yields_what_came_before(tmp_path: Path, kind: str) -> None:
    data = COMPRESS[kind](b"".join(os.urandom(20).hex().encode() + b"\n" for _ in range(20_000)))
    for bad in (data[:-9], data[:len(data) // 2], data[:-300] + bytes(100) + data[-200:]):
        jobs, got = iter(sources.lines(write(tmp_path, bad))), 0
        with pytest.raises(SourceError, match=f"damaged or cut short: {kind} says"):
            for _ in jobs:
                got += 1
        assert got > 5000


@pytest.mark.parametrize("text, told", [
    ('a,b\n1,2,3\n', "the row at byte 4 has 3 fields, and the header 2"),
    ('a,b\n1,"2"x\n', "the row at byte 4 is not CSV"),
    ('a,b\n1,2\n3,"4\n', "the row at byte 8 is not CSV"),
    ('a,a\n', "two columns have the name 'a'"),
])
def test_a_row_that_is_not_csv_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(sources.csv(write(tmp_path, text)))


def test_a_line_that_is_not_json_is_named_with_its_place(tmp_path: Path) -> None:
    assert "the line at byte 2 is not JSON" in refused(sources.jsonl(write(tmp_path, '1\n{"a"\n')))
    assert "not JSON" in refused(sources.jsonl(write(tmp_path, "[" * 100_000)))


@pytest.mark.parametrize("last", ["photos/a.jpg", [5], "12:xyz", "5"])
def test_a_cursor_of_another_source_is_refused(tmp_path: Path, last: Any) -> None:
    assert "is not a cursor of lines(" in refused(sources.lines(write(tmp_path, "a\n"), last))


@pytest.mark.parametrize("wrong", [{"delimiter": ";;"}, {"quotechar": ""}, {"quoting": 77}])
def test_csv_names_a_wrong_option_when_it_is_called(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"people.csv.*{next(iter(wrong))}"):
        sources.csv("people.csv", **wrong)
