"""How far jobs were handed out, which lets the next run count its replays. It knows nothing of checkpoints."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from taskmaster import durable
from taskmaster.master.state.trust import open_own, read_own

log = logging.getLogger(__name__)


class HandedOut:
    """The highest offset ever handed out, + 1, in a file that is overwritten in place and never fsynced.

    It survives kill -9 of the process but not a power cut, which is enough for its only use: to count replays.
    """

    _LINE = re.compile(rb"[+-]\d{20}\n")
    _WIDTH = 22

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: int | None = None
        self._end: int | None = None
        self._warned = False

    def read(self) -> int | None:
        """The highest offset handed out + 1; None when the file is missing or holds something else."""
        try:
            data = read_own(self.path)[:self._WIDTH]  # it is never truncated, and may have been longer
        except OSError:
            return None  # a missing count is no reason to refuse a run
        return int(data) if self._LINE.fullmatch(data) else None

    def note(self, offset: int) -> None:
        """`offset` is being handed out. Takes about a microsecond, less when it is not the highest."""
        if self._end is None:
            self._end = self.read()
        if self._end is not None and offset < self._end:
            return
        self._end = offset + 1
        try:
            self._write(b"%+021d\n" % self._end)
        except OSError as error:
            self._warn_once(error)

    def close(self) -> None:
        """Close the file; the next `note` opens it again."""
        if self._file is not None:
            durable.close_quietly(self._file)
            self._file = None

    def _write(self, line: bytes) -> None:
        if self._file is None:
            self._file = open_own(self.path, os.O_WRONLY | os.O_CREAT)
        if hasattr(os, "pwrite"):
            os.pwrite(self._file, line, 0)
        else:
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, line)

    def _warn_once(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("%s cannot be written (%s). The run continues, but the next one will report too few replays.",
                        self.path, error)
