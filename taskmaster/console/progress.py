"""Shows the progress of a run or a slave: a bar on a terminal, plain lines elsewhere.

It knows terminals and `core.stats`: no sockets, no files, no jobs. The time is part of the stats.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Final, Protocol, TextIO

from taskmaster import defaults
from taskmaster.console.screen import Guard, Screen, guard_standard_streams, is_terminal
from taskmaster.console.text import SEPARATOR, Cell, Shown, cells_of, fit, join, status_line
from taskmaster.outlet import outlet_of

log = logging.getLogger(__name__)

_PERCENT_COLUMNS: Final = len("100% ")
_COLOURS: Final = {"bad": "\x1b[31m", "wait": "\x1b[33m"}
_NO_COLOUR: Final = "\x1b[0m"


class Progress(Protocol):
    """Where a command shows its progress. `draw` may be called as often as you like, `write` from any thread."""

    def draw(self, stats: Shown) -> None:
        """Show these stats, unless the last ones were shown too recently."""

    def close(self, stats: Shown | None = None) -> None:
        """Show these stats as the last ones and restore the terminal. Later calls do nothing."""

    def write(self, line: str) -> None:
        """Show a whole line of other output without breaking the progress."""


def make_progress(enabled: bool, stream: TextIO | None) -> Progress:
    """The kind of progress that suits `stream`, which is usually standard error."""
    if stream is None or not enabled:
        return NullProgress(stream)
    # A terminal that cannot go back to the start of a line shows each drawing as a new one.
    redrawn = is_terminal(stream) and os.environ.get("TERM") != "dumb"
    return BarProgress(stream) if redrawn else LineProgress(stream)


class NullProgress:
    """Shows no progress, only other output."""

    def __init__(self, stream: TextIO | None) -> None:
        self._outlet = outlet_of(stream)

    def draw(self, stats: Shown) -> None:
        """Does nothing."""

    def close(self, stats: Shown | None = None) -> None:
        """Does nothing."""

    def write(self, line: str) -> None:
        """Write the line as it is, or lose it if it cannot be written."""
        # In one call, so that the lines of several threads stay whole.
        self._outlet.write(line + "\n")


class LineProgress(NullProgress):
    """A plain line every PROGRESS_SECONDS, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._separator = SEPARATOR if _can_show(stream, SEPARATOR) else ", "
        self._due = defaults.PROGRESS_SECONDS

    def draw(self, stats: Shown) -> None:
        """Write a line if one is due."""
        if stats.elapsed >= self._due:
            pause = defaults.PROGRESS_SECONDS
            self._due = stats.elapsed - stats.elapsed % pause + pause
            self.write(status_line(stats, self._separator))


class BarProgress:
    """One line at the bottom of a terminal, redrawn every REDRAW_SECONDS at most.

    While it is shown, whatever is printed or logged to the terminal appears above it. A standard stream that goes to a
    file or a pipe is left alone, so that it receives exactly the bytes that were printed, when they were printed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: LineProgress | None = None  # in its place, if the library cannot be used
        self._screen = Screen(stream)
        self._look = _Look(_can_show(stream, _RICH + SEPARATOR), "NO_COLOR" not in os.environ)
        self._guards: list[Guard] = []
        self._bar: Any = None
        self._due = 0.0
        self._closed = False

    def draw(self, stats: Shown) -> None:
        """Redraw the line if that is due."""
        if self._lines is not None:
            self._lines.draw(stats)
        elif not self._closed and stats.elapsed >= self._due:
            self._due = stats.elapsed + defaults.REDRAW_SECONDS
            self._redraw(stats)

    def close(self, stats: Shown | None = None) -> None:
        """Leave these stats on the screen and restore the standard streams, whatever happens."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._bar is not None:
                self._end(self._bar, stats)
        finally:
            for guard in self._guards:
                guard.remove()

    def write(self, line: str) -> None:
        """Show the line above the bar."""
        self._screen.say(line + "\n")

    def _redraw(self, stats: Shown) -> None:
        bar = self._bar or self._start()
        if bar is None:
            return
        # The last column stays empty: some terminals start a new line as soon as it is filled.
        bar.term_width = self._screen.columns - 1
        bar.widgets = self._look.widgets(stats, bar.term_width)
        bar.max_value = _progressbar().UnknownLength if stats.part is None else stats.part[1]
        bar.update(0 if stats.part is None else stats.part[0], force=True)

    def _start(self) -> Any:
        """The bar; None if a module of the user's has the name of one that the library imports."""
        try:
            self._bar = _progressbar().ProgressBar(
                max_value=_progressbar().UnknownLength,
                widgets=[""],
                fd=self._screen,
                term_width=self._screen.columns - 1,
                enable_colors=None if self._look.coloured else False,
            )
        except Exception as error:
            log.warning("No progress bar, because progressbar2 cannot be imported beside your files: %s: %s",
                        type(error).__name__, error)
            self._lines = LineProgress(self._stream)
            return None
        self._guards = guard_standard_streams(self._screen)
        return self._bar

    def _end(self, bar: Any, stats: Shown | None) -> None:
        if stats is not None:
            self._redraw(stats)
        bar.finish(dirty=True)  # dirty: leave it as it is instead of jumping to 100 %


_RICH: Final = "\u2588\u2591\u280b\u2819\u2839\u2838\u283c\u2834\u2826\u2827\u2807\u280f"


class _Look:
    """The layout of a line: percentage and bar, or a spinner without a total, then the numbers that fit."""

    def __init__(self, rich: bool, coloured: bool) -> None:
        self.coloured = coloured
        self._full, self._empty = ("\u2588", "\u2591") if rich else ("#", ".")
        self._spinner = _RICH[2:] if rich else "|/-\\"
        self._separator = SEPARATOR if rich else ", "

    def widgets(self, stats: Shown, columns: int) -> list[Any]:
        """The widgets of a line that is `columns` wide."""
        library = _progressbar()
        if stats.part is None:
            return [library.AnimatedMarker(markers=self._spinner), " ", self._text(stats, columns - 2)]
        if columns < defaults.NARROW_COLUMNS:
            return [library.Percentage(), " ", self._text(stats, columns - _PERCENT_COLUMNS)]
        bar = library.Bar(marker=self._full, fill=self._empty, left="", right="")
        # A bar of constant width: one that filled the space left by the numbers would change whenever they do.
        room = columns - _PERCENT_COLUMNS - _bar_columns(columns) - 1
        return [library.Percentage(), " ", bar, " ", self._text(stats, room)]

    def _text(self, stats: Shown, columns: int) -> str:
        """The numbers, padded to exactly this many columns, so that they overwrite a longer previous line."""
        cells = fit(cells_of(stats), columns, self._separator)
        text = self._separator.join(self._paint(cell) for cell in cells)
        return text + " " * (columns - len(join(cells, self._separator)))

    def _paint(self, cell: Cell) -> str:
        colour = _COLOURS.get(cell.tone) if self.coloured else None
        return cell.text if colour is None else colour + cell.text + _NO_COLOUR


def _bar_columns(columns: int) -> int:
    """A sixth of the line: enough to see it move, while the numbers say more; within 10 and 40 columns."""
    return max(10, min(40, columns // 6))


def _progressbar() -> Any:
    """The drawing library, imported for the first drawing."""
    import progressbar  # here: it takes 45 ms, and most processes draw nothing

    return progressbar


def _can_show(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding can represent this text."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
