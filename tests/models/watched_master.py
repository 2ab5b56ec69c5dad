"""A master that shows everything it does to a watcher."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from models.master import Place, SimulatedMaster
from models.master_watch import MasterWatch
from models.sockets import Listener

from taskmaster.core.master_effects import Effect
from taskmaster.core.session import Route
from taskmaster.core.wire import Frames
from taskmaster.master.crew import Crew
from taskmaster.master.server import Server
from taskmaster.master.workload import Options


class WatchedListener(Listener):
    """A turn of the server is over when it waits again."""

    def __init__(self, place: Place, watcher: MasterWatch) -> None:
        super().__init__(place.network, place.process, place.local, watcher.hears, place.parts.peers)
        self._watcher = watcher

    def wait(self, seconds: float) -> None:
        self._watcher.turned()
        if not self._peers.any_dropped:
            self._watcher.believes_all_but(self.ended)
        super().wait(seconds)
        self._watcher.begins_a_turn()

    def dropped(self) -> list[tuple[bytes, bool]]:
        gone = super().dropped()
        for peer, _ in gone:
            self._watcher.is_dropped(peer)
        return gone


class WatchedServer(Server):
    """Shows its effects before it performs them, answers as soon as they are decided: it sends several at once."""

    watcher: MasterWatch

    def watch(self, watcher: MasterWatch) -> None:
        self.watcher = watcher
        self._shown: list[Effect] = []
        decide = self._dispatcher.receive

        def receive(route: Route, frames: Frames, now: float) -> list[Effect]:
            effects = decide(route, frames, now)
            watcher.decides(effects)
            self._shown += effects
            return effects

        self._dispatcher.receive = receive  # type: ignore[method-assign, assignment]

    def _perform(self, effects: Iterable[Effect]) -> None:
        seen = list(effects)
        known, self._shown = {id(effect) for effect in self._shown}, []
        self.watcher.decides([effect for effect in seen if id(effect) not in known])
        super()._perform(seen)


class WatchedMaster(SimulatedMaster):
    """The watcher sees it from the moment at which its epoch is durable."""

    server_class = WatchedServer

    def __init__(self, get_jobs: Callable[..., Any], options: Options, place: Place, watcher: MasterWatch) -> None:
        super().__init__(get_jobs, options, place)
        self.watcher = watcher

    def listen(self) -> Listener:
        self.watcher.begins(self)
        return WatchedListener(self.place, self.watcher)

    def offered(self) -> None:
        self.watcher.offers()

    def _serve(self, listener: Any, crew: Crew | None) -> Server:
        server = super()._serve(listener, crew)
        assert isinstance(server, WatchedServer)
        server.watch(self.watcher)
        return server
