"""Broken watchdogs."""

from __future__ import annotations

from taskmaster import defaults
from taskmaster.fleet.watchdog import Verdict, Watchdog


class NeverKills(Watchdog):
    """Finds every slave well."""

    def look(self, beats: int, now: float) -> Verdict:
        return Verdict.FINE


class TakesItsOwnSuspensionForSilence(Watchdog):
    """Goes by the clock alone, also while its fleet was not listening."""

    def look(self, beats: int, now: float) -> Verdict:
        if beats == self._beats and beats and self._looked_at is not None:
            self.silence += max(0.0, now - self._looked_at - defaults.WATCHDOG_LOOK_SECONDS)
        return super().look(beats, now)
