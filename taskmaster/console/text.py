"""The status line and the summary of runs and slaves, as text.

Values in, text out. It does not know where the text is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from reprlib import Repr
from typing import Any, Final

from taskmaster.core.printable import one_line
from taskmaster.core.stats import RUNNING, SlaveStats, Stats, Straggler

SEPARATOR: Final = " \u00b7 "
CURSOR_CHARACTERS: Final = 30  # of a cursor in the status line: an id, a date or the end of a path

Shown = Stats | SlaveStats
"""What a status line can be made from."""


@dataclass(frozen=True)
class Cell:
    """A piece of a line. On a narrow line the highest `rank` is left out first; `tone` is "", "bad" or "wait"."""

    text: str
    rank: int
    tone: str = ""


def cells_of(stats: Shown) -> list[Cell]:
    """The pieces of the status line of a run or a slave, in reading order."""
    return _slave_cells(stats) if isinstance(stats, SlaveStats) else _run_cells(stats)


def _run_cells(stats: Stats) -> list[Cell]:
    cells = [
        Cell(_settled_text(stats), 0),
        Cell(rate_text(stats.rate), 3),
        Cell(f"{count_text(stats.running)} running", 7),
        Cell(f"{count_text(stats.queued)} queued", 8),
        Cell(plural(stats.slaves, "slave"), 5),
        Cell(f"{count_text(stats.failed)} failed", 2 if stats.failed else 6, "bad" if stats.failed else ""),
        Cell(_whole_span(stats.elapsed), 9),
    ]
    if stats.eta is not None:
        cells.append(Cell(f"ETA {_whole_span(stats.eta)}", 4))
    if stats.straggler is not None:
        cells.append(Cell(f"oldest running: {straggler_text(stats.straggler)}", 10, "wait"))
    if stats.state != RUNNING:
        cells.insert(0, Cell(one_line(stats.state), 1, "wait"))
    return cells


def _settled_text(stats: Stats) -> str:
    if stats.total is None:
        return f"{count_text(stats.settled)} settled"
    return f"{count_text(stats.settled)} of {count_text(stats.total)}"


def straggler_text(straggler: Straggler) -> str:
    """As "job 812, 1 min 05 s on host:42", or "job 812 (cursor 2044), ..." if the job has a cursor of its own."""
    cursor = "" if straggler.cursor is None else f" (cursor {_cursor_text(straggler.cursor)})"
    return f"job {straggler.offset}{cursor}, {_whole_span(straggler.seconds)} on {straggler.slave}"


def _cursor_text(cursor: Any) -> str:
    """At most CURSOR_CHARACTERS, each one column wide on any terminal, for a cursor of any type."""
    try:
        text = Repr().repr(cursor)
    except BaseException:  # the user's own __repr__, which may even exit
        text = type(cursor).__name__
    text = text.encode("ascii", "backslashreplace").decode()
    text = text if len(text) <= CURSOR_CHARACTERS else text[:CURSOR_CHARACTERS - 3] + "..."
    return "".join(one if one.isprintable() else "?" for one in text)


def _slave_cells(stats: SlaveStats) -> list[Cell]:
    cells = [
        Cell(f"{count_text(stats.handled)} handled", 0),
        Cell(rate_text(stats.rate), 3),
        Cell(f"{count_text(stats.running)} running", 4),
        Cell(f"{count_text(stats.queued)} queued", 5),
        Cell(f"{count_text(stats.failed)} failed", 2 if stats.failed else 6, "bad" if stats.failed else ""),
        Cell(stats.master, 7),
        Cell(_whole_span(stats.elapsed), 8),
    ]
    return cells if stats.state == RUNNING else [Cell(stats.state, 1, "wait"), *cells]


def status_line(stats: Shown, separator: str = SEPARATOR) -> str:
    """The status of a run or a slave in one line, with nothing left out."""
    return _percent(stats.part, separator) + join(cells_of(stats), separator)


def _percent(part: tuple[int, int] | None, separator: str) -> str:
    if part is None or part[1] == 0:
        return ""
    return f"{100 * part[0] // part[1]} %{separator}"


def join(cells: Iterable[Cell], separator: str = SEPARATOR) -> str:
    """The pieces as one line."""
    return separator.join(cell.text for cell in cells)


def fit(cells: Sequence[Cell], columns: int, separator: str = SEPARATOR) -> list[Cell]:
    """The pieces that fit into `columns`: the least important are left out; the last one left is cut."""
    kept = list(cells)
    while len(kept) > 1 and len(join(kept, separator)) > columns:
        kept.remove(max(kept, key=lambda cell: cell.rank))
    if kept and len(kept[0].text) > columns:
        kept = [Cell(kept[0].text[:max(0, columns)], kept[0].rank, kept[0].tone)]
    return kept


def summary_text(stats: Stats, *, failures_file: str | None = None, resume: str | None = None,
                 retry: str | None = None, common_errors: Sequence[str] = ()) -> str:
    """The summary of a run in a few short lines, without a line feed after the last.

    `failures_file` has the failed jobs, `resume` is the command that resumes the run, `retry` the one that tries the
    failed jobs again, and `common_errors` are the most common errors, each in one line.
    """
    rows = [(f"{name}:", text) for name, text in _rows(stats, failures_file, resume, retry, common_errors)]
    width = max((len(name) for name, _ in rows), default=0)
    beside = "\n" + " " * (width + 4)
    return "\n".join([_headline(stats), *(f"  {name:<{width}}  {text}".replace("\n", beside) for name, text in rows)])


def summary_json(
    stats: Stats, *, exit_code: int, failures_file: str | None = None, resume: str | None = None,
    retry: str | None = None
) -> dict[str, Any]:
    """The summary of a run for programs: each field of `stats`, and whatever else the summary shows."""
    return {
        **vars(stats),
        "queued": stats.queued,
        "straggler": _straggler_json(stats.straggler),
        "mean_rate": stats.mean_rate,
        "exit_code": exit_code,
        "failures_file": failures_file,
        "resume": resume,
        "retry": retry,
    }


def _straggler_json(straggler: Straggler | None) -> dict[str, Any] | None:
    if straggler is None:
        return None
    cursor = straggler.cursor
    plain = cursor is None or type(cursor) in (int, str)
    return {**vars(straggler), "cursor": cursor if plain else _cursor_text(cursor)}


def _headline(stats: Stats) -> str:
    if stats.finished and not stats.run_settled:
        return _nothing_new(stats)
    rate = stats.handled / stats.elapsed if stats.elapsed > 0.0 else 0.0
    pace = f" in {span_text(stats.elapsed)}, {rate_text(rate)}."
    return ("Done: " if stats.finished else "Stopped: ") + plural(stats.handled, "job") + " handled" + pace


def _nothing_new(stats: Stats) -> str:
    if not stats.settled:
        return "Done: the source has no jobs."
    return f"Nothing new: {plural(stats.settled, 'job')} settled by earlier runs."


def _rows(stats: Stats, failures_file: str | None, resume: str | None, retry: str | None,
          common_errors: Sequence[str]) -> list[tuple[str, str]]:
    """The lines below the headline, as names and texts; empty ones are left out."""
    earlier = stats.settled - stats.run_settled
    where = f", see {failures_file}" if failures_file else ""
    rows = [
        (stats.failed, "failed", count_text(stats.failed) + where),
        (stats.failed_before, "failed earlier", count_text(stats.failed_before) + ("" if stats.failed else where)),
        (common_errors, "most common errors", "\n".join(common_errors)),
        (stats.retried, "retried", f"{count_text(stats.retried)} after a failed attempt"),
        (stats.replayed, "replayed", f"{count_text(stats.replayed)} already handed out by an earlier run"),
        (stats.duplicates, "duplicates", f"{count_text(stats.duplicates)} reported more than once"),
        (stats.backups, "backup attempts", _backups_text(stats)),
        (stats.run_settled and earlier, "previously completed", count_text(earlier)),
        (not stats.finished, "settled", f"every job below offset {count_text(stats.offset)}"),
        (not stats.finished and resume, "resume with", resume or ""),
        (retry, "retry with", retry or ""),
    ]
    return [(name, text) for shown, name, text in rows if shown]


def _backups_text(stats: Stats) -> str:
    return f"{count_text(stats.backups)} at slow jobs, {count_text(stats.backups_won)} of them done first"


def count_text(number: int) -> str:
    """1234567 as "1,234,567"."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """1 as "1 slave", 4 as "4 slaves"."""
    return f"{count_text(number)} {noun}" + ("" if number == 1 else "s")


def rate_text(rate: float) -> str:
    """Jobs/s as "3.2 M/s", "812/s" or, below one per second, "12/min"."""
    if 0.0 < rate < 1.0:
        return f"{60 * rate:.2g}/min"
    for unit in ("", " k", " M"):
        # 999.5 and more would be shown as 1000 of this unit.
        if rate < 999.5:
            return f"{_three_digits(rate)}{unit}/s"
        rate /= 1000.0
    return f"{_three_digits(rate)} G/s"


def _three_digits(number: float) -> str:
    return f"{number:.1f}" if 0.0 < number < 99.95 else f"{number:.0f}"


def span_text(seconds: float) -> str:
    """A duration as "0.4 s", "12 s", "1 min 02 s", "1 h 02 min" or "3 d 04 h"."""
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{count_text(whole // 86400)} d {whole % 86400 // 3600:02} h"


def _whole_span(seconds: float) -> str:
    """Like `span_text` without the decimal, which would flicker in a line that is drawn ten times a second."""
    return f"{int(seconds)} s" if seconds < 10.0 else span_text(seconds)
