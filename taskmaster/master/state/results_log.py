"""Makes results durable before the checkpoint that covers them, in the state writer's thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmaster.core.pending_results import ResultsToSave
from taskmaster.core.results import Results
from taskmaster.core.settled import Above
from taskmaster.core.waiting_results import newest_of
from taskmaster.errors import StateMismatch
from taskmaster.master.state.waiting_file import WaitingFile
from taskmaster.sinks.base import Sink


class ResultsLog:
    """A sink, whose `place` is what the user calls it, and the file of the results that wait for a slow job.

    A checkpoint says of them `{"place": TEXT, "mark": MARK, "waiting": ...}`, with the mark of the sink.
    """

    def __init__(self, sink: Sink, place: str, waiting: WaitingFile) -> None:
        self._sink = sink
        self._place = place
        self._waiting = waiting
        self._mark: Any = None  # in the newest durable checkpoint
        self._ahead = False  # the sink may hold more than that checkpoint knows of

    def open(self, saved: Any, above: Above) -> tuple[Any, Above, Sequence[Results]]:
        """Cut the sink back to what a checkpoint `saved` of it; None if there is none. `above` is what that checkpoint
        says is settled.

        Returns what the next checkpoint is to say: a sink that was created before any checkpoint knows of it would look
        like another run's; which of those jobs are still settled, now that the results are found; and these. Raises
        StateMismatch for the sink of another place, and what `Sink.open` raises.
        """
        if saved is not None and saved["place"] != self._place:
            raise StateMismatch(f"The results of this run are in {saved['place']}, not in {self._place}. Resume it "
                                "in the same way, or start over with --reset.")
        self._mark = None if saved is None else saved["mark"]
        self._sink.open(self._mark)
        if self._mark is None:
            self._mark = self._sink.flush()
        waiting = None if saved is None else saved.get("waiting")
        kept, results = self._read_waiting(waiting, above)
        return {"place": self._place, "mark": self._mark, "waiting": waiting}, kept, results

    def _read_waiting(self, waiting: Any, above: Above) -> tuple[Above, Sequence[Results]]:
        found = self._waiting.open(waiting)
        if waiting is None or not waiting["size"]:
            return above, []
        since = waiting["since"]
        if found is None:
            return above.below(since), []
        return above, newest_of(found, above.from_on(since).runs)

    def write(self, results: ResultsToSave) -> Any:
        """Make these durable; returns what the checkpoint is to say. To be called again if that cannot be saved."""
        if self._ahead:
            self._sink.open(self._mark)
        self._ahead = True
        self._sink.write(results.written)
        mark = self._sink.flush()
        return {"place": self._place, "mark": mark, "waiting": self._waiting.write(results)}

    def saved(self, said: Any) -> None:
        """The checkpoint that says this is durable."""
        self._mark, self._ahead = said["mark"], False
        self._waiting.saved(said["waiting"])

    def close(self) -> None:
        """Let go of the sink."""
        self._sink.close()
        self._waiting.close()
