"""Broken dispatchers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from taskmaster.core import wire
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
