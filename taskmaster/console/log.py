"""Log lines, above the progress line where there is one."""

from __future__ import annotations

import logging

from taskmaster.console.progress import Progress


def configure_logging(level: str, progress: Progress) -> None:
    """Log lines go through the progress, so that they do not tear it."""
    handler = logging.StreamHandler(_Lines(progress))
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s" if level != "debug" else
                                           "%(asctime)s %(process)d %(name)s %(levelname)s: %(message)s"))
    root = logging.getLogger("taskmaster")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())


class _Lines:
    """A stream for logging that writes whole lines to a progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def write(self, text: str) -> None:
        if text.strip("\n"):
            self._progress.write(text.rstrip("\n"))

    def flush(self) -> None:
        """Each line is written at once."""
