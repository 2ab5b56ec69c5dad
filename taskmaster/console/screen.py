"""The bottom line of a terminal, kept intact while other code prints to the same terminal.

The redirection that progressbar2 offers is not used because with 4.6.0 the text of two threads that
print at once can be lost, `sys.stdout.buffer.write` raises TypeError, `flush` does not write text to a file, and the
bar overwrites an unfinished line. This file knows streams, not what the bottom line says.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

from taskmaster import defaults

_log = logging.getLogger(__name__)


class Screen:
    """The terminal behind `stream`. Code that draws the bottom line writes to it as to a file."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        # Reentrant: a signal handler may print in the middle of another print.
        self.lock = threading.RLock()
        self._line = ""
        self._lost = False

    @property
    def columns(self) -> int:
        """The current width of the terminal; 80 if it is unknown."""
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return columns or shutil.get_terminal_size().columns

    def write(self, text: str) -> int:
        """Replace the bottom line with `text`, which begins with a carriage return. A line feed ends the line."""
        with self.lock:
            self._line = "" if text.endswith("\n") else text.lstrip("\r")
            self._put(text)
        return len(text)

    def flush(self) -> None:
        """Does nothing: each write is flushed at once."""

    def isatty(self) -> bool:
        """Whether this is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The file descriptor of the terminal."""
        return self.stream.fileno()

    def say(self, lines: str) -> None:
        """Write whole lines to the terminal, above the bottom line."""
        self.above(self._put, lines)

    def above(self, put: Callable[[str], None], lines: str) -> None:
        """Let `put` write whole lines to the same terminal, above the bottom line."""
        with self.lock:
            line = self._line
            if line:
                self._put("\r" + " " * _width(line) + "\r")
            put(lines)
            if line:
                self._put(line)

    def _put(self, text: str) -> None:
        """Write to the terminal. If it is gone, the display ends but the run does not."""
        if self._lost:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError) as error:
            self._lost = True
            _log.warning("Cannot write to the terminal (%s); continuing without progress", error)


class Guard:
    """Replaces `sys.stdout` or `sys.stderr` and shows whole lines above the bottom line.

    Everything else (`buffer`, `encoding`, `fileno`, ...) is that of the stream. An unfinished line is held back, since
    the bottom line would be drawn over it.
    """

    def __init__(self, screen: Screen, name: str) -> None:
        self._screen = screen
        self._name = name
        self._stream = cast(TextIO, getattr(sys, name))
        self._held = ""
        self._pid = os.getpid()
        setattr(sys, name, self)
        _redirect_logging(self._stream, cast(TextIO, self))

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._stream, attribute)

    def write(self, text: str) -> int:
        """Show the finished lines and hold back the rest."""
        if os.getpid() != self._pid:
            return self._stream.write(text)  # in a forked child, where the lock may never be released
        with self._screen.lock:
            whole, end, self._held = (self._held + text).rpartition("\n")
            if len(self._held) > defaults.UNFINISHED_LINE_CHARACTERS:
                whole, end, self._held = whole + end + self._held, "\n", ""
            if end:
                self._screen.above(self._put, whole + end)
        return len(text)

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone: what is printed there is lost, and the printing code continues

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of them."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Does nothing: finished lines were flushed when they were written."""

    def remove(self) -> None:
        """Restore the stream. Code that kept this object still writes to the stream through it."""
        with self._screen.lock:
            if getattr(sys, self._name) is self:
                setattr(sys, self._name, self._stream)
            _redirect_logging(cast(TextIO, self), self._stream)
            self._pid = -1  # from now on each write goes straight to the stream
            held, self._held = self._held, ""
            if held:
                self._put(held)


def guard_standard_streams(screen: Screen) -> list[Guard]:
    """Guards for the standard streams that go to a terminal; those that go to a file are left alone."""
    return [Guard(screen, name) for name in ("stdout", "stderr") if is_terminal(getattr(sys, name))]


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is open and goes to a terminal; `sys.stdout` is None in a process started without one."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _redirect_logging(old: TextIO, new: TextIO) -> None:
    """Redirect log handlers from `old` to `new`: a handler keeps the stream that it was made with."""
    for handler in _stream_handlers():
        if handler.stream is old:
            handler.setStream(new)


def _stream_handlers() -> Iterator[logging.StreamHandler[TextIO]]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", []):  # placeholders for future loggers have none
            if isinstance(handler, logging.StreamHandler):
                yield handler


def _width(line: str) -> int:
    """The width of a line in columns; escape sequences take none."""
    visible, escape = 0, False
    for character in line:
        escape = escape or character == "\x1b"
        visible += not escape
        escape = escape and character != "m"
    return visible
