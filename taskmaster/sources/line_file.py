"""The lines of a text file one by one, each with the cursor after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from taskmaster.defaults import FOLLOW_SECONDS
from taskmaster.errors import SourceError, StateMismatch
from taskmaster.sources.base import refuse_cursor
from taskmaster.sources.opening import Opened
from taskmaster.sources.text import BOM_BYTES, text_of
from taskmaster.sources.trace import HEAD_BYTES, TAIL_BYTES, Trace, position_of
from taskmaster.waiting import wait


class LineFile:
    """An iterator of the lines with their ends, open until `close`. With `follow`, it waits at the end for more.

    A line ends with a line feed, which a carriage return may precede. The last one may have no end, but with `follow`
    or if lines are to be `whole`, it is not taken yet; then, an iterator that was at its end may continue later.
    Raises SourceError for a file that cannot be read, StateMismatch for one that is not the file that a cursor is of.
    """

    def __init__(self, path: str | os.PathLike[str], name: str, encoding: str, errors: str, follow: bool = False,
                 whole: bool = False) -> None:
        self._name = name
        self._whole = whole
        self._file = Opened(path, name)
        self._follow = follow
        try:
            if follow and self._file.compressed:
                raise SourceError(f"{name}: a compressed file cannot be followed. Follow the plain one.")
            self._text = text_of(self._file.read(BOM_BYTES), encoding, errors, name)
            self._begin()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        data = self._line()
        if not data:
            raise StopIteration
        self.start = self._trace.position
        self._trace.add(data)
        return self._text.decode(data, self._name, self.start)

    @property
    def position(self) -> int:
        """Where the next line starts, in bytes."""
        return self._trace.position

    @property
    def status(self) -> os.stat_result:
        """Of the open file."""
        return os.fstat(self._file.plain.fileno())

    @property
    def cursor(self) -> str:
        """After the last line."""
        return self._trace.cursor

    def resume(self, last: Any) -> None:
        """Go to this cursor. Raises SourceError for one of another source, StateMismatch for one of another file."""
        position = position_of(last)
        if position is None:
            refuse_cursor(self._name, last)
        self._go_to(position)
        if self.cursor != last:
            raise StateMismatch(f"{self._name}: the file is not the one that it was when the last run stopped: before "
                                f"byte {position:,} it is different. Put the old one back, or start over with "
                                "--reset.")
        self._pass_line_end()

    def close(self) -> None:
        self._file.close()

    def _begin(self) -> None:
        """Go to where the text begins."""
        self._file.rewind()
        self._trace = Trace()
        self._trace.add(self._file.read(self._text.mark))
        self.start = self._trace.position

    def _go_to(self, position: int) -> None:
        self._file.rewind()
        self._trace = Trace()
        self._trace.add(self._file.read(min(position, HEAD_BYTES)))
        if position - TAIL_BYTES > HEAD_BYTES:
            self._file.seek(position - TAIL_BYTES)
            self._trace.skip_to(position - TAIL_BYTES)
        self._trace.add(self._file.read(position - self._trace.position))

    def _pass_line_end(self) -> None:
        """The line before may have had no end when it was read. It may have one now, but no more text."""
        if self._trace.position == self._text.mark or self._trace.ends_with(self._text.newline):
            return
        rest = self._line()
        if rest.strip(b"\r\n\0"):
            raise StateMismatch(f"{self._name}: the last line had no line end when it was read, and has grown since. "
                                "Start over with --reset; use follow=True for a file that is still being written.")
        self._trace.add(rest)

    def _line(self) -> bytes:
        """The next line; empty at the end."""
        line, newline, replaced = b"", self._text.newline, False
        while True:
            part = self._file.readline()
            line = line + part if line else part
            if part and len(line) % len(newline):  # in UTF-16, the rest of a character
                line += self._file.read(len(newline) - len(line) % len(newline))
            if line.endswith(newline):
                return line
            if not part:
                if not self._follow:
                    return self._last(line)
                if replaced:
                    raise SourceError(_REPLACED.format(self._name))
                wait(FOLLOW_SECONDS)
                replaced = self._is_replaced()  # but what was still added to the old one is read first

    def _last(self, line: bytes) -> bytes:
        """The line that ends the file, or nothing. Raises SourceError if the file was cut."""
        if not self._file.compressed and self.status.st_size < self._trace.position:
            raise SourceError(f"{self._name}: the file became shorter while it was read, and lines are missing. Put "
                              "the whole file back and run the same command again, or start over with --reset.")
        if self._whole and line:
            self._file.reread(self._trace.position)
            return b""
        return line

    def _is_replaced(self) -> bool:
        """Whether the path is another file by now, or this one was cut."""
        ours = self.status
        try:
            now = os.stat(self._file.path)
        except OSError:
            return True
        return not os.path.samestat(ours, now) or now.st_size < self._trace.position


_REPLACED = ("{}: the file was replaced by another one, or cut, while it was followed. The old one was read to its "
             "end. To read the new one, start over with --reset.")
