"""What is drawn, on a terminal made of a string."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest

from taskmaster.console.progress import BarProgress, LineProgress, NullProgress, make_progress
from taskmaster.console.screen import Guard
from taskmaster.core.stats import SlaveStats, Stats, Straggler

WIDE = Stats(settled=1_234_567, failed=3, in_flight=812, running=40, slaves=4, rate=3.2e3, elapsed=62.0,
             total=2_900_000)


class Terminal(io.StringIO):
    """A stream that says it is a terminal, in the encoding it is told."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """What a reader sees: carriage returns overwrite, colours take no place."""
        rows = []
        for row in re.sub(r"\x1b\[[0-9;]*m", "", self.getvalue()).split("\n"):
            cells: list[str] = []
            for text in row.split("\r"):
                cells[:len(text)] = text
            rows.append("".join(cells).rstrip())
        return rows


class LostTerminal(Terminal):
    """A terminal whose other end was closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)


def standard(monkeypatch: pytest.MonkeyPatch, terminal: Terminal | None = None) -> Terminal:
    """A terminal that both standard streams go to, from now to the end of the test."""
    terminal = terminal or Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_the_progress_suits_the_stream() -> None:
    assert isinstance(make_progress(True, Terminal()), BarProgress)
    assert isinstance(make_progress(True, io.StringIO()), LineProgress)
    assert type(make_progress(False, Terminal())) is NullProgress


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    stream = io.StringIO()
    progress = make_progress(True, stream)
    for elapsed in (0.0, 5.0, 9.9, 10.1, 15.0, 20.0, 47.0, 49.9, 50.0):
        progress.draw(Stats(elapsed=elapsed))
    progress.close(Stats(elapsed=51.0))
    times = [line.rpartition(", ")[2] for line in stream.getvalue().splitlines()]
    assert times == ["10 s", "20 s", "47 s", "50 s"]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_no_progress_still_lets_other_lines_through(stream: io.StringIO) -> None:
    progress = make_progress(False, stream)
    progress.draw(WIDE)
    progress.write("a slave says")
    progress.close(WIDE)
    assert stream.getvalue() == "a slave says\n"


@pytest.mark.parametrize("columns, line", [
    (120, " 42% ████████░░░░░░░░░░░ 1,234,567 of 2,900,000 · 3.2 k/s · 40 running · 4 slaves · 3 failed"
          " · ETA 8 min 40 s"),
    (80, " 42% █████░░░░░░░░ 1,234,567 of 2,900,000 · 3.2 k/s · 3 failed · ETA 8 min 40 s"),
    (40, " 42% 1,234,567 of 2,900,000 · 3 failed"),
    (20, " 42% 1,234,567 of 2,"),
])
def test_the_bar_fits_its_terminal(columns: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    progress = BarProgress(terminal)
    progress.draw(WIDE)
    progress.close()
    assert terminal.shown() == [line[:columns - 1], ""]


def test_without_a_total_a_mark_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    seen = set()
    for elapsed in range(4):
        progress.draw(Stats(settled=7, slaves=1, elapsed=float(elapsed)))
        seen.add(terminal.shown()[0][0])
        assert terminal.shown()[0][1:] == f" 7 settled · 0/s · 0 running · 0 queued · 1 slave · 0 failed · {elapsed} s"
    progress.close()
    assert len(seen) == 4


def test_a_total_may_be_learnt_and_passed_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    for settled, total, start in ((5, None, "5 settled"), (5, 10, "50%"), (15, 10, "100%"), (0, 0, "100%")):
        progress.draw(Stats(settled=settled, total=total, elapsed=progress._due))
        assert start in terminal.shown()[0]
    progress.close()


def test_a_slave_is_drawn_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    progress.draw(SlaveStats(handled=5, running=10, queued=90, rate=2.0, master="ipc:///tmp/x"))
    progress.close()
    numbers = "5 handled · 2.0/s · 10 running · 90 queued · 0 failed"
    assert terminal.shown()[0].endswith(numbers + " · ipc:///tmp/x · 0 s")


def test_nothing_of_a_longer_line_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    progress.draw(Stats(straggler=Straggler(812, None, 65.0, "host:42"), failed=3))
    progress.draw(Stats(elapsed=1.0))
    progress.close()
    assert terminal.shown()[0].endswith("0 slaves · 0 failed · 1 s")


def test_it_is_redrawn_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    progress.draw(Stats(settled=1))
    for settled, elapsed in ((2, 0.05), (3, 0.09), (4, 0.1), (5, 0.15)):
        progress.draw(Stats(settled=settled, elapsed=elapsed))
    assert set(re.findall(r"(\d) settled", terminal.getvalue())) == {"1", "4"}
    progress.close()


def test_the_last_state_is_shown_at_close_and_nothing_after(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    progress.draw(Stats(settled=1, total=2))
    progress.close(Stats(settled=2, total=2, elapsed=0.01))
    progress.close(Stats(settled=1, total=2))
    progress.draw(Stats(settled=1, total=2, elapsed=9.0))
    progress.write("after")
    assert "100%" in terminal.shown()[0]
    assert terminal.shown()[1:] == ["after", ""]


def test_where_colours_are_unwanted_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = BarProgress(terminal)
    plain.draw(WIDE)
    plain.close()
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize("total", [None, 2_900_000])
def test_a_terminal_without_unicode_gets_ascii(total: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal("ascii")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = BarProgress(terminal)
    progress.draw(Stats(settled=1_234_567, total=total))
    progress.close()
    assert terminal.getvalue().isascii() and "1,234,567" in terminal.getvalue()


def test_prints_and_logs_appear_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    handler = logging.StreamHandler()
    logger = logging.getLogger("test.progress")
    logger.addHandler(handler)
    try:
        progress = BarProgress(terminal)
        progress.draw(Stats(settled=1))
        print("printed")
        print("erred", file=sys.stderr)
        logger.warning("logged")
        progress.write("written")
        assert terminal.shown()[:4] == ["printed", "erred", "logged", "written"]
        assert "1 settled" in terminal.shown()[4]
        progress.close()
        assert handler.stream is terminal
    finally:
        logger.removeHandler(handler)


def test_half_a_line_waits_for_its_other_half(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    progress.draw(Stats())
    print("half", end=" ", flush=True)
    progress.draw(Stats(settled=5, elapsed=1.0))
    sys.stdout.writelines(["a line\n", "left over"])
    assert terminal.shown()[0] == "half a line" and "5 settled" in terminal.shown()[1]
    progress.close()
    assert terminal.shown()[2] == "left over"


def test_a_line_without_end_is_not_held_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    progress.draw(Stats())
    for _ in range(100):
        sys.stdout.write("x" * 1000)
    assert terminal.getvalue().count("x") > 90_000
    progress.close()
    assert terminal.getvalue().count("x") == 100_000


def test_a_stream_that_goes_to_a_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    progress = BarProgress(terminal)
    progress.draw(Stats())
    assert sys.stdout is file and isinstance(sys.stderr, Guard)
    print("half", end="")
    assert file.getvalue() == "half"
    progress.close()


def test_the_standard_streams_come_back_at_close(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    progress.draw(Stats())
    kept = sys.stdout
    assert sys.stdout is not terminal and sys.stderr is not terminal
    assert sys.stdout.encoding == "utf-8" and sys.stdout.isatty()
    progress.close()
    assert sys.stdout is terminal and sys.stderr is terminal
    kept.write("late")
    assert terminal.shown()[-1] == "late"


def test_they_come_back_from_a_drawing_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)

    class Broken(Stats):
        @property
        def eta(self) -> float | None:
            raise ZeroDivisionError

    progress = BarProgress(terminal)
    progress.draw(Stats())
    with pytest.raises(ZeroDivisionError):
        progress.close(Broken())
    assert sys.stdout is terminal and sys.stderr is terminal


def test_a_stream_replaced_in_the_meantime_is_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = standard(monkeypatch)
    progress = BarProgress(terminal)
    progress.draw(Stats())
    sys.stdout = replacement = io.StringIO()
    progress.close()
    assert sys.stdout is replacement


def test_a_terminal_that_is_gone_costs_only_the_bar(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    progress = BarProgress(standard(monkeypatch, LostTerminal()))
    for elapsed in range(3):
        progress.draw(Stats(elapsed=float(elapsed)))
    progress.write("a slave says")
    progress.close(Stats())
    assert [record.message for record in caplog.records] == [
        "Cannot write to the terminal ([Errno 5] Input/output error); continuing without progress"
    ]


def test_a_module_of_the_users_that_hides_one_of_the_bars_costs_only_the_bar(
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Such as a `numbers.py` beside the job file, which `decimal` then imports."""
    terminal = standard(monkeypatch)
    monkeypatch.setitem(sys.modules, "progressbar", logging)  # which has no ProgressBar
    progress = make_progress(True, terminal)
    progress.draw(WIDE)
    progress.draw(WIDE)
    progress.close(WIDE)
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "No progress bar" in caplog.text
    assert "1,234,567" in terminal.getvalue() and sys.stderr is terminal
