"""A master's process: the shipped `Master`, `Server`, `RunState`, feeder and writer on simulated threads and disk.

All that is replaced inside the shipped objects is replaced here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.appended_file import AppendedFile
from models.disk import Disk, FailuresFile, Folder
from models.inside import chances_of
from models.network import Network
from models.parts import Parts
from models.process import Process
from models.sockets import Listener
from models.threads import Condition, Event, Thread

from taskmaster import defaults
from taskmaster.console.progress import NullProgress
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.interrupts import Interrupts
from taskmaster.core.pending_results import PendingResults
from taskmaster.core.selection import Selection
from taskmaster.core.window import Window
from taskmaster.master.crew import Crew
from taskmaster.master.failed_jobs import failed_jobs
from taskmaster.master.feeder import Feeder
from taskmaster.master.master import Master
from taskmaster.master.server import Server
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.recorder import FailureRecorder
from taskmaster.master.state.results_log import ResultsLog
from taskmaster.master.state.run_state import RunState
from taskmaster.master.state.writer import StateWriter
from taskmaster.master.workload import Identity, Options, Workload
from taskmaster.transport.keys import Keys

IDENTITY = Identity("simulated", {}, "handle_job")
MODULE = "jobs.py"  # of get_jobs, and so of the handlers that may do its jobs
RESULTS = Path("results.jsonl")


@dataclass(frozen=True)
class Place:
    """Where a master runs."""

    process: Process
    network: Network
    disk: Disk
    parts: Parts
    run: str  # the id of a run that begins here
    local: bool = True


class SimulatedMaster(Master):
    """One life of a master."""

    server_class: type[Server] = Server

    def __init__(self, get_jobs: Callable[..., Any], options: Options, place: Place) -> None:
        super().__init__(Workload(get_jobs, {}, IDENTITY, Path("simulated")), options, NullProgress(sys.stderr))
        self.place = place
        self._waker.close()
        self._waker = Event(place.process)  # type: ignore[assignment]
        self._interrupts.pass_on_to(self._waker.wake)
        self._state = run_state_at(place, options, self._waker.wake, self.offered)

    @property
    def run_and_epoch(self) -> tuple[str, int]:
        return self._state.run, self._state.epoch

    @property
    def first(self) -> int:
        """The offset at which it begins."""
        return self._where().offset

    @property
    def again(self) -> frozenset[int]:
        """The failed jobs of earlier runs that it tries again."""
        return chances_of(self._state)

    @property
    def interrupts(self) -> Interrupts:
        return self._interrupts

    @property
    def server(self) -> Server | None:
        return self._server

    def open(self, address: str, keys: Keys | None = None) -> None:
        self._take_state()
        self._listener = self.listen()  # type: ignore[assignment]

    def listen(self) -> Listener:
        place = self.place
        return Listener(place.network, place.process, place.local, peers=place.parts.peers)

    def offered(self) -> None:
        """Called when a checkpoint was offered to the writer."""

    def _serve(self, listener: Any, crew: Crew | None) -> Server:
        """Like the shipped one, with the clock and the parts of this place."""
        options, place = self._options, self.place
        start = replace(self._where(), before=place.parts.settled_before(self._state.settled_before))
        window: Window = place.parts.window(start.offset, options.size, defaults.WINDOW_BYTES, options.attempts)
        results = self._pending_results() if options.results else None
        dispatcher: Dispatcher = place.parts.dispatcher(window, self._state.run, self._state.epoch, options.rate,
                                                        {"module": MODULE}, results, options.backup_attempts)
        feeder = Feeder(self._source(start), start.offset, self._limit(), options.codec, self.feeder_clock,
                        self._waker.wake, failed_jobs(self._state.to_try_again(), options.codec))
        feeder._room = Condition(place.process)  # type: ignore[assignment]
        feeder._thread = Thread(place.process, feeder._run)  # type: ignore[assignment]
        feeder.start()
        return self.server_class(listener, dispatcher, feeder, self._state, self._waker, self._observers,
                                 options.budget, place.process.clock, self._interrupts, first_offset=self._first,
                                 total=options.total, crew=crew)

    def _pending_results(self) -> PendingResults:
        options = self._options
        results = self.place.parts.results(options.in_order, options.results_with_failures, self._state.results_before)
        results.slack_bytes = 20  # so that new files begin in small worlds, too
        return results

    def feeder_clock(self) -> float:
        return self.place.process.clock()


def run_state_at(place: Place, options: Options, wake: Callable[[], None], offered: Callable[[], None]) -> RunState:
    """One whose folder is on this place's disk; `offered` is called after each `offer`."""

    class Simulated(place.parts.run_state):  # type: ignore[name-defined, misc]
        def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
            fresh = Checkpoint(place.run, 0, first_offset, target=IDENTITY.target)
            super().begin(found or fresh, first_offset, retry)

        def offer(self, window: Window, counters: Mapping[str, int], now: float, finished: bool = False,
                  stopped: bool = False, results: PendingResults | None = None) -> None:
            super().offer(window, counters, now, finished, stopped, results)
            offered()

    results = _results_log_at(place) if options.results else None
    state: RunState = Simulated(Path("simulated"), IDENTITY, wake, results)
    state._folder = Folder(place.disk, place.process)  # type: ignore[assignment]
    state._failures = FailuresFile(place.disk, place.process)  # type: ignore[assignment]
    state._payloads = AtOnce()  # type: ignore[assignment]
    state._writer = _writer_at(place, state, wake)
    return state


def _results_log_at(place: Place) -> ResultsLog:
    def file(path: Path) -> Any:
        return AppendedFile(place.disk, place.process, path)

    sink = place.parts.sink(RESULTS)
    sink._file = file(RESULTS)
    return place.parts.results_log(sink, str(RESULTS), place.parts.waiting_file(Path("simulated"), file))


class AtOnce:
    """A PayloadReader without a thread: decoding takes no time here."""

    def each(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return [self._result_of(function, item) for item in items]

    @staticmethod
    def _result_of(function: Callable[[Any], Any], item: Any) -> Any:
        try:
            return function(item)
        except Exception:
            return None


def _writer_at(place: Place, state: RunState, wake: Callable[[], None]) -> StateWriter[Any]:
    process = place.process
    recorder = FailureRecorder(state._failures, IDENTITY.handler, state._payloads)
    writer: StateWriter[Any] = place.parts.writer(state._folder, recorder, wake, clock=process.clock,
                                                  results=state._results)
    writer._changed = Condition(process)  # type: ignore[assignment]
    writer._nudge = Event(process)  # type: ignore[assignment]
    writer._rest = writer._nudge.wait
    writer._thread = Thread(process, writer._work)  # type: ignore[assignment]
    return writer
