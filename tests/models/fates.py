"""How each job's handler fares: how long it takes, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from models.process import Killed, Process
from models.scenario import SECONDS, Scenario
from models.source import Undecodable

HANG_SECONDS = 1e6
HOLD_SECONDS = (0.5, 4.0)  # for which C code holds the interpreter lock


@dataclass
class Fate:
    """Its handler ends like this, `left` times; after those it returns."""

    seconds: float
    how: str = "returns"
    left: float = float("inf")


class Fates:
    """Drawn when first met, and kept by payload, so that another version of a job has another fate."""

    def __init__(self, scenario: Scenario, chance: Random) -> None:
        self.work_seconds = 0.0  # of all handler calls so far, as if none had been cut short
        self._scenario = scenario
        self._chance = chance
        self._fates: dict[int, Fate] = {}
        self._killers = scenario.fates.killers
        self._holders = scenario.fates.holders

    def of(self, payload: int) -> Fate:
        fate = self._fates.get(payload)
        if fate is None:
            fate = self._fates[payload] = self._draw()
        return fate

    def dressed(self, payload: int) -> Any:
        """What the source yields for it."""
        return Undecodable(payload) if self.of(payload).how == "undecodable" else payload

    def meet(self, process: Process, payload: int, killed: Callable[[], object], slowness: float = 1.0) -> None:
        """The handler's call, in a thread of `process`, which takes `slowness` times as long as in others."""
        fate = self.of(payload)
        how = fate.how if fate.left > 0 else "returns"
        if how == "holds":
            self._hold(process)
        if how == "holds for ever":
            process.hold()
            process.scheduler.sleep(HANG_SECONDS)
        if fate.seconds or how == "hangs":
            process.scheduler.sleep(HANG_SECONDS if how == "hangs" else fate.seconds * slowness)
        self.work_seconds += fate.seconds * slowness
        if how in ("raises", "exits", "kills"):
            fate.left -= 1
            self._end(how, killed)

    def _end(self, how: str, killed: Callable[[], object]) -> None:
        if how == "kills":
            killed()
            raise Killed
        raise SystemExit(3) if how == "exits" else ValueError("no")

    def _hold(self, process: Process) -> None:
        seconds = self._chance.uniform(*HOLD_SECONDS)
        process.hold()
        process.scheduler.after(seconds, process.let_go)
        process.scheduler.sleep(seconds)

    def _draw(self) -> Fate:
        shares, seconds, chance = self._scenario.fates, self._seconds(), self._chance.random()
        if self._killers and self._chance.random() < 0.2:
            self._killers -= 1
            return Fate(seconds, "kills")
        if self._holders and self._chance.random() < 0.2:
            self._holders -= 1
            return Fate(seconds, "holds for ever")
        for how, share, left in (("raises", shares.raises, 1e9), ("raises", shares.raises_once, 1),
                                 ("exits", shares.exits, 1e9), ("undecodable", shares.undecodable, 1e9),
                                 ("holds", shares.holds, 1e9), ("hangs", shares.hangs, 1e9),
                                 ("kills", shares.kills_once, 1)):
            if chance < share:
                return Fate(seconds, how, left)
            chance -= share
        return Fate(seconds)

    def _seconds(self) -> float:
        least, most = SECONDS[self._scenario.speed]
        return least * (most / least) ** self._chance.random() if least else 0.0
