"""A stream for the log, which writes above the progress line."""

from __future__ import annotations

from taskmaster.console.progress import Progress


class Lines:
    """Passes whole lines to the progress, so that they do not break its line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def write(self, text: str) -> None:
        if text.strip("\n"):
            self._progress.write(text.rstrip("\n"))

    def flush(self) -> None:
        """Does nothing: each line is written at once."""
