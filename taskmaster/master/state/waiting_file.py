"""Results that wait for a slow job, in a file of the state folder, for as long as checkpoints count on them.

The file is appended to. A new one takes its place when most of it has become obsolete, and with each master; the old
one is removed once a checkpoint names the new one. If the file is lost, its jobs run again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskmaster.core.pending_results import ResultsToSave
from taskmaster.core.results import Results
from taskmaster.core.waiting_results import record_of, records_in
from taskmaster.sinks.appended_file import AppendedFile

log = logging.getLogger(__name__)

WAITING_RESULTS = "waiting-results-*"  # a number in place of the star


class WaitingFile:
    """What a checkpoint says of it is `{"file": NUMBER, "size": BYTES, "since": OFFSET}`; None if it never was needed.

    Results of jobs from that offset on are in the first so many bytes. With a size of 0, no checkpoint counts on it.
    """

    def __init__(self, folder: Path, make: Callable[[Path], AppendedFile] = AppendedFile) -> None:
        self._folder = folder
        self._make = make
        self._saved: Any = None  # what the newest durable checkpoint says
        self._file: AppendedFile | None = None  # that is being written
        self._ahead = False  # it may hold more than that checkpoint knows of

    @property
    def _number(self) -> int:
        """Of the file that the newest checkpoint names."""
        return 0 if self._saved is None else int(self._saved["file"])

    def open(self, said: Any) -> list[Results] | None:
        """What it held when a checkpoint `said` this; None if it is lost."""
        self._saved = said
        size = 0 if said is None else said["size"]
        for number in (self._number - 1, self._number, self._number + 1):
            if number > 0 and not (number == self._number and size):  # left by a master that was killed
                self._remove(self._at(number))
        return self._read(size) if size else []

    def _read(self, size: int) -> list[Results] | None:
        found = self._at(self._number)
        try:
            with found.reader() as file:
                return records_in(file, size)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else f"it {error}"
            log.warning("The results that waited for a slow job cannot be read from %s (%s). Their jobs run again.",
                        found.path, why)
            return None

    def _at(self, number: int) -> AppendedFile:
        return self._make(self._folder / WAITING_RESULTS.replace("*", str(number)))

    def write(self, given: ResultsToSave) -> Any:
        """Make them durable; returns what the checkpoint is to say. To be called again if that cannot be saved."""
        if not given.counts:
            return None if self._saved is None else {**self._saved, "size": 0}
        number = self._number + given.anew
        if given.anew or self._ahead:
            self._reopen(number, None if given.anew else self._saved["size"])
        assert self._file is not None
        self._ahead = True
        for one in given.waiting:
            self._file.append(record_of(one))
        return {"file": number, "size": self._file.flush(), "since": given.since}

    def _reopen(self, number: int, size: int | None) -> None:
        self.close()
        self._file = self._at(number)
        if size is None:
            self._file.remove()
        self._file.open(size)

    def saved(self, said: Any) -> None:
        """The checkpoint that says this is durable."""
        old, self._saved, self._ahead = self._number, said, False
        if said is not None and not said["size"] and self._file is not None:
            self._remove(self._file)
            self._file = None
        if said is not None and (said["file"] != old or not said["size"]):
            self._remove(self._at(old))

    @staticmethod
    def _remove(file: AppendedFile) -> None:
        with suppress(OSError):  # the next master tries again
            file.remove()

    def close(self) -> None:
        """Let go of it."""
        self._ahead = False
        if self._file is not None:
            self._file.close()
            self._file = None
