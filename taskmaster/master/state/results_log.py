"""Writes results to their sink before the checkpoint that covers them, in the state writer's thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmaster.core.results import Results
from taskmaster.errors import StateMismatch
from taskmaster.sinks.base import Sink


class ResultsLog:
    """A sink, whose `place` is what the user calls it, and its mark in the newest durable checkpoint."""

    def __init__(self, sink: Sink, place: str) -> None:
        self._sink = sink
        self._place = place
        self._mark: Any = None
        self._ahead = False  # the sink may hold more than the newest checkpoint knows of

    def open(self, saved: Any) -> Any:
        """Cut the sink back to what a checkpoint `saved` of it; None if there is none. Returns what the next checkpoint
        is to say: a sink that was created before any checkpoint knows of it would look like another run's.

        Raises StateMismatch for the sink of another place, and what `Sink.open` raises.
        """
        if saved is not None and saved["place"] != self._place:
            raise StateMismatch(f"The results of this run are in {saved['place']}, not in {self._place}. Resume it "
                                "in the same way, or start over with --reset.")
        self._mark = None if saved is None else saved["mark"]
        self._sink.open(self._mark)
        if self._mark is None:
            self._mark = self._sink.flush()
        return {"place": self._place, "mark": self._mark}

    def write(self, results: Sequence[Results]) -> Any:
        """Make these durable; returns what the checkpoint is to say. To be called again if that cannot be saved."""
        if self._ahead:
            self._sink.open(self._mark)
        self._ahead = True
        self._sink.write(results)
        return {"place": self._place, "mark": self._sink.flush()}

    def saved(self, said: Any) -> None:
        """The checkpoint that says this is durable."""
        self._mark, self._ahead = said["mark"], False

    def close(self) -> None:
        """Let go of the sink."""
        self._sink.close()
