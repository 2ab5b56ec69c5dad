"""Broken parts, each wrong in one way that a reader might overlook: what a simulation must find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from taskmaster.core import dispatch, wire
from taskmaster.core.agent import Agent, Load
from taskmaster.core.blame import Suspicion
from taskmaster.core.chunks import Chunk, State
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.runs import Run, Runs
from taskmaster.core.session import Route, Session
from taskmaster.core.slave_effects import Effect, Enqueue, Exit
from taskmaster.core.watermark import Watermark
from taskmaster.core.window import AbandonedJob, Settled, Window
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.run_state import RunState
from taskmaster.master.state.writer import StateWriter

# -- the window


class RenewsBySession(Window):
    """A slave that speaks keeps all that it was ever granted."""

    def renew(self, holder: str, request: int, held: Runs) -> int:
        return 0


class RequeuesNothing(Window):
    """The dead keep their leases."""

    def forfeit(self, holder: str, how: str) -> list[AbandonedJob]:
        return []


class LateFailureOverridesLateSuccess(Window):
    """Only the holder's success counts, but anybody's failure."""

    def settle(self, holder: str, first: int, count: int) -> Settled:
        chunk = self._chunks.at(first)
        if chunk is None or chunk.holder != holder:
            return Settled(0, count, ())
        return super().settle(holder, first, count)

    @staticmethod
    def _is_newest(chunk: Chunk, holder: str, failure: wire.FailedAttempt) -> bool:
        return failure.offset in chunk.left


class LateFailureCounts(Window):
    """A failure of an attempt that was given to another since is taken for that one's."""

    @staticmethod
    def _is_newest(chunk: Chunk, holder: str, failure: wire.FailedAttempt) -> bool:
        return chunk.state is State.LEASED and failure.offset in chunk.left


class SettlesWhatWasNeverLeased(Window):
    """Who says that it is done will know."""

    def settle(self, holder: str, first: int, count: int) -> Settled:
        for chunk in self._chunks.crossing(first, count):
            chunk.granted_by_seq = chunk.granted_by_seq or 1
        return super().settle(holder, first, count)


class SettlesWhatFailed(Window):
    """A failed attempt is the end of a job, and nobody hears of it."""

    def fail(
        self, holder: str, failures: Iterable[wire.FailedAttempt], now: float,
    ) -> tuple[list[AbandonedJob], int]:
        for failure in failures:
            self.settle(holder, failure.offset, 1)
        return [], 0


class HastyWatermark(Watermark):
    """Any settled job moves it."""

    def settle(self, first: int, count: int) -> None:
        super().settle(self.offset, max(1, first + count - self.offset))


class WatermarkPassesAnUnsettledJob(Window):
    def __init__(self, first: int, size: int, most_bytes: int, attempts: int) -> None:
        super().__init__(first, size, most_bytes, attempts)
        self._mark = HastyWatermark(first)


class WatermarkPassesARetry(Window):
    """A job that waits for its next attempt holds nothing up."""

    def _retry(self, chunk: Chunk, runs: list[Run], now: float) -> None:
        super()._retry(chunk, runs, now)
        for first, count in runs:
            self._mark.settle(first, count)


class ForgetsTheSpan(Window):
    """Bounds what is unsettled, so that everything behind a stuck job runs on without end."""

    def room(self, now: float) -> int:
        return self.size - self.in_flight


class PutsSettledJobsBack(Window):
    """What is taken back is the whole lease, settled jobs and all."""

    def _requeue(self, chunk: Chunk, runs: list[Run]) -> None:
        super()._requeue(chunk, [(chunk.first, chunk.count)])


class BlamesTheNeighbours(Window):
    """Who was beside the job that killed a slave is as guilty."""

    def _suspect(self, chunk: Chunk, suspicion: Suspicion) -> None:
        deaths = min(chunk.suspicion.isolated_deaths + 1, self.attempts - 1)
        runs = [(offset, 1) for first, count in chunk.left for offset in range(first, first + count)]
        for part in self._chunks.split_off(chunk, runs):
            part.suspicion = replace(suspicion, isolated=True, isolated_deaths=deaths)
            self._chunks.insert(part)


# -- the dispatcher


class AcceptsStaleAcknowledgements(Dispatcher):
    """An offset is an offset, whichever master gave it out."""

    def _answer(self, session: Session, poll: wire.Poll, route: Route, now: float) -> list[dispatch.Effect]:
        if poll.run:
            poll = replace(poll, run=self.run, epoch=self.epoch)
        return super()._answer(session, poll, route, now)


class AcceptsAnEarlierEpoch(Dispatcher):
    """The same run is the same run, whichever of its masters gave it out."""

    def _answer(self, session: Session, poll: wire.Poll, route: Route, now: float) -> list[dispatch.Effect]:
        if poll.run == self.run:
            poll = replace(poll, epoch=self.epoch)
        return super()._answer(session, poll, route, now)


class AnyMessageRenewsAll(Dispatcher):
    """As long as somebody is heard, nobody is silent."""

    def receive(self, route: Route, frames: Sequence[bytes], now: float) -> list[dispatch.Effect]:
        for session in self._slaves._sessions.values():
            session.heard_at = now
        return super().receive(route, frames, now)


class TakesADroppedConnectionForADeath(Dispatcher):
    """No grace: who reconnects is too late."""

    def disconnected(self, peer: bytes, now: float, grace: float) -> None:
        super().disconnected(peer, now, 0.0)


# -- the agent


class UsesAnswersToOlderRequests(Agent):
    """A reply is a reply."""

    def receive(self, frames: Sequence[bytes], load: Load, now: float) -> list[Effect]:
        reply = wire.decode_reply(frames)
        assert isinstance(reply, wire.Reply)
        return super().receive(wire.encode_reply(replace(reply, seq=self._request.seq)), load, now)


class UsesAnAnswerTwice(Agent):
    """The right number is enough."""

    def receive(self, frames: Sequence[bytes], load: Load, now: float) -> list[Effect]:
        again = not self._request.awaited
        if again:
            self._request.frames = [b"", b""]
        effects = super().receive(frames, load, now)
        if again:
            self._request.frames = None
        return [effect for effect in effects if not again or isinstance(effect, Enqueue)]


class ReportsWhatItDropped(Agent):
    """To have given a job back is to have settled it."""

    def returned(self, epoch: int, first: int, count: int, now: float) -> None:
        self.settled(epoch, first, count, now)


class TakesASentReportForHeard(Agent):
    """A request that overtakes another need not say again what that one said."""

    def _ask(self, load: Load, now: float) -> wire.Frames:
        if self._request.awaited:
            self._reports._reported_done = Runs()
        return super()._ask(load, now)


class ReportsToTheNextMaster(Agent):
    """What was done for one master is done for the next."""

    def _reset(self, reply: wire.Reply) -> list[Effect]:
        done = self._reports._done
        effects = super()._reset(reply)
        self._reports._done = done
        return effects


class LeavesAtOnce(Agent):
    """Told to stop, it goes, whatever it still has at hand."""

    def _stop(self, reply: wire.Reply) -> list[Effect]:
        return [Exit()]


class TakesJobsThoughItEnds(Agent):
    """What it asked for before it was told to end is its own, even when every thread hangs."""

    def _obey(self, reply: wire.Reply, load: Load, now: float) -> list[Effect]:
        if reply.kind != "jobs":
            return super()._obey(reply, load, now)
        state, self.state = self.state, "run"
        effects = super()._obey(reply, load, now)
        self.state = state
        return effects


# -- the state


class CheckpointsWhatWasDispatched(RunState):
    """The ancestor's: what was handed out counts as settled."""

    _out = 0

    def handed_out(self, offset: int) -> None:
        self._out = offset
        super().handed_out(offset)

    def offer(self, *args: Any, **options: Any) -> None:
        super().offer(*args, **options)
        assert self._last is not None
        self._last = replace(self._last, offset=max(self._last.offset, self._out))
        self._writer.offer(self._last)


class SavesTheCursorOfTheHead(RunState):
    """Goes on after the job that was pulled last."""

    def offer(self, window: Window, *args: Any, **options: Any) -> None:
        super().offer(window, *args, **options)
        assert self._last is not None
        if self._last.has_cursor:
            self._last = replace(self._last, cursor=window._mark.cursor_of(window.head - 1))
            self._writer.offer(self._last)


class KeepsItsEpoch(RunState):
    """An epoch is only for after a crash."""

    def begin(self, found: Checkpoint | None, first_offset: int) -> None:
        super().begin(replace(found, epoch=found.epoch - 1) if found and found.epoch else found, first_offset)


class NeverHolds(RunState):
    """Hands out, saved or not."""

    def behind(self, now: float) -> bool:
        return False


class KeepsFailuresOfJobsThatRunAgain(RunState):
    """What is in the failures file stays there."""

    def begin(self, found: Checkpoint | None, first_offset: int) -> None:
        self._failures.prune = lambda watermark: 0  # type: ignore[method-assign]
        super().begin(found, first_offset)


class SavesBeforeFailures(StateWriter):
    """The checkpoint is what matters, so it goes first."""

    def _write(self) -> None:
        with self._changed:
            failures, checkpoint = tuple(self._unwritten), self._offered
            self._tried_since, self._fresh_since = self._tried_since or self._fresh_since, None
        if checkpoint is not None:
            self._folder.save(checkpoint)
        if failures:
            self._failures.append(failures)
            with self._changed:
                del self._unwritten[:len(failures)]
        self._settle(checkpoint)


class TakesFailuresOfAnotherMoment(StateWriter):
    """Looks for the newest checkpoint after the failures were written: it may rest on a later one."""

    def _write(self) -> None:
        with self._changed:
            failures = tuple(self._unwritten)
            self._tried_since, self._fresh_since = self._tried_since or self._fresh_since, None
        if failures:
            self._failures.append(failures)
            with self._changed:
                del self._unwritten[:len(failures)]
        with self._changed:
            checkpoint = self._offered
        if checkpoint is not None:
            self._folder.save(checkpoint)
        self._settle(checkpoint)


class LosesFailuresToAFullDisk(StateWriter):
    """What could not be written is not tried again."""

    def _write(self) -> None:
        try:
            super()._write()
        except OSError:
            self._unwritten = []
            raise


class LosesAnOfferMadeWhileItWrites(StateWriter):
    """What was offered is written, whatever was offered meanwhile."""

    def _settle(self, checkpoint: Checkpoint | None) -> None:
        super()._settle(checkpoint)
        with self._changed:
            self._offered, self._fresh_since = None, None
