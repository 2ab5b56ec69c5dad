"""The bottom line of a terminal, kept whole while others print to the same terminal.

progressbar2 has a redirection of its own. It is not used, for what was seen of 4.6.0: text of two threads
that print at once can be lost, `sys.stdout.buffer.write` raises TypeError, `flush` does not bring text into
a file, and half a line is torn by the bar. This file knows streams, not what the bottom line says.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TextIO, cast

_LONGEST_HELD: Final = 8192

_log = logging.getLogger(__name__)


class Screen:
    """The terminal behind `stream`; a file to write to for whoever draws the line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        # Reentrant: a signal handler may print in the middle of a print.
        self.lock = threading.RLock()
        self._line = ""
        self._lost = False

    @property
    def columns(self) -> int:
        """The width of the terminal now; 80 where it does not say."""
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return columns or shutil.get_terminal_size().columns

    def write(self, text: str) -> int:
        """Draw the line anew, as `text` that starts with a carriage return; a line end leaves it behind."""
        with self.lock:
            self._line = "" if text.endswith("\n") else text.lstrip("\r")
            self._put(text)
        return len(text)

    def flush(self) -> None:
        """Nothing: each write is flushed at once."""

    def isatty(self) -> bool:
        """Whether this is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The descriptor of the terminal."""
        return self.stream.fileno()

    def say(self, lines: str) -> None:
        """Write whole lines to the terminal itself, and the bottom line below them again."""
        self.above(self._put, lines)

    def above(self, put: Callable[[str], None], lines: str) -> None:
        """Let `put` write whole lines to the same terminal, and write the bottom line below them again."""
        with self.lock:
            line = self._line
            if line:
                self._put("\r" + " " * _width(line) + "\r")
            put(lines)
            if line:
                self._put(line)

    def _put(self, text: str) -> None:
        """Write to the terminal; one that is gone costs the line, never the run."""
        if self._lost:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError) as error:
            self._lost = True
            _log.warning("The terminal cannot be written to (%s); going on without showing anything", error)


class Guard:
    """Stands in for `sys.stdout` or `sys.stderr` and lets whole lines appear above the bottom line.

    Everything else (`buffer`, `encoding`, `fileno`, ...) is the stream's own. A line that is not finished is
    held back until it is: the bottom line would be drawn over it.
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
        """Show the lines that are finished, hold the rest."""
        if os.getpid() != self._pid:
            return self._stream.write(text)  # a fork: the lock it inherited may be held for ever
        with self._screen.lock:
            whole, end, self._held = (self._held + text).rpartition("\n")
            if len(self._held) > _LONGEST_HELD:
                whole, end, self._held = whole + end + self._held, "\n", ""
            if end:
                self._screen.above(self._put, whole + end)
        return len(text)

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def writelines(self, lines: Iterable[str]) -> None:
        """All of them, as `write` does."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Nothing: finished lines were flushed when they were written."""

    def remove(self) -> None:
        """Put the stream back. Who kept this object still reaches the stream by it."""
        with self._screen.lock:
            if getattr(sys, self._name) is self:
                setattr(sys, self._name, self._stream)
            _redirect_logging(cast(TextIO, self), self._stream)
            self._pid = -1  # from here on every write goes straight through
            held, self._held = self._held, ""
            if held:
                self._put(held)


def guard_standard_streams(screen: Screen) -> list[Guard]:
    """Guards for those standard streams that go to a terminal; one that goes to a file is left alone."""
    return [Guard(screen, name) for name in ("stdout", "stderr") if is_terminal(getattr(sys, name))]


def is_terminal(stream: TextIO | None) -> bool:
    """Whether it is open and goes to a terminal; `sys.stdout` is None in a process started without."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _redirect_logging(old: TextIO, new: TextIO) -> None:
    """Log handlers keep the stream they were made with: give those of `old` the `new` one."""
    for handler in _stream_handlers():
        if handler.stream is old:
            handler.setStream(new)


def _stream_handlers() -> Iterator[logging.StreamHandler[TextIO]]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", []):  # placeholders for loggers to come have none
            if isinstance(handler, logging.StreamHandler):
                yield handler


def _width(line: str) -> int:
    """The columns a line takes, colours not counted."""
    visible, escape = 0, False
    for character in line:
        escape = escape or character == "\x1b"
        visible += not escape
        escape = escape and character != "m"
    return visible
