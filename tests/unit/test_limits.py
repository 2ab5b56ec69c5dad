"""Files and threads are asked for before ZeroMQ does, and given back."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import pytest

from taskmaster import native
from taskmaster.errors import LimitReached
from taskmaster.limits import check_files, check_threads


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_is_left_of_a_check() -> None:
    files, threads = open_files(), threading.active_count()
    check_files(20)
    check_threads(5)
    assert (open_files(), threading.active_count()) == (files, threads)


@pytest.mark.parametrize("code, words", [(errno.EMFILE, "ulimit -n"), (errno.ENFILE, "The system has too many files")])
def test_too_few_files_are_named_and_those_that_were_opened_are_closed(code: int, words: str,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    files, real, left = open_files(), os.open, [0, 0, 0]

    def refuses(*arguments: Any) -> int:
        if not left:
            raise OSError(code, os.strerror(code))
        left.pop()
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(LimitReached, match=words) as found:
        patch.setattr(os, "open", refuses)
        check_files(8)
    assert open_files() == files and "3" in str(found.value) and "8" in str(found.value)


def test_another_error_of_open_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*arguments: Any) -> int:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "open", refuses)
    check_files(3)


def test_a_thread_that_cannot_be_started_is_a_limit_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    left, start = [0, 0], native._start

    def refuses(*arguments: Any) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(*arguments)

    monkeypatch.setattr(native, "_start", refuses)
    with pytest.raises(LimitReached, match="ulimit -u"):
        check_threads(4)


def test_other_errors_are_passed_on_as_they_are() -> None:
    error = RuntimeError("something else")
    assert native.refused_thread(error) is error
