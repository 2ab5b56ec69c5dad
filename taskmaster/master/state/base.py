"""What a master needs from the place where it saves the progress of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.failure import FailureRecord
from taskmaster.core.pending_results import PendingResults
from taskmaster.core.results import Results
from taskmaster.core.selection import Selection
from taskmaster.core.settled import Above
from taskmaster.core.window import Window
from taskmaster.errors import TaskmasterError
from taskmaster.master.state.checkpoint import Checkpoint


class StateStore(Protocol):
    """The state of one run, on disk (RunState) or in memory only (MemoryState).

    Call `open`, `begin` and `start`, in this order; and `close`, whatever happens. Times are those of the master's
    clock, in seconds. All methods belong to the thread of the server's loop, and none makes it wait.
    """

    @property
    def path(self) -> Path | None:
        """The state folder; None when nothing is kept on disk."""

    @property
    def failures_path(self) -> Path | None:
        """The file that lists the abandoned jobs; None when there is none."""

    @property
    def run(self) -> str:
        """The run's id, the same for each of its masters."""

    @property
    def epoch(self) -> int:
        """The number of this master among those of the run, counted from 1."""

    @property
    def failed_before(self) -> int:
        """How many jobs of earlier runs are in the failures file."""

    @property
    def chances(self) -> int:
        """How many of those are to be tried again."""

    @property
    def handed_out_before(self) -> int:
        """Jobs below this offset may have run in an earlier run."""

    @property
    def first_offset(self) -> int:
        """The offset of the very first job of all runs on this state."""

    @property
    def settled_before(self) -> Above:
        """What earlier runs settled above their last watermark."""

    @property
    def results_before(self) -> Sequence[Results]:
        """The results of those jobs that are not in their sink yet, in the order of their jobs."""

    @property
    def trouble(self) -> str | None:
        """Why the state cannot be written at the moment; None when it can."""

    @property
    def lost(self) -> TaskmasterError | None:
        """Why the state can never be written again by this master; None while it can."""

    def open(self, reset: bool) -> Checkpoint | None:
        """Lock the state and return the last checkpoint, if there is one; `reset` moves it aside first.

        Raises StateUnwritable, StateMismatch.
        """

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        """Begin a new epoch, durable on return, after the checkpoint that `open` returned; the failed jobs of `retry`
        are to be tried again. Raises StateUnwritable."""

    def to_try_again(self) -> Iterator[FailureRecord]:
        """The records of the failed jobs that are to be tried again before new ones; to be read in any thread."""

    def start(self) -> None:
        """Start saving what is offered from now on."""

    def handed_out(self, offset: int) -> None:
        """Every job below `offset` has been handed out, or is about to be."""

    def abandon(self, jobs: Sequence[AbandonedJob]) -> None:
        """Record these failures, before any checkpoint that is offered later."""

    def offer(self, window: Window, counters: Mapping[str, int], now: float, finished: bool = False,
              stopped: bool = False, results: PendingResults | None = None) -> None:
        """Save how far the window has got, and the results that came since the last offer; `stopped`: the next run is
        to try the failed jobs again."""

    @property
    def results_bytes(self) -> int:
        """Bytes of results that were offered and are not durable yet."""

    def due(self, window: Window, now: float) -> bool:
        """Whether a checkpoint would contain something new, and the last one was long enough ago."""

    def next_due(self, window: Window) -> float | None:
        """When a checkpoint is due; None if it would contain nothing new."""

    def behind(self, now: float) -> bool:
        """Whether settled jobs have been unsaved for so long that no new ones should be handed out."""

    @property
    def saved(self) -> bool:
        """Whether all that was offered and abandoned is durable."""

    def close(self, seconds: float) -> bool:
        """Save what is pending, for up to `seconds`, and release the state; returns whether all of it is durable."""
