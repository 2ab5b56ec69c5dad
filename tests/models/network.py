"""The network between one master and its slaves: delays, loses, repeats and reorders what it carries.

It carries frames as `taskmaster.transport` does, without looking inside; its two kinds of ends are in `sockets`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.scheduler import Scheduler

if TYPE_CHECKING:
    from models.sockets import Dialer, Listener


@dataclass(frozen=True)
class Weather:
    """How messages travel: delays in seconds, the other numbers as shares of the messages."""

    delay: float = 2e-4
    late: float = 0.0  # these take up to a thousand times as long
    lost: float = 0.0
    repeated: float = 0.0
    ordered: bool = True  # within a connection, as with TCP
    correlated: bool = True  # the socket drops an answer to an older request, as REQ does when told to
    steady: bool = False  # each takes exactly `delay`; otherwise half as long again, or half as long


FAIR = Weather()


class Network:
    """Listeners come and go, one at a time; dialers connect to the present one."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.weather = FAIR
        self.listener: Listener | None = None
        self.dialers: list[Dialer] = []
        self.messages = 0
        self._peers = 0
        self._arrived: dict[tuple[bytes, bool], float] = {}  # when a connection's last message arrives, each way

    def new_peer(self) -> bytes:
        self._peers += 1
        return b"peer%d" % self._peers

    def carry(self, peer: bytes, up: bool, arrive: Callable[[], object]) -> None:
        """A message along the connection of `peer`; `up` is to the master."""
        weather, chance = self.weather, self.scheduler.chance
        self.messages += 1
        if weather.lost and chance.random() < weather.lost:
            return
        self._dispatch(peer, up, arrive)
        while weather.repeated and chance.random() < weather.repeated:
            self._dispatch(peer, up, arrive)

    def _dispatch(self, peer: bytes, up: bool, arrive: Callable[[], object]) -> None:
        time = self.scheduler.now + self._delay()
        if self.weather.ordered:
            time = self._arrived[peer, up] = max(time, self._arrived.get((peer, up), 0.0))
        self.scheduler.at(time, arrive)

    def _delay(self) -> float:
        weather, chance = self.weather, self.scheduler.chance
        if weather.steady:
            return weather.delay
        delay = weather.delay * (0.5 + chance.random())
        if weather.late and chance.random() < weather.late:
            delay *= 1000 ** chance.random()
        return delay

    def shut(self, listener: Listener) -> None:
        """The master's end is gone."""
        if self.listener is listener:
            self.listener = None
        for dialer in [one for one in self.dialers if one.peer in listener.connected]:
            dialer.lose_connection()
