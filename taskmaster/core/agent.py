"""The slave's decisions: what to ask, report, start and drop, and when to give up.

The time and what happened come in, messages and effects go out; the control loop around it owns the socket, the
backlog and the pool. One request is under way at a time; one that the master holds is overtaken by a newer one as
soon as there is something to report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.codec import Bytes
from taskmaster.core.pace import JobDuration, PrefetchTarget
from taskmaster.core.runs import Runs
from taskmaster.core.slave_effects import (Cancel, DiscardAll, Drain, Effect, Enqueue, Exit, MasterLost, Rebuild,
                                           Refused, Request)
from taskmaster.core.wire import FailedAttempt, Poll, Reply


@dataclass(frozen=True)
class Load:
    """What the pool has on its hands: jobs that wait, threads without a job."""

    queued: int
    idle: int


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer before asking again, and how often to."""

    timeout: float = defaults.REPLY_TIMEOUT_MS / 1000
    retries: int = defaults.RETRIES


class Agent:
    """One slave's side of the exchange."""

    MOST_FAILURES = 64  # in one report,
    MOST_TEXT = 100_000  # with at most this many characters of theirs, so that any alphabet fits the frame
    MOST_RUNS = 4000  # in a list: a header's worth; a job left out of `held` is merely run by another, too
    LEAVING_SECONDS = 10.0  # patience of a slave that is told to end: the master may have gone by now
    WAIT_MS = int(defaults.PARK_SECONDS * 1000)

    def __init__(self, slave_id: str, threads: int, info: dict[str, Any], patience: Patience, now: float) -> None:
        self.slave_id = slave_id
        self.pace = JobDuration()
        self.prefetch = PrefetchTarget(threads, self.pace)
        self.epoch = 0  # counts this slave's masters: the masters' own epochs start anew with a new run
        self.state = "run"
        self.dismissed = False  # told to stop by the master, before it wanted to itself
        self.held = Runs()
        self._run = ""
        self._master_epoch = 0
        self._info = info
        self._introduced = False  # the master that answers now has heard `info`
        self._patience = patience
        self._to_list = Runs()  # what is held and what no request has told of yet: left out, that would be given back
        self._done = Runs()  # settled, not yet in a request
        self._failed: deque[FailedAttempt] = deque()
        self._reported_done = Runs()  # in the request under way, or an overtaken one: not known to have arrived
        self._reported_failed: list[FailedAttempt] = []
        self._seq = 0
        self._asked: wire.Frames | None = None  # the request under way
        self._held_when_fed = 0.0  # jobs held when the last ones came; inf if their bytes left no room for more
        self._parkable = False
        self._unheard = False  # the request under way went down with its connection
        self._sent_at = now
        self._heard_at = now
        self._silent = 0
        self._ask_after = now  # the master had no work: do not ask for some before
        self._heartbeat = defaults.HEARTBEAT_SECONDS
        self._oldest_news: float | None = None

    # -- from the pool

    def settled(self, epoch: int, first: int, count: int, now: float) -> None:
        """The handler returned for these jobs, which came in a lease of `epoch`."""
        if epoch == self.epoch and self.held.remove(first, count):
            self._done.add(first, count)
            self.prefetch.handled(count)
            self._note_news(now)

    def failed(self, epoch: int, failure: FailedAttempt, now: float) -> None:
        """One attempt at one job failed."""
        if epoch == self.epoch and self.held.remove(failure.offset, 1):
            self._failed.append(failure)
            self._note_news(now)

    def returned(self, epoch: int, first: int, count: int, now: float) -> None:
        """These were taken out of the backlog unstarted: the master has them back when it hears they are not held."""
        if epoch == self.epoch and self.held.remove(first, count):
            self._to_list.remove(first, count)
            self._note_news(now)

    def drain(self) -> None:
        """Ask for nothing more; leave when what is held is settled."""
        if self.state == "run":
            self.state = "drain"

    def reconnected(self) -> None:
        """The connection broke and is there again: what was under way is lost, so the next tick speaks.

        A master gives up a slave that it does not hear again within a quarter of a second, two across a network.
        """
        self._unheard = self._asked is not None
        if not self._unheard:
            self._sent_at = _LONG_AGO

    @property
    def quiet(self) -> bool:
        """Nothing is held and nothing waits to be reported."""
        return not self.held and not self._news and not self._reported_done and not self._reported_failed

    @property
    def answer_is_due(self) -> bool:
        """A request is under way that the master does not hold: until its answer nothing else can be said."""
        return self._asked is not None and not self._parkable

    # -- the clock

    def tick(self, load: Load, now: float) -> list[Effect]:
        """What to send now, if anything."""
        if self._asked is not None and now - self._heard_at >= self._patience_seconds:
            return [MasterLost(now - self._heard_at)] if self.state == "run" else [Exit()]
        if self._unheard and self._asked is not None:
            self._unheard, self._sent_at = False, now
            return [Request(self._asked)]
        if self._due(load) <= now:
            return [Request(self._ask(load, now))]
        if self._asked is not None and now - self._sent_at >= self._patience.timeout:
            return [self._resend(now)]
        return []

    def next_due(self, load: Load) -> float:
        """When `tick` should be called at the latest, if nothing happens before."""
        due = self._due(load)
        return due if self._asked is None else min(due, self._sent_at + self._patience.timeout)

    @property
    def _patience_seconds(self) -> float:
        patience = self._patience.timeout * self._patience.retries
        return patience if self.state == "run" else min(patience, self.LEAVING_SECONDS)

    def _due(self, load: Load) -> float:
        """When a new request should go out; far away while one is under way that may not be overtaken."""
        news = self._news_due(load)
        if self._asked is not None:
            return max(news, self._sent_at + self._parked_after) if self._parkable else _NEVER
        times = [self._sent_at + self._heartbeat, news]
        if self.state == "run" and self._wants(load):
            times.append(self._ask_after)
        if self.state != "run" and self.quiet:
            times.append(self._sent_at)
        return min(times)

    @property
    def _parked_after(self) -> float:
        """Seconds after which a request that may be held is: overtaken sooner, it loses the jobs in its answer."""
        return max(defaults.REPORT_SECONDS_IDLE, 2 * self.prefetch.trip)

    def _wants(self, load: Load) -> bool:
        """Whether to ask for work: when a thread is idle, or half of the work behind the threads is gone.

        A lease that was cut by its bytes is followed by the next request at once: there is work to do while that is
        under way. Asking when the last one was done halved the rate of 5 kB jobs. One that was cut to a share is what
        there was: asking for the rest at once cost a no-op on one thread five times the requests.
        """
        held, enough = len(self.held), min(self._target, self._held_when_fed)
        behind = enough - self.prefetch.threads
        return held < self._target and (load.idle > load.queued or 0 < behind <= 2 * (enough - held))

    @property
    def _target(self) -> int:
        """How many jobs to hold; none while failures queue up to be told, or their retries would never be reached."""
        return 0 if len(self._failed) >= self.MOST_FAILURES else self.prefetch.target()

    def _news_due(self, load: Load) -> float:
        if self._oldest_news is None:
            return _NEVER
        if load.idle == self.prefetch.threads and not load.queued:
            return self._oldest_news  # nothing more comes to be told with it, and the window may be waiting for it
        idle = load.idle > 0 or self.state != "run"
        return self._oldest_news + (defaults.REPORT_SECONDS_IDLE if idle else defaults.REPORT_SECONDS)

    def _resend(self, now: float) -> Effect:
        assert self._asked is not None
        self._silent += 1
        self._sent_at = now
        return Rebuild(self._asked) if self._silent % defaults.REBUILD_AFTER == 0 else Request(self._asked)

    # -- requests

    def _ask(self, load: Load, now: float) -> wire.Frames:
        self._seq += 1
        self._sent_at = now
        if self._asked is None or (self._parkable and not self._silent):
            self._heard_at = now  # silence counts from the question; a master that holds one is not silent
        self._collect()
        last = self.state != "run" and not self.held and not self._news
        state = "bye" if last else self.state
        want = max(0, self._target - len(self.held)) if state == "run" else 0
        # Not with failures left to tell: they wait for the answer to this request.
        self._parkable = want > 0 and load.idle > load.queued and not self._news
        # A request held back for longer than the timeout would look lost: three of those, and the connection is left.
        wait = min(self.WAIT_MS, int(self._patience.timeout * 750)) if self._parkable else 0
        poll = Poll(self._run, self._master_epoch, self.slave_id, self._seq, want, wait, state,
                    tuple(self._to_list)[:self.MOST_RUNS], tuple(self._reported_done), tuple(self._reported_failed),
                    {} if self._introduced else self._info)
        self._asked = wire.encode_poll(poll)
        return self._asked

    def _collect(self) -> None:
        """What is not known to have arrived goes into the next request, as far as it fits."""
        while self._done and self._reported_done.count_of_runs < self.MOST_RUNS:
            run = self._done.pop_first()
            self._reported_done.add(*run)
            self._to_list.remove(*run)
        text = sum(map(_length, self._reported_failed))
        while self._failed and len(self._reported_failed) < self.MOST_FAILURES and text < self.MOST_TEXT:
            failure = self._failed.popleft()
            self._reported_failed.append(failure)
            self._to_list.remove(failure.offset, 1)
            text += _length(failure)
        if not self._failed and not self._done:
            self._oldest_news = None

    @property
    def _news(self) -> bool:
        return self._oldest_news is not None

    def _note_news(self, now: float) -> None:
        if self._oldest_news is None:
            self._oldest_news = now

    # -- replies

    def receive(self, frames: Sequence[Bytes], load: Load, now: float) -> list[Effect]:
        """What the master's answer asks for; anything but the answer to the request under way is ignored."""
        reply = wire.decode_reply(frames)
        if (isinstance(reply, wire.WireError) or self._asked is None
                or (reply.slave_id, reply.seq) != (self.slave_id, self._seq)):
            return []
        if reply.kind == "error":
            return [Refused(reply.reason)]
        if reply.kind == "reset" or not self._parkable:  # an answer that was not held back
            self.prefetch.trip = now - self._sent_at
        self._asked, self._heard_at, self._silent = None, now, 0
        self._heartbeat = max(0.05, reply.heartbeat_ms / 1000)
        if reply.kind == "reset" or (reply.run, reply.epoch) != (self._run, self._master_epoch):
            return self._reset(reply)
        self._introduced = True
        self._reported_done, self._reported_failed = Runs(), []
        return self._obey(reply, load, now)

    def _reset(self, reply: Reply) -> list[Effect]:
        """Another master answers: what this slave holds and reports was for the earlier one."""
        known = bool(self._run)
        self._run, self._master_epoch = reply.run, reply.epoch
        self.epoch += 1
        self._introduced = False
        self.held, self._to_list, self._done, self._reported_done = Runs(), Runs(), Runs(), Runs()
        self._failed.clear()
        self._reported_failed = []
        self._oldest_news = None
        self._ask_after = 0.0
        self._sent_at = _LONG_AGO if self.state == "run" else self._sent_at
        return [DiscardAll()] if known else []

    def _obey(self, reply: Reply, load: Load, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if reply.drop:
            effects.append(Cancel(reply.drop))
        if reply.kind == "jobs":
            effects += self._take(reply, load, now) if self.state == "run" else self._decline(now)
        elif reply.kind == "wait":
            self._ask_after = now + reply.wait_ms / 1000
        elif reply.kind == "stop":
            effects += self._stop(reply)
        return effects

    def _decline(self, now: float) -> list[Effect]:
        """Asked for before it was told to end: as the next request does not list them, they go to others. Taken,
        they would wait for ever where every thread hangs, which is why slaves with --job-timeout end."""
        self._note_news(now)
        return []

    def _take(self, reply: Reply, load: Load, now: float) -> list[Effect]:
        for lease in reply.leases:
            self.held.add(lease.first, lease.count)
            self._to_list.add(lease.first, lease.count)
        jobs, size = sum(lease.count for lease in reply.leases), sum(len(lease.blob) for lease in reply.leases)
        self._held_when_fed = inf if 2 * size > defaults.LEASE_BYTES else len(self.held)
        self.prefetch.received(jobs, size)
        taken: list[Effect] = [Enqueue(reply.leases)]
        if self._held_when_fed == inf and len(self.held) < self._target:
            # First, so that the master gets the next megabyte ready while this one is decoded.
            taken.insert(0, Request(self._ask(Load(load.queued + jobs, 0), now)))
        return taken

    def _stop(self, reply: Reply) -> list[Effect]:
        self.dismissed |= self.state == "run"
        if self.quiet:
            return [Exit()]
        self.drain()
        return [Drain(reply.reason)]


def _length(failure: FailedAttempt) -> int:
    return len(failure.message) + len(failure.traceback) + len(failure.error)


_NEVER = float("inf")
_LONG_AGO = float("-inf")
