"""A slave's decisions: what to ask and report, what to start and drop, when to stop waiting for a master.

Time and events come in, messages and effects go out; the control loop around it owns the socket, the backlog and the
pool. One request awaits its answer at a time; one that the master holds is overtaken by a newer one as soon as there
is something to report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.backlog_policy import BacklogPolicy
from taskmaster.core.codec import Bytes
from taskmaster.core.job_duration import JobDuration
from taskmaster.core.outstanding_request import OutstandingRequest
from taskmaster.core.prefetch_target import PrefetchTarget
from taskmaster.core.reports import Reports
from taskmaster.core.results import Results
from taskmaster.core.runs import Runs
from taskmaster.core.slave_effects import (Cancel, DiscardAll, Drain, Effect, Enqueue, Exit, MasterLost, Rebuild,
                                           Refused, Request)
from taskmaster.core.transfer import Transfer
from taskmaster.core.wire import FailedAttempt, Poll, Reply


@dataclass(frozen=True)
class Load:
    """What the pool is doing: jobs queued for it, and slots without a job."""

    queued: int
    idle: int


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for an answer before asking again, and how often to ask again."""

    timeout: float = defaults.REPLY_TIMEOUT_MS / 1000
    retries: int = defaults.RETRIES


class Agent:
    """One slave's side of the exchange. It runs `slots` jobs at once, of which each call of its handler takes up to
    `batch`."""

    def __init__(self, slave_id: str, slots: int, info: dict[str, Any], patience: Patience, now: float,
                 batch: int = 1) -> None:
        self.slave_id = slave_id
        self.job_duration = JobDuration()
        self.prefetch = PrefetchTarget(slots, self.job_duration, batch)
        self.backlog_policy = BacklogPolicy(self.job_duration, self.prefetch)
        self.epoch = 0  # counts this slave's masters: the masters' own epochs start over with a new run
        self.state = "run"
        self.dismissed = False  # the master told it to stop before it wanted to stop itself
        self.held = Runs()
        self._dropped = Runs()  # of those, what others have settled or been given: no reason to stay
        self._run = ""
        self._master_epoch = 0
        self._info = info
        self._introduced = False  # the current master has received `info`
        self._patience = patience
        self._reports = Reports()
        self._request = OutstandingRequest(now)
        self._ask_after = now  # the master had no work: do not ask for any before this time
        self._heartbeat = defaults.HEARTBEAT_SECONDS

    # -- from the pool

    def settled(self, epoch: int, first: int, count: int, now: float, lines: bytes | None = None) -> None:
        """The handler returned for these jobs of a lease of `epoch`; `lines` are their results, if wanted."""
        if epoch == self.epoch and self.held.remove(first, count):
            if lines is None:
                self._reports.settled(first, count, now)
            else:
                self._reports.returned_results(Results(first, count, lines), now)
            self.prefetch.handled(count)

    def failed(self, epoch: int, failure: FailedAttempt, now: float) -> None:
        """One attempt at one job failed."""
        if epoch == self.epoch and self.held.remove(failure.offset, 1):
            self._reports.failed(failure, now)

    def returned(self, epoch: int, first: int, count: int, now: float) -> None:
        """These left the backlog unstarted: the master takes them back once a request no longer lists them."""
        if epoch == self.epoch and self.held.remove(first, count):
            self._reports.returned(first, count, now)

    def drain(self) -> None:
        """Ask for nothing more; exit when what is held is settled."""
        if self.state == "run":
            self.state = "drain"

    def speak_up(self, now: float) -> None:
        """If anything is held, send a request soon: the answer may say that it is not worth waiting for."""
        if self.held:
            self._reports.declined(now)

    def let_go(self, now: float, jobs: Runs | None = None) -> None:
        """Give back these jobs, or all that are held, even what is running, whose outcome no longer counts."""
        for run in self.held if jobs is None else jobs:
            for first, count in self.held.inside(*run):
                self.returned(self.epoch, first, count, now)

    def say_goodbye(self, load: Load, now: float) -> list[Effect]:
        """Leave now: report what is finished, give back the rest, and wait for no answer.

        Unsaid, the lost connection would be one more death under the jobs that were running.
        """
        self.drain()
        self.let_go(now)
        return [Request(self._ask(load, now))]

    def reconnected(self) -> None:
        """Reconnected: the outstanding request is lost, so the next tick sends one."""
        self._request.reconnected()

    @property
    def quiet(self) -> bool:
        """Whether nothing is held and nothing is left to report."""
        return not self.held and self._reports.delivered

    def wake_below(self, waiting: int) -> int:
        """Of `waiting` slices, the number left below which the end of one should wake the control loop; 0 is never.

        Nothing can be reported while an answer is outstanding; waking up for it made up half of the loop's turns. And
        more jobs are requested only when half of those that wait are gone: a turn at the end of each slice of 2 ms took
        a tenth of a slave's CPU time.
        """
        return 0 if self._request.answer_is_due else waiting // 2 + 1

    # -- the clock

    def tick(self, load: Load, now: float) -> list[Effect]:
        """What to send now, if anything."""
        if self._dropped and self.state != "run":
            self.let_go(now, self._dropped)
        request, overdue = self._request, self._request.overdue_at(self._patience.timeout) <= now
        if request.awaited and overdue and request.tries >= self._most_tries:
            return [MasterLost(request.silence(now))] if self.state == "run" else [Exit()]
        if request.frames is not None and request.recover(now):
            return [Request(request.frames)]
        if self._due(load) <= now:
            return [Request(self._ask(load, now))]
        if request.frames is not None and overdue:
            rebuild = request.resend(now) % defaults.REBUILD_AFTER == 0
            return [Rebuild(request.frames) if rebuild else Request(request.frames)]
        return []

    def next_due(self, load: Load) -> float:
        """When `tick` should be called at the latest if nothing happens earlier."""
        due = self._due(load)
        return min(due, self._request.overdue_at(self._patience.timeout)) if self._request.awaited else due

    def doubts(self, load: Load, now: float) -> bool:
        """Whether it is about to ask again, or for more, instead of waiting for an answer: see `carried`."""
        return self._request.awaited and self.next_due(load) <= now

    def carried(self, transfer: Transfer | None, now: float) -> None:
        """A look at the connection: an answer of megabytes over a slow line is worth waiting for."""
        self._request.carried(transfer, now)

    def sent(self, transfer: Transfer | None) -> None:
        """The request went out over a connection that has carried that much."""
        self._request.sent(transfer)

    @property
    def _most_tries(self) -> int:
        """In tries, not in seconds: while this process was suspended the clock ran on, but it asked nobody."""
        patience = self._patience
        if self.state == "run":
            return patience.retries
        return min(patience.retries, max(1, round(defaults.LEAVING_SECONDS / patience.timeout)))

    def _due(self, load: Load) -> float:
        """When a new request should go out; never while one that must not be overtaken is outstanding."""
        news, sent_at = self._news_due(load), self._request.sent_at
        if self._request.awaited:
            return max(news, self._request.overtakable_at(self.prefetch.trip))
        times = [sent_at + self._heartbeat, news]
        if self.state == "run" and self._wants(load):
            times.append(self._ask_after)
        if self.state != "run" and self.quiet:
            times.append(sent_at)
        return min(times)

    def _wants(self, load: Load) -> bool:
        """Whether to ask for work: when a slot is idle, or too few jobs wait behind the slots."""
        held = len(self.held)
        return held < self._target and (load.idle > load.queued or self.prefetch.runs_low(held))

    @property
    def _target(self) -> int:
        """How many jobs to hold; none while failures are queued to be reported, or retries would never be reached."""
        return 0 if self._reports.congested else self.prefetch.target()

    def _news_due(self, load: Load) -> float:
        since = self._reports.pending_since
        if since is None:
            return inf
        if load.idle == self.prefetch.slots and not load.queued:
            return since  # nothing else is coming that could be sent with it, and the window may be waiting for it
        idle = load.idle > 0 or self.state != "run"
        return since + (defaults.REPORT_SECONDS_IDLE if idle else defaults.REPORT_SECONDS)

    # -- requests

    def _ask(self, load: Load, now: float) -> wire.Frames:
        seq = self._request.begin(now)
        self._reports.collect()
        last = self.state != "run" and not self.held and not self._reports.pending
        state = "bye" if last else self.state
        want = int(max(0, min(self._target - len(self.held), self.prefetch.most_at_once()))) if state == "run" else 0
        # Not with failures left to report: they wait for the answer to this request.
        self._request.parkable = want > 0 and load.idle > load.queued and not self._reports.pending
        wait_ms = self._wait_ms if self._request.parkable else 0
        poll = Poll(self._run, self._master_epoch, self.slave_id, seq, want, wait_ms, state, self._reports.listed,
                    self._reports.done, self._reports.failures, {} if self._introduced else self._info,
                    results=self._reports.results, slots=self.prefetch.new_slots)
        self._request.frames = wire.encode_poll(poll)
        return self._request.frames

    @property
    def _wait_ms(self) -> int:
        """How long the master may hold a request: beyond the timeout it would look lost, and the connection dead."""
        return min(int(1000 * defaults.PARK_SECONDS), int(750 * self._patience.timeout))

    # -- replies

    def receive(self, frames: Sequence[Bytes], load: Load, now: float) -> list[Effect]:
        """Act on the master's answer. Anything but an answer to the outstanding request is ignored."""
        request, reply = self._request, wire.decode_reply(frames)
        if isinstance(reply, wire.WireError) or not request.awaited:
            return []
        if (reply.slave_id, reply.seq) != (self.slave_id, request.seq):
            return []
        if reply.kind == "error":
            return [Refused(reply.reason)]
        if reply.kind == "reset" or not request.parkable:  # an answer that was not held back
            self.prefetch.trip = now - request.sent_at
        request.answered(now)
        self._heartbeat = max(defaults.HEARTBEAT_SECONDS_LEAST, reply.heartbeat_ms / 1000)
        if reply.kind == "reset" or (reply.run, reply.epoch) != (self._run, self._master_epoch):
            return self._reset(reply)
        self._introduced = True
        self._reports.answered()
        return self._obey(reply, load, now)

    def _reset(self, reply: Reply) -> list[Effect]:
        """Another master answers: what this slave holds and reports was for the previous one."""
        known = bool(self._run)
        self._run, self._master_epoch = reply.run, reply.epoch
        self.epoch += 1
        self._introduced = False
        self.held, self._dropped = Runs(), Runs()
        self._reports.clear()
        self._ask_after = 0.0
        if self.state == "run":
            self._request.hasten()
        return [DiscardAll()] if known else []

    def _obey(self, reply: Reply, load: Load, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if reply.drop:
            effects.append(Cancel(reply.drop))
            self._dropped = Runs(part for run in (*self._dropped, *reply.drop) for part in self.held.inside(*run))
        if reply.kind == "jobs":
            effects += self._take(reply, load, now)
        elif reply.kind == "wait":
            self._ask_after = now + reply.wait_ms / 1000
        elif reply.kind == "stop":
            effects += self._stop(reply)
        return effects

    def _take(self, reply: Reply, load: Load, now: float) -> list[Effect]:
        if self.state != "run":  # requested earlier: behind the hung thread that made it end they could wait for ever
            self._reports.declined(now)
            return []
        for lease in reply.leases:
            self.held.add(lease.first, lease.count)
            self._dropped.remove(lease.first, lease.count)
            self._reports.leased(lease.first, lease.count)
        jobs, size = sum(lease.count for lease in reply.leases), sum(len(lease.blob) for lease in reply.leases)
        self.prefetch.received(jobs, size, len(self.held), now - self._request.sent_at)
        taken: list[Effect] = [Enqueue(reply.leases, reply.results)]
        if self.prefetch.cut_short and len(self.held) < self._target:
            # Before decoding these, so that the master prepares the next megabyte meanwhile.
            taken.insert(0, Request(self._ask(Load(load.queued + jobs, 0), now)))
        return taken

    def _stop(self, reply: Reply) -> list[Effect]:
        self.dismissed |= self.state == "run"
        if self.quiet:
            return [Exit()]
        self.drain()
        return [Drain(reply.reason)]
