"""A master's process: the shipped `Master`, `Server`, `RunState`, feeder and writer on simulated threads and disk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from simulation.disk import Disk, FailuresFile, Folder
from simulation.hub import Process
from simulation.network import Listener, Network
from simulation.parts import Parts
from simulation.threads import Condition, Event, Thread

from taskmaster import defaults
from taskmaster.console.progress import NullProgress
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Effect
from taskmaster.core.session import Route
from taskmaster.core.window import Window
from taskmaster.core.wire import Frames
from taskmaster.master.crew import Crew
from taskmaster.master.feeder import Feeder
from taskmaster.master.master import Master
from taskmaster.master.server import Server
from taskmaster.master.source import Source
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.recorder import FailureRecorder
from taskmaster.master.state.run_state import RunState
from taskmaster.master.state.writer import StateWriter
from taskmaster.master.workload import Identity, Options, Workload

IDENTITY = Identity("simulated", {}, "handle_job")


class Watcher(Protocol):
    """Who sees what a master does."""

    def begins(self, master: SimulatedMaster) -> None: ...

    def hears(self, route: Route, frames: Frames) -> None: ...

    def decides(self, effects: Sequence[Effect]) -> None: ...

    def is_dropped(self, peer: bytes) -> None: ...

    def turned(self) -> None: ...

    def offers(self) -> None: ...


@dataclass(frozen=True)
class Place:
    """Where a master runs."""

    process: Process
    network: Network
    disk: Disk
    parts: Parts
    watcher: Watcher
    run: str  # the id of a run that begins here
    local: bool


class WatchedListener(Listener):
    """A turn of the server is over when it waits again."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.network, place.process, place.local, place.watcher.hears)
        self._watcher = place.watcher

    def wait(self, seconds: float) -> None:
        self._watcher.turned()
        super().wait(seconds)

    def dropped(self) -> list[tuple[bytes, bool]]:
        gone = super().dropped()
        for peer, _ in gone:
            self._watcher.is_dropped(peer)
        return gone


class WatchedServer(Server):
    """Shows its effects before it performs them: answers when they are decided, for several are sent together."""

    watcher: Watcher

    def watch(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self._shown: list[Effect] = []
        decide = self._dispatcher.receive

        def receive(route: Route, frames: Frames, now: float) -> list[Effect]:
            effects = decide(route, frames, now)
            watcher.decides(effects)
            self._shown += effects
            return effects

        self._dispatcher.receive = receive  # type: ignore[method-assign]

    def _perform(self, effects: Iterable[Effect]) -> None:
        seen = list(effects)
        known, self._shown = {id(effect) for effect in self._shown}, []
        self.watcher.decides([effect for effect in seen if id(effect) not in known])
        super()._perform(seen)


class SimulatedMaster(Master):
    """One life of a master."""

    def __init__(self, get_jobs: Callable[..., Any], options: Options, place: Place) -> None:
        super().__init__(Workload(get_jobs, {}, IDENTITY, Path("simulated")), options, NullProgress(sys.stderr))
        self.place = place
        self._waker.close()
        self._waker = Event(place.process)  # type: ignore[assignment]
        self._state = keeper_at(place, self._waker.wake)

    @property
    def run_and_epoch(self) -> tuple[str, int]:
        return self._state.run, self._state.epoch

    @property
    def first(self) -> int:
        """Where it begins."""
        return self._where().offset

    @property
    def server(self) -> Server | None:
        return self._server

    def open(self, address: str) -> None:
        self._found = self._state.open(self._options.reset)
        self._state.begin(self._found, self._first)
        self.place.watcher.begins(self)
        self._listener = WatchedListener(self.place)  # type: ignore[assignment]

    def _serve(self, listener: Any, crew: Crew | None) -> Server:
        """As the shipped one, with the clock and the parts of this place."""
        options, start, place = self._options, self._where(), self.place
        window: Window = place.parts.window(start.offset, options.size, defaults.WINDOW_BYTES, options.attempts)
        dispatcher: Dispatcher = place.parts.dispatcher(window, self._state.run, self._state.epoch, options.rate)
        source = Source(self._workload.get_jobs, self._workload.arguments, start)
        feeder = Feeder(source, start.offset, options.limit, options.codec, place.process.clock, self._waker.wake)
        feeder._room = Condition(place.process)  # type: ignore[assignment]
        feeder._thread = Thread(place.process, feeder._run)  # type: ignore[assignment]
        feeder.start()
        server = WatchedServer(listener, dispatcher, feeder, self._state, self._waker, self._observers,
                               options.budget, place.process.clock, first_offset=self._first, total=options.total,
                               crew=crew)
        server.watch(place.watcher)
        return server


def keeper_at(place: Place, wake: Callable[[], None]) -> RunState:
    """A keeper whose folder is on this place's disk."""

    class Simulated(place.parts.keeper):  # type: ignore[name-defined, misc]
        def begin(self, found: Checkpoint | None, first_offset: int) -> None:
            fresh = Checkpoint(place.run, 0, first_offset, target=IDENTITY.target)
            super().begin(found or fresh, first_offset)

        def offer(self, window: Window, counters: Mapping[str, int], now: float, finished: bool = False) -> None:
            super().offer(window, counters, now, finished)
            place.watcher.offers()

    keeper: RunState = Simulated(Path("simulated"), IDENTITY, wake)
    keeper._folder = Folder(place.disk, place.process)  # type: ignore[assignment]
    keeper._failures = FailuresFile(place.disk, place.process)  # type: ignore[assignment]
    keeper._payloads = AtOnce()  # type: ignore[assignment]
    keeper._writer = _writer_at(place, keeper, wake)
    return keeper


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


def _writer_at(place: Place, keeper: RunState, wake: Callable[[], None]) -> StateWriter:
    process = place.process
    recorder = FailureRecorder(keeper._failures, IDENTITY.handler, keeper._payloads)
    writer: StateWriter[Any] = place.parts.writer(keeper._folder, recorder, wake, clock=process.clock)
    writer._changed = Condition(process)  # type: ignore[assignment]
    writer._nudge = Event(process)  # type: ignore[assignment]
    writer._rest = writer._nudge.wait
    writer._thread = Thread(process, writer._work)  # type: ignore[assignment]
    return writer
