"""Broken agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from taskmaster.core import wire
from taskmaster.core.agent import Agent, Load
from taskmaster.core.runs import Runs
from taskmaster.core.slave_effects import Effect, Enqueue, Exit


class UsesAnswersToOlderRequests(Agent):
    """Takes any reply for the answer to its newest request."""

    def receive(self, frames: Sequence[bytes | memoryview], load: Load, now: float) -> list[Effect]:
        reply = wire.decode_reply(frames)
        assert isinstance(reply, wire.Reply)
        return super().receive(wire.encode_reply(replace(reply, seq=self._request.seq)), load, now)


class UsesAnAnswerTwice(Agent):
    """Takes a reply with the right number even when none is due."""

    def receive(self, frames: Sequence[bytes | memoryview], load: Load, now: float) -> list[Effect]:
        again = not self._request.awaited
        if again:
            self._request.frames = [b"", b""]
        effects = super().receive(frames, load, now)
        if again:
            self._request.frames = None
        return [effect for effect in effects if not again or isinstance(effect, Enqueue)]


class ReportsWhatItDropped(Agent):
    """Reports a job that it gave back as settled."""

    def returned(self, epoch: int, first: int, count: int, now: float) -> None:
        self.settled(epoch, first, count, now)


class TakesASentReportForHeard(Agent):
    """Does not repeat in a request what an unanswered one said."""

    def _ask(self, load: Load, now: float) -> wire.Frames:
        if self._request.awaited:
            self._reports._reported_done = Runs()
        return super()._ask(load, now)


class ReportsToTheNextMaster(Agent):
    """Reports to a new master what was done for the one before."""

    def _reset(self, reply: wire.Reply) -> list[Effect]:
        done = self._reports._done
        effects = super()._reset(reply)
        self._reports._done = done
        return effects


class LeavesAtOnce(Agent):
    """Exits at once when told to stop, whatever it still holds."""

    def _stop(self, reply: wire.Reply) -> list[Effect]:
        return [Exit()]
