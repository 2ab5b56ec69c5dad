"""All sources cut anywhere and resumed; then `numbers`, `files`, `chunks` and `shard`, each for itself."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskmaster import sources
from taskmaster.errors import SourceError, UsageError
from taskmaster.job import Job
from taskmaster.targets.signature import accepts_last, convert_arguments, first_offset
from tests.support.sources import KINDS, GetJobs, assert_resumes_anywhere, payloads

quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
posix = pytest.mark.skipif(sys.platform == "win32", reason="names, links and modes of POSIX")


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_is_cut_anywhere_and_resumed_misses_nothing_and_repeats_nothing(
    tmp_path: Path, kind: str
) -> None:
    get_jobs = KINDS[kind](tmp_path)
    assert len(set(map(str, assert_resumes_anywhere(get_jobs)))) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_taken_for_a_get_jobs_that_resumes(tmp_path: Path, kind: str) -> None:
    get_jobs = KINDS[kind](tmp_path)
    assert accepts_last(get_jobs) and first_offset(get_jobs) == 0 and convert_arguments(get_jobs, []) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [7, True, "nonsense", ["nonsense", 1, 2, 3], 1.5, {"a": 1}, "\udc80"])
def test_a_cursor_that_the_source_did_not_make_is_refused(tmp_path: Path, kind: str, last: Any) -> None:
    with pytest.raises(SourceError, match="is not a cursor of|is a count of jobs, not a cursor|parts of"):
        list(KINDS[kind](tmp_path)(last=last))


@pytest.mark.parametrize("make", [lambda: sources.lines("x"), lambda: sources.files("."), lambda: sources.files("*"),
                                  lambda: sources.rows("sqlite:///t.db", "t", key=["a", "b"])])
def test_a_source_finds_its_files_when_user_code_has_changed_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    for kind in ("lines", "rows"):
        KINDS[kind](tmp_path)
    monkeypatch.chdir(tmp_path)
    source = make()
    expected = list(source)
    monkeypatch.chdir("/")
    assert expected and list(source) == expected


# -- numbers


@quickly
@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5).filter(bool))
def test_numbers_are_those_of_range(start: int, stop: int, step: int) -> None:
    source = sources.numbers(start, stop, step=step)
    assert assert_resumes_anywhere(source) == list(range(start, stop, step))
    assert len(source) == len(range(start, stop, step))


def test_numbers_without_a_stop_have_no_end_and_no_length() -> None:
    source = sources.numbers(3, None)
    jobs = iter(source)
    assert [next(jobs).payload for _ in range(3)] == [3, 4, 5] and bool(source)
    with pytest.raises(TypeError):
        len(source)


@pytest.mark.parametrize("last", ["2", "4", "x", "1" * 400])
def test_a_number_that_is_not_of_the_range_is_no_cursor(last: str) -> None:
    with pytest.raises(SourceError, match="not a cursor of numbers"):
        list(sources.numbers(3, 100, last, step=2))


# -- files


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(pattern: str, **options: Any) -> list[str]:
    return assert_resumes_anywhere(sources.files(pattern, **options))


NAMES = ("a.b", "a/b.jpg", "a/c/d.jpg", "a/c/e.txt", "a-/x.jpg", ".hidden.jpg", ".git/x.jpg", "b.jpg", "[1]/y.jpg")


@pytest.mark.parametrize("pattern, expected", [
    ("", [".git/x.jpg", ".hidden.jpg", "[1]/y.jpg", "a/b.jpg", "a/c/d.jpg", "a/c/e.txt", "a-/x.jpg", "a.b", "b.jpg"]),
    ("*.jpg", ["b.jpg"]), ("*", ["a.b", "b.jpg"]), ("*/*.jpg", ["[1]/y.jpg", "a/b.jpg", "a-/x.jpg"]),
    ("**/*.jpg", ["[1]/y.jpg", "a/b.jpg", "a/c/d.jpg", "a-/x.jpg", "b.jpg"]),
    ("a/**/*.jpg", ["a/b.jpg", "a/c/d.jpg"]), ("a/**", ["a/b.jpg", "a/c/d.jpg", "a/c/e.txt"]),
    ("**/c/*", ["a/c/d.jpg", "a/c/e.txt"]), (".*", [".hidden.jpg"]), ("?.[bj]*", ["a.b", "b.jpg"]),
    ("[1]", ["[1]/y.jpg"]), ("b.jpg", ["b.jpg"]), ("*.png", []), ("**/**/e.*", ["a/c/e.txt"]),
])
def test_files_that_match_come_in_the_order_of_their_names(tmp_path: Path, pattern: str, expected: list[str],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree(tmp_path, *NAMES))
    whole = found(f"{tmp_path}/{pattern}")
    assert sorted(whole) == sorted(str(tmp_path / name) for name in expected)
    assert [os.path.relpath(path, tmp_path).split("/") for path in whole] == sorted(n.split("/") for n in expected)
    if pattern:
        assert found(pattern) == [os.path.relpath(path, tmp_path) for path in whole]


@quickly
@given(names=st.sets(st.text("ab./\udc80", min_size=1, max_size=6), max_size=12), limit=st.integers(1, 4))
@posix
def test_any_tree_of_files_resumes_anywhere(tmp_path_factory: pytest.TempPathFactory, names: set[str],
                                            limit: int) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name in names:
        with contextlib.suppress(OSError):  # a folder of that name, or a file where a folder would be
            tree(root, *([] if ".." in name.split("/") else [name.strip("/")]))
    expected = {os.path.join(folder, file) for folder, _, files in os.walk(root) for file in files}
    with pytest.MonkeyPatch.context() as patch:  # so that folders are listed in several parts
        patch.setattr(sys.modules["taskmaster.sources.files"], "LISTED_NAMES", limit)
        whole = found(str(root))
    assert len(whole) == len(expected) and set(whole) == expected


def test_files_that_come_and_go_between_two_runs_move_no_other(tmp_path: Path) -> None:
    tree(tmp_path, "a/1", "b/1", "b/2", "c/1")
    jobs = list(sources.files(tmp_path))
    os.remove(tmp_path / "b/1")
    tree(tmp_path, "a/0", "b/11", "b/3")
    rest = payloads(sources.files(tmp_path), last=jobs[1].cursor)
    assert [os.path.relpath(path, tmp_path) for path in rest] == ["b/11", "b/2", "b/3", "c/1"]


def test_a_file_that_became_a_folder_is_walked(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    cursor = list(sources.files(tmp_path))[0].cursor
    os.remove(tmp_path / "a")
    tree(tmp_path, "a/1")
    assert payloads(sources.files(tmp_path), last=cursor) == [str(tmp_path / "a/1"), str(tmp_path / "b")]


@posix
def test_links_to_files_count_and_links_to_folders_are_not_entered(tmp_path: Path) -> None:
    tree(tmp_path, "a/1")
    for name, to in {"file": "a/1", "folder": "a", "loop": ".", "nowhere": "x", "itself": "itself"}.items():
        (tmp_path / name).symlink_to(to)
    os.mkfifo(tmp_path / "pipe")
    assert found(str(tmp_path)) == [str(tmp_path / "a/1"), str(tmp_path / "file")]
    assert found(f"{tmp_path}/folder") == [str(tmp_path / "folder/1")]  # named, it is entered


def test_a_folder_that_cannot_be_listed_ends_the_source_or_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scandir = os.scandir

    def refuse(path: Any) -> Any:  # root may list any folder, whatever its mode
        if str(path).endswith("/a/"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    tree(tmp_path, "a/1", "b/1")
    with pytest.raises(SourceError, match="a/' cannot be listed: Permission denied. .*skip_unreadable=True"):
        list(sources.files(tmp_path))
    assert payloads(sources.files(tmp_path, skip_unreadable=True)) == [str(tmp_path / "b/1")]
    assert "Passing over the folder" in caplog.text


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    for pattern in ("photos", "photos/*.jpg"):
        with pytest.raises(SourceError, match="photos' cannot be listed: No such file"):
            list(sources.files(tmp_path / pattern))


def test_a_pattern_given_for_the_cursor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a cursor of files"):
        list(sources.files(tmp_path, "*.jpg"))


# -- chunks and shards


@quickly
@given(st.integers(0, 30), st.integers(1, 9))
def test_chunks_are_full_but_for_the_last(count: int, n: int) -> None:
    chunks = assert_resumes_anywhere(sources.chunks(sources.numbers(0, count), n))
    assert [number for chunk in chunks for number in chunk] == list(range(count))
    assert all(len(chunk) == n for chunk in chunks[:-1]) and all(chunks)


def pages(last: Any = None) -> Iterator[Job]:
    """Of three jobs each, which share a cursor."""
    for page in range(0 if last is None else int(last) + 1, 5):
        for row in range(3):
            yield Job((page, row), cursor=str(page))


@pytest.mark.parametrize("n", range(1, 8))
def test_jobs_that_share_a_cursor_stay_in_one_chunk(n: int) -> None:
    chunks = assert_resumes_anywhere(sources.chunks(pages, n))
    assert [job for chunk in chunks for job in chunk] == [job.payload for job in pages()]


def test_a_chunk_is_there_before_the_next_job_is_pulled() -> None:
    pulled: list[int] = []

    def slow(last: Any) -> Iterator[Job]:
        for number in range(4):
            pulled.append(number)
            yield Job(number, str(number))

    assert next(iter(sources.chunks(sources.Source("slow", slow), 2))).payload == [0, 1] == pulled


@quickly
@given(st.integers(1, 5), st.integers(0, 40))
def test_each_job_is_in_one_shard(n: int, count: int) -> None:
    shards = [assert_resumes_anywhere(sources.shard(sources.numbers(0, count), i, n)) for i in range(n)]
    assert sorted(number for shard in shards for number in shard) == list(range(count))


def test_shards_are_of_about_the_same_size_and_those_of_any_process() -> None:
    sizes = [len(payloads(sources.shard(sources.numbers(0, 10_000), i, 4))) for i in range(4)]
    assert sum(sizes) == 10_000 and max(sizes) < 1.1 * min(sizes)
    assert payloads(sources.shard(sources.numbers(0, 20), 0, 2)) == [2, 3, 4, 10, 11, 12, 13, 14, 15, 18]


def test_sources_without_cursors_are_refused_by_what_is_made_of_them() -> None:
    def counted(last: int = 0) -> range:
        return range(last, 5)

    with pytest.raises(SourceError, match="needs jobs with cursors"):
        list(sources.chunks(counted, 2))
    with pytest.raises(SourceError, match="needs a source or a function"):
        list(sources.shard([1, 2], 0, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [lambda: sources.chunks(pages, 0), lambda: sources.shard(pages, 2, 2),
                                   lambda: sources.shard(pages, -1, 2), lambda: sources.numbers(0, 1, step=0)])
def test_numbers_that_make_no_sense_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(UsageError, match="must"):
        wrong()


def test_sources_are_made_of_sources(tmp_path: Path) -> None:
    def get_jobs(last: Any = None) -> GetJobs:
        return sources.chunks(sources.shard(sources.numbers(0, 100), 0, 2), 10, last)
    assert len(assert_resumes_anywhere(get_jobs)) > 3
