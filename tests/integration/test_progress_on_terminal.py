"""The bar on a real terminal, drawn while threads print."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from taskmaster.console.progress import BarProgress
from taskmaster.core.stats import Stats

DRAW = """
import sys, threading
from taskmaster.core.stats import Stats
from taskmaster.console.progress import make_progress

assert "progressbar" not in sys.modules, "imported before anything is drawn"
progress = make_progress(True, sys.stderr)

def work(number):
    for i in range({lines}):
        sys.stdout.write(f"thread {{number}} line {{i}}\\n")

threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
progress.draw(Stats(settled=1, total=10, failed=1))
for thread in threads:
    thread.start()
turn = 0
while any(thread.is_alive() for thread in threads):
    turn += 1
    progress.draw(Stats(settled=turn % 10, total=10, elapsed=float(turn), failed=1))
for thread in threads:
    thread.join()
{last}
progress.close(Stats(settled=10, total=10, elapsed=turn + 100_000.0, failed=1))  # a time that finds no room
"""


def terminal(columns: int) -> tuple[int, int]:
    """Both ends of a terminal so many columns wide: ours and the program's."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, theirs


def run_on_terminal(script: str, stdout: int | None = None, columns: int = 80) -> str:
    """What a program shows on a terminal that is its stderr, and its stdout unless that goes elsewhere."""
    ours, theirs = terminal(columns)
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    for name in ("NO_COLOR", "COLUMNS", "COLORTERM"):
        environment.pop(name, None)
    stdout = theirs if stdout is None else stdout
    program = subprocess.Popen([sys.executable, "-c", script], stdout=stdout, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    assert program.wait() == 0, shown.decode()
    return shown.decode()


def read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # how Linux reports that the other end is closed
        return b""


def rows(shown: str) -> list[str]:
    """What stays on the rows: a carriage return starts a row again, colours take no place."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")
    return [row.rpartition("\r")[2].rstrip() for row in plain.split("\n")]


def expected(lines: int) -> list[str]:
    return sorted(f"thread {number} line {i}" for number in range(4) for i in range(lines))


def test_lines_of_many_threads_stay_whole_above_the_bar() -> None:
    seen = rows(run_on_terminal(DRAW.format(lines=1000, last="")))
    assert sorted(row for row in seen if row.startswith("thread")) == expected(1000)
    assert [row for row in seen if not row.startswith("thread")] == [
        "100% █████████████ 10 of 10 · 0/s · 0 running · 0 queued · 0 slaves · 1 failed", ""
    ]


class SlowTerminal(io.StringIO):
    """A terminal that lets other threads run between any two characters."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for character in text:
            super().write(character)
            time.sleep(0)
        return len(text)


def test_a_slow_terminal_tears_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = SlowTerminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = BarProgress(terminal)
    progress.draw(Stats())

    def work(number: int) -> None:
        for i in range(20):
            sys.stdout.write(f"thread {number} line {i}\n")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(20):
        progress.draw(Stats(elapsed=turn + 1.0))
        progress.write(f"written {turn}")
    for thread in threads:
        thread.join()
    progress.close()
    seen = rows(terminal.getvalue())
    assert sorted(row for row in seen if row.startswith("thread")) == expected(20)
    assert [row for row in seen if row.startswith("written")] == [f"written {turn}" for turn in range(20)]
    assert len(seen) == 80 + 20 + 2 and "0 settled" in seen[-2]


def test_a_file_gets_exactly_what_was_printed(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        script = DRAW.format(lines=5_000, last="sys.stdout.flush(); sys.stdout.buffer.write(b'raw')")
        shown = run_on_terminal(script, out.fileno())
    printed = (tmp_path / "out").read_text()
    assert printed.endswith("raw") and sorted(printed[:-3].splitlines()) == expected(5_000)
    assert "thread" not in shown and "10 of 10" in shown


def test_failures_are_red() -> None:
    assert "\x1b[31m1 failed\x1b[0m" in run_on_terminal(DRAW.format(lines=1, last=""))


def test_a_traceback_of_the_end_is_whole_and_the_terminal_given_back() -> None:
    script = """
import sys
from taskmaster.core.stats import Stats
from taskmaster.console.progress import make_progress
before = sys.stdout, sys.stderr
progress = make_progress(True, sys.stderr)
try:
    try:
        progress.draw(Stats(settled=1))
        raise ValueError("of the user")
    finally:
        progress.close()
except ValueError:
    assert (sys.stdout, sys.stderr) == before
    sys.excepthook(*sys.exc_info())
"""
    assert rows(run_on_terminal(script))[-2:] == ["ValueError: of the user", ""]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_no_row_is_wider_than_the_terminal(columns: int) -> None:
    shown = run_on_terminal(DRAW.format(lines=0, last=""), columns=columns)
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "").split("\r")
    assert max(len(row) for row in drawn) == columns - 1
