"""Draws what is going on: a bar where there is a terminal, plain lines where there is none.

It knows terminals and `core.stats`, nothing else: no socket, no file, no job; the time comes with the stats.
"""

from __future__ import annotations

import os
from typing import Any, Final, Protocol, TextIO

from taskmaster import defaults
from taskmaster.console.screen import Guard, Screen, guard_standard_streams, is_terminal
from taskmaster.console.text import SEPARATOR, Cell, Shown, cells_of, fit, join, status_line

REDRAW_SECONDS: Final = 0.1

_PERCENT_COLUMNS: Final = 5
_NARROW_COLUMNS: Final = 60  # below this the bar itself is left out, for the sake of the numbers
_COLOURS: Final = {"bad": "\x1b[31m", "wait": "\x1b[33m"}
_NO_COLOUR: Final = "\x1b[0m"


class Progress(Protocol):
    """Where a command shows how far it is. `draw` may be called at any pace, `write` from any thread."""

    def draw(self, stats: Shown) -> None:
        """Show these stats, if it is time to."""

    def close(self, stats: Shown | None = None) -> None:
        """Show the last stats and give the terminal back. Later calls do nothing."""

    def write(self, line: str) -> None:
        """Show a line of other output, whole, without tearing the progress."""


def make_progress(enabled: bool, stream: TextIO) -> Progress:
    """The progress that suits `stream`, which is standard error as a rule."""
    if not enabled:
        return NullProgress(stream)
    return BarProgress(stream) if is_terminal(stream) else LineProgress(stream)


class NullProgress:
    """Shows no progress; other output passes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def draw(self, stats: Shown) -> None:
        """Nothing."""

    def close(self, stats: Shown | None = None) -> None:
        """Nothing."""

    def write(self, line: str) -> None:
        """The line, as it is."""
        # One call: the lines of several threads stay whole.
        self._stream.write(line + "\n")
        self._stream.flush()


class LineProgress(NullProgress):
    """A plain line every ten seconds, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._separator = SEPARATOR if _can_show(stream, SEPARATOR) else ", "
        self._due = defaults.PROGRESS_SECONDS

    def draw(self, stats: Shown) -> None:
        """A line, if the next ten seconds are over."""
        if stats.elapsed >= self._due:
            self._due = stats.elapsed - stats.elapsed % defaults.PROGRESS_SECONDS + defaults.PROGRESS_SECONDS
            self.write(status_line(stats, self._separator))


class BarProgress:
    """One line at the bottom of a terminal, redrawn up to ten times a second.

    While it is shown, what is printed or logged to the terminal appears above it. A standard stream that goes
    to a file or a pipe is left alone, so that it gets every byte as and when it was printed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._screen = Screen(stream)
        self._look = _Look(_can_show(stream, _RICH + SEPARATOR), "NO_COLOR" not in os.environ)
        self._guards: list[Guard] = []
        self._bar: Any = None
        self._due = 0.0
        self._closed = False

    def draw(self, stats: Shown) -> None:
        """Redraw, if a tenth of a second has passed."""
        if not self._closed and stats.elapsed >= self._due:
            self._due = stats.elapsed + REDRAW_SECONDS
            self._redraw(stats)

    def close(self, stats: Shown | None = None) -> None:
        """Leave the last state on the screen and put the standard streams back, whatever happens."""
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
        """The line, above the bar."""
        self._screen.say(line + "\n")

    def _redraw(self, stats: Shown) -> None:
        bar = self._bar or self._start()
        # The last column stays free: some terminals begin a new line as soon as it is filled.
        bar.term_width = self._screen.columns - 1
        bar.widgets = self._look.widgets(stats, bar.term_width)
        bar.max_value = _progressbar().UnknownLength if stats.part is None else stats.part[1]
        bar.update(0 if stats.part is None else stats.part[0], force=True)

    def _start(self) -> Any:
        self._guards = guard_standard_streams(self._screen)
        self._bar = _progressbar().ProgressBar(
            max_value=_progressbar().UnknownLength,
            widgets=[""],
            fd=self._screen,
            term_width=self._screen.columns - 1,
            enable_colors=None if self._look.coloured else False,
        )
        return self._bar

    def _end(self, bar: Any, stats: Shown | None) -> None:
        if stats is not None:
            self._redraw(stats)
        bar.finish(dirty=True)  # dirty: at the state it is in, not at 100 %


_RICH: Final = "\u2588\u2591\u280b\u2819\u2839\u2838\u283c\u2834\u2826\u2827\u2807\u280f"


class _Look:
    """How a line is laid out: percentage and bar, or a turning mark; then the numbers that find room."""

    def __init__(self, rich: bool, coloured: bool) -> None:
        self.coloured = coloured
        self._full, self._empty = ("\u2588", "\u2591") if rich else ("#", ".")
        self._turning = _RICH[2:] if rich else "|/-\\"
        self._separator = SEPARATOR if rich else ", "

    def widgets(self, stats: Shown, columns: int) -> list[Any]:
        """The widgets of one line, as wide as `columns`."""
        library = _progressbar()
        if stats.part is None:
            return [library.AnimatedMarker(markers=self._turning), " ", self._text(stats, columns - 2)]
        if columns < _NARROW_COLUMNS:
            return [library.Percentage(), " ", self._text(stats, columns - _PERCENT_COLUMNS)]
        bar = library.Bar(marker=self._full, fill=self._empty, left="", right="")
        # A bar of constant width: one that took what the numbers leave would tremble with them.
        room = columns - _PERCENT_COLUMNS - _bar_columns(columns) - 1
        return [library.Percentage(), " ", bar, " ", self._text(stats, room)]

    def _text(self, stats: Shown, columns: int) -> str:
        """The numbers, filled up to exactly so many columns: nothing of a longer line stays."""
        cells = fit(cells_of(stats), columns, self._separator)
        text = self._separator.join(self._paint(cell) for cell in cells)
        return text + " " * (columns - len(join(cells, self._separator)))

    def _paint(self, cell: Cell) -> str:
        colour = _COLOURS.get(cell.tone) if self.coloured else None
        return cell.text if colour is None else colour + cell.text + _NO_COLOUR


def _bar_columns(columns: int) -> int:
    return max(10, min(40, columns // 6))


def _progressbar() -> Any:
    """The drawing package, imported at the first drawing: others need not wait 45 ms for it."""
    import progressbar

    return progressbar


def _can_show(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has these characters."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
