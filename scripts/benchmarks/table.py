"""Reports as text: a table, the targets below it, and remarks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from benchmarks.report import Report, Verdict

COLUMNS = 120


def text(report: Report) -> str:
    """A report, without a line end after the last line."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    title = f"{report.name}: {report.about}"
    yield from ("", title, "=" * len(title))
    yield from _table([report.columns, *report.rows])
    yield from (_verdict(verdict) for verdict in report.verdicts)
    for note in report.notes:
        yield textwrap.fill(note, COLUMNS, initial_indent="  ", subsequent_indent="  ")
    yield from (f"  WRONG  {wrong}" for wrong in report.wrong)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column is left-aligned, numbers are right-aligned; anything beyond the columns is a remark."""
    known = len(rows[0])
    widths = [max(len(row[at]) for row in rows) for at in range(known)]
    for row in rows:
        first, *others = (cell.ljust(width) if at == 0 else cell.rjust(width)
                          for at, (cell, width) in enumerate(zip(row, widths, strict=False)))
        yield "  ".join([first, *others, *row[known:]]).rstrip()


def _verdict(verdict: Verdict) -> str:
    mark = {True: "met", False: "MISSED", None: "not judged"}[verdict.met]
    return f"  {mark:<10}  {verdict.target}: {verdict.reading}"
