"""Silences the log while a world is played."""

from __future__ import annotations

import logging


class Quiet:
    """What the shipped code logs about simulated faults is noise."""

    def __enter__(self) -> None:
        self._log = logging.getLogger("taskmaster")
        self._level = self._log.level
        self._log.setLevel(logging.CRITICAL + 1)

    def __exit__(self, *error: object) -> None:
        self._log.setLevel(self._level)
