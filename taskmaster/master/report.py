"""What a run reports about itself: counters for its checkpoints, stats for people."""

from __future__ import annotations

from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.meter import Meter
from taskmaster.core.stats import RUNNING, Stats
from taskmaster.core.straggler import straggler
from taskmaster.master.ending import Ending
from taskmaster.master.feeder import Feeder
from taskmaster.master.state.base import StateStore


class Report:
    """Reads the run's parts without changing them.

    `began` is when the run began, `first_offset` where its source does; `total` is the number of jobs in all runs,
    as given by the user.
    """

    def __init__(self, dispatcher: Dispatcher, feeder: Feeder, state: StateStore, began: float, first_offset: int,
                 total: int | None) -> None:
        self._dispatcher = dispatcher
        self._window = dispatcher.window
        self._feeder = feeder
        self._state = state
        self._began = began
        self._first_offset = first_offset
        self._start = self._window.watermark  # where this run began
        self._total = total
        self._meter = Meter()

    @property
    def counters(self) -> dict[str, int]:
        """For the checkpoint: over all runs on this state."""
        return {"failed": self.failed_before + self._dispatcher.counts.failed}

    @property
    def failed_before(self) -> int:
        """Jobs of earlier runs in the failures file, without those that this run has tried again."""
        return self._state.failed_before - self._window.settled_again

    def observe(self, now: float) -> None:
        """Take a reading for the rate."""
        self._meter.observe(now, self._settled)

    def stats(self, now: float, ending: Ending | None, stopped: bool) -> Stats:
        """The run as it is now. `ending` is how it is about to end; `stopped` when nothing runs any more."""
        counts, window = self._dispatcher.counts, self._window
        return Stats(
            run_settled=counts.handled + counts.failed, settled=self._settled, handled=counts.handled,
            failed=counts.failed, failed_before=self.failed_before, retried=counts.retried,
            duplicates=counts.duplicates, backups=window.backups.made, backups_won=window.backups.won,
            in_flight=window.in_flight,
            running=self._dispatcher.running,
            replayed=self._replayed(),
            slaves=self._dispatcher.slaves, rate=self._meter.rate(now, self._settled), elapsed=now - self._began,
            total=self._known_total(), offset=window.watermark, first_offset=self._start,
            straggler=straggler(window, self._dispatcher.name_of, now), state=self._phase(ending, stopped),
            finished=ending is not None and ending.finished)

    def _replayed(self) -> int:
        """Jobs that were handed out before, as far as they are settled again; not those that were passed over."""
        window = self._window
        return max(0, min(window.watermark, self._state.handed_out_before) - self._start - window.passed_over)

    @property
    def _settled(self) -> int:
        """Jobs of all runs on this state."""
        return self._window.head - self._window.in_flight - self._first_offset

    def _known_total(self) -> int | None:
        if self._total is not None or self._feeder.length is None:
            return self._total
        return self._start - self._first_offset + self._feeder.length

    def _phase(self, ending: Ending | None, stopped: bool) -> str:
        if self._state.trouble is not None:
            return f"state not writable: {self._state.trouble}"
        if ending is not None:
            return "finished" if ending.finished else "stopped" if stopped else "draining"
        return RUNNING if self._dispatcher.slaves else "waiting for slaves"
