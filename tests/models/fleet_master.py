"""The master of a fleet: its requests and its source cost time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.inside import dispatcher_of, window_of
from models.master import Place, SimulatedMaster
from models.sockets import Listener

from taskmaster.core.session import Route
from taskmaster.core.wire import Frames
from taskmaster.master.workload import Options

if TYPE_CHECKING:
    from models.fleet import Model

REQUEST_SECONDS = 60e-6  # the master's work on one request: 16,000 a second
PULL_AT_ONCE_SECONDS = 1e-4  # the source sleeps for several jobs together when one takes less


class FleetListener(Listener):
    """Each request is paid for as it is read."""

    requests = 0

    def receive(self) -> tuple[Route, Frames] | None:
        message = super().receive()
        if message is not None:
            self.requests += 1
            self._scheduler.sleep(REQUEST_SECONDS)
        return message


class FleetMaster(SimulatedMaster):
    """Its jobs are the offsets of the model's work."""

    def __init__(self, model: Model, place: Place) -> None:
        super().__init__(self._get_jobs, Options(size=model.fleet.size, backup_attempts=model.fleet.backups), place)
        self._model = model
        self._debt = 0.0  # seconds that the source took and has not slept yet

    @property
    def done(self) -> bool:
        return self.server is not None and window_of(self.server).watermark == len(self._model.work.seconds)

    @property
    def requests(self) -> int:
        assert isinstance(self._listener, FleetListener)
        return self._listener.requests

    @property
    def returned(self) -> int:
        assert self.server is not None
        return dispatcher_of(self.server).counts.returned

    @property
    def backups(self) -> int:
        assert self.server is not None
        return window_of(self.server).backups.made

    def listen(self) -> Listener:
        return FleetListener(self.place.network, self.place.process, self.place.local)

    def feeder_clock(self) -> float:
        self._pay()
        return super().feeder_clock()

    def _get_jobs(self) -> Iterator[int]:
        model = self._model
        for offset in range(len(model.work.seconds)):
            self._debt += model.work.pull
            if self._debt >= PULL_AT_ONCE_SECONDS:
                self._pay()
            model.run.pulled.append(model.now + self._debt)
            yield offset

    def _pay(self) -> None:
        if self._debt:
            debt, self._debt = self._debt, 0.0
            self.place.process.scheduler.sleep(debt)
