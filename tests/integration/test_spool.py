"""`sources.spool` and `taskmaster.push`; `sources.failures`; `sources.every`."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from taskmaster import durable, push, sources
from taskmaster.errors import SourceError, StateMismatch, UsageError
from tests.support.sources import assert_resumes_anywhere, failed, payloads, run_in_child

posix = pytest.mark.skipif(sys.platform == "win32", reason="fork and flock are of POSIX")


def of(folder: Path) -> list[Any]:
    return payloads(sources.spool(folder))


# -- spool and push


def test_what_is_pushed_comes_out_in_its_order(tmp_path: Path) -> None:
    pushed = [1, "ä\n", None, [1.5, {"a": []}], True, "\ud800"]
    for payload in pushed:
        push(tmp_path / "new" / "spool", payload)
    assert assert_resumes_anywhere(sources.spool(tmp_path / "new" / "spool")) == pushed


def test_what_is_pushed_between_two_runs_is_all_that_the_second_yields(tmp_path: Path) -> None:
    push(tmp_path, 1)
    [job] = sources.spool(tmp_path)
    push(tmp_path, 2)
    run_in_child("import sys, taskmaster; taskmaster.push(sys.argv[1], 3)", str(tmp_path))
    assert sorted(payloads(sources.spool(tmp_path), last=job.cursor)) == [2, 3]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_process_takes_over_the_file_of_one_that_has_ended(tmp_path: Path) -> None:
    for number in range(3):
        run_in_child(f"import sys, taskmaster; taskmaster.push(sys.argv[1], {number})", str(tmp_path))
    assert of(tmp_path) == [0, 1, 2] and len(list(tmp_path.iterdir())) == 1


PUSHER = "import sys, taskmaster\nfor n in range(int(sys.argv[3])): taskmaster.push(sys.argv[1], [sys.argv[2], n])"


def until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_many_processes_and_threads_push_at_once_and_a_run_that_follows_misses_none(tmp_path: Path) -> None:
    push(tmp_path, ["main", -1])
    children = [subprocess.Popen([sys.executable, "-c", PUSHER, tmp_path, name, "100"]) for name in "abc"]
    threads = [threading.Thread(target=lambda: [push(tmp_path, ["thread", 0], sync=False) for _ in range(50)])
               for _ in range(4)]
    for thread in threads:
        thread.start()
    found = [job.payload for job in islice(sources.spool(tmp_path, follow=True), 1 + 3 * 100 + 4 * 50)]
    assert [child.wait(50) for child in children] == [0, 0, 0]
    for thread in threads:
        thread.join()
    assert Counter(map(tuple, found)) == Counter({("main", -1): 1, ("thread", 0): 200} | {
        (name, n): 1 for name in "abc" for n in range(100)})
    assert all([n for who, n in found if who == name] == list(range(100)) for name in "abc")
    assert sorted(of(tmp_path)) == sorted(found) and len(list(tmp_path.iterdir())) <= 4


@posix
def test_a_killed_process_leaves_no_torn_line_behind(tmp_path: Path) -> None:
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", PUSHER.replace("n])", "'x' * 100_000])"), tmp_path, "a",
                                  "10000"])
        until(lambda: any(tmp_path.iterdir()))
        time.sleep(0.2)
        child.send_signal(signal.SIGKILL)
        child.wait(50)
    [segment] = tmp_path.iterdir()
    with segment.open("ab") as file:
        file.write(b'["torn", ')
    before = of(tmp_path)
    assert "torn" not in str(before)
    run_in_child("import sys, taskmaster; taskmaster.push(sys.argv[1], 'whole')", str(tmp_path))
    assert of(tmp_path) == [*before, "whole"]


@posix
def test_a_torn_line_that_is_cut_while_the_folder_is_followed_is_never_a_job(tmp_path: Path) -> None:
    run_in_child("import sys, taskmaster; taskmaster.push(sys.argv[1], 1)", str(tmp_path))
    [segment] = tmp_path.iterdir()
    with segment.open("ab") as file:
        file.write(b'"torn')
    jobs = iter(sources.spool(tmp_path, follow=True))
    assert next(jobs).payload == 1
    child = "import sys, time, taskmaster; time.sleep(0.5); taskmaster.push(sys.argv[1], 'whole')"
    thread = threading.Thread(target=run_in_child, args=(child, str(tmp_path)))
    thread.start()
    assert next(jobs).payload == "whole"
    thread.join()


@posix
def test_a_forked_child_pushes_into_a_file_of_its_own(tmp_path: Path) -> None:
    program = ("import os, sys, taskmaster\ntaskmaster.push(sys.argv[1], 'before')\npid = os.fork()\n"
               "for n in range(100): taskmaster.push(sys.argv[1], 'child' if pid == 0 else 'parent')\n"
               "if pid: assert os.waitpid(pid, 0)[1] == 0")
    run_in_child(program, str(tmp_path))
    assert Counter(of(tmp_path)) == {"before": 1, "child": 100, "parent": 100}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(tmp_path, 1)

    def half(file: int, data: bytes) -> None:
        os.write(file, data[:len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(durable, "write_all", half)
        with pytest.raises(OSError, match="No space left"):
            push(tmp_path, "a longer text")
    push(tmp_path, 2)
    assert of(tmp_path) == [1, 2]


@pytest.mark.parametrize("payload", [(1, 2), {1: 2}, {1}, b"x", float("nan"), object()])
def test_what_json_does_not_carry_unchanged_is_refused(tmp_path: Path, payload: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="JSON"):
        push(tmp_path, payload)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    push(tmp_path / "spool", 1)
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    (tmp_path / "spool").rmdir()
    push(tmp_path / "spool", 2)
    assert of(tmp_path / "spool") == [2]


def test_a_folder_or_a_file_that_is_missing_or_changed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: No such file.* first taskmaster.push creates it"):
        of(tmp_path / "nowhere")
    push(tmp_path, 1)
    push(tmp_path, 2)
    cursor = list(sources.spool(tmp_path))[0].cursor
    [segment] = tmp_path.iterdir()
    text = segment.read_text()
    segment.write_text("9\n2\n")
    with pytest.raises(StateMismatch, match="not the one that it was"):
        list(sources.spool(tmp_path, cursor))
    segment.write_text(text + "{\n")
    with pytest.raises(SourceError, match="is damaged at byte 4"):
        list(sources.spool(tmp_path, cursor))
    segment.unlink()
    with pytest.raises(StateMismatch, match="is gone"):
        list(sources.spool(tmp_path, cursor))


# -- failures


def test_failed_jobs_are_jobs_again_but_for_those_without_a_payload(tmp_path: Path, caplog: Any) -> None:
    lines = [failed(1, {"a": (1, datetime(2024, 1, 1))}), failed(2, "", packed=None, kind="too large"),
             b"nonsense\n", failed(5, "", packed={"pickle": "AAAA"}), failed(4, "x"), failed(6, "torn")[:-9]]
    (tmp_path / "failures.jsonl").write_bytes(b"".join(lines))
    for path in (tmp_path, tmp_path / "failures.jsonl"):
        assert assert_resumes_anywhere(sources.failures(path)) == [{"a": (1, datetime(2024, 1, 1))}, "x"]
    assert "passing over job 2, whose payload was not kept because it was too large" in caplog.text
    assert "passing over job 5" in caplog.text and "is not a failure record" in caplog.text


@posix
def test_a_failures_file_that_others_may_write_to_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "failures.jsonl"
    path.write_bytes(failed(1, "x"))
    path.chmod(0o666)
    with pytest.raises(SourceError, match="may write to it.*\n    chmod go-w FILE"):
        list(sources.failures(path))


# -- every


class Clock:
    """A wall clock that is moved on by waiting, and shows at how many microseconds something happened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, start: float) -> None:
        self.now = start
        module = sys.modules["taskmaster.sources.every"]
        monkeypatch.setattr(module, "time", lambda: self.now)
        monkeypatch.setattr(module, "wait", self.wait)

    def wait(self, seconds: float) -> None:
        assert 0 < seconds <= 10
        self.now += seconds + 1e-6


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-01T{text}+00:00")


def ticks(source: Any, count: int) -> list[datetime]:
    return [job.payload for job in islice(source, count)]


def test_ticks_are_at_full_hours_whenever_the_run_began(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, at("09:30:01").timestamp())
    assert ticks(sources.every(3600), 3) == [at("10:00:00"), at("11:00:00"), at("12:00:00")]
    assert ticks(sources.every(timedelta(minutes=20)), 2) == [at("12:20:00"), at("12:40:00")]


@pytest.mark.parametrize("missed, late", [("one", ["12:00:00"]), ("all", ["10:00:00", "11:00:00", "12:00:00"])])
def test_missed_ticks_come_once_or_all_after_a_stop_and_within_a_run(monkeypatch: pytest.MonkeyPatch, missed: Any,
                                                                     late: list[str]) -> None:
    clock = Clock(monkeypatch, at("08:30:00").timestamp())
    source = sources.every(3600, missed=missed)
    jobs = iter(source)
    first = next(jobs)
    assert first.payload == at("09:00:00")
    expected = [at(time) for time in [*late, "13:00:00"]]
    for resumed in (jobs, source(last=first.cursor)):
        clock.now = at("12:10:00").timestamp()
        assert ticks(resumed, len(expected)) == expected


def test_each_tick_is_a_place_to_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, at("09:00:00").timestamp())
    jobs = list(islice(sources.every(0.25), 6))
    for done, job in enumerate(jobs[:-1], 1):
        assert list(islice(sources.every(0.25, job.cursor, missed="all"), 6 - done)) == jobs[done:]


@pytest.mark.parametrize("last", ["2026-01-01T00:00:00", "noon", [1]])
def test_a_time_without_a_zone_is_no_cursor(last: Any) -> None:
    with pytest.raises(SourceError, match="not a cursor of every"):
        next(iter(sources.every(60, last)))


def test_settings_that_make_no_sense_are_refused_at_once() -> None:
    for wrong in (lambda: sources.every(0), lambda: sources.every(-1),
                  lambda: sources.every(1, missed="some")):  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="must be"):
            wrong()


def test_a_real_clock_ticks() -> None:
    before = datetime.now(timezone.utc)
    assert before < ticks(sources.every(0.05), 2)[1] < before + timedelta(seconds=20)
