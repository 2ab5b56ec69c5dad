"""Broken dispatchers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from taskmaster.core import wire
from taskmaster.core.compatibility import Compatibility
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Effect
from taskmaster.core.session import Route, Session


class AcceptsStaleAcknowledgements(Dispatcher):
    """Accepts an offset whichever master handed it out."""

    def _answer(self, session: Session, poll: wire.Poll, route: Route, now: float) -> list[Effect]:
        if poll.run:
            poll = replace(poll, run=self.run, epoch=self.epoch)
        return super()._answer(session, poll, route, now)


class AcceptsAnEarlierEpoch(Dispatcher):
    """Accepts an offset whichever master of this run handed it out."""

    def _answer(self, session: Session, poll: wire.Poll, route: Route, now: float) -> list[Effect]:
        if poll.run == self.run:
            poll = replace(poll, epoch=self.epoch)
        return super()._answer(session, poll, route, now)


class AnyMessageRenewsAll(Dispatcher):
    """As long as one slave is heard, none is silent."""

    def receive(self, route: Route, frames: Sequence[bytes], now: float) -> list[Effect]:
        for session in self._slaves._sessions.values():
            session.heard_at = now
        return super().receive(route, frames, now)


class TakesADroppedConnectionForADeath(Dispatcher):
    """Allows no time to reconnect."""

    def disconnected(self, peer: bytes, now: float, grace: float) -> None:
        super().disconnected(peer, now, 0.0)


class TakesAnyHandler(Dispatcher):
    """Does not look at whose handler a slave has."""

    def receive(self, route: Route, frames: Sequence[bytes], now: float) -> list[Effect]:
        self._compatibility = Compatibility({})
        return super().receive(route, frames, now)


class LooksOnlyAtNewHandlers(Dispatcher):
    """Looks at whose handler a slave has only where it does not know the slave yet, which then may not have said."""

    def _turn_away(self, poll: wire.Poll, route: Route, reason: str, now: float) -> list[Effect]:
        session = self._slaves.find(poll.slave_id)
        return self._answer(session, poll, route, now) if session else super()._turn_away(poll, route, reason, now)
