"""How many jobs run at once where nobody knows how many the service behind them can take: TCP Vegas for jobs."""

from __future__ import annotations

from enum import Enum
from math import ceil, inf, sqrt

from taskmaster import defaults
from taskmaster.core.concurrency import Reading
from taskmaster.core.round import Round


class _Phase(Enum):
    START = "doubling"
    STEADY = "steady"
    HALVED = "measuring with half as many"
    RETREATED = "measuring with fewer, because jobs failed"


class AutoLimit:
    """Adapts the number of jobs at once, of at most `most`, to what they wait for.

    It is TCP Vegas (Brakmo, O'Malley, Peterson: TCP Vegas: New Techniques for Congestion Detection and Avoidance,
    SIGCOMM 1994) with jobs for segments, and with the base of BBR (Cardwell et al.: BBR: Congestion-Based Congestion
    Control, ACM Queue, 2016):

    - Slow start: the number doubles until jobs take noticeably longer than the few at the beginning.
    - Then it grows while jobs take little longer than the base latency, since what cannot be served yet would have to
      wait. So throughput grows as long as more jobs at once do more.
    - The base is measured anew each CHECK_SECONDS with half as many jobs at once. If they take half as long, they only
      waited for one another, and it stays at the half. If they take as long, that is the base now. All slaves do this
      at the same moments, as flows of BBR do in effect: one of many that halves its share would notice nothing.
    - Where more jobs fail than used to, it goes back to the last number without that, and does not come near the
      higher one for some time.

    Unlike segments, jobs differ. So a round lasts until the mean latency is known to 15 %, and begins when all jobs
    have ended that were running under the limit before.
    """

    FIRST = 10  # jobs at once
    ROUND_SECONDS = 0.25  # a few looks
    ROUND_JOBS = 20
    ROUND_ERROR, CHECK_ERROR = 0.15, 0.1  # of the latency; a check decides about half of the jobs
    ROUND_SECONDS_MOST = 10.0  # for latencies that do not settle down
    GROWTH, GROWTH_STEADY = 2.0, 1.25
    SLOW_START_ENDS = 1.5  # times the base latency: at the double of a number that had no queue
    CALM = 1.15  # times the base latency: a queue of a seventh, which keeps the service busy
    CROWDED = 2.0  # times the base latency: half of the jobs wait for the others
    SATURATED = 0.69  # of the latency with half as many jobs at once: between a half and all of it
    CHECK_SECONDS = 30.0  # costs half a round, 1 % of the time; more where
    CHECK_LATENCIES = 20  # do not fit into it
    SOON_SECONDS, SOON_LATENCIES = 3.75, 5  # the same for a check of what has just changed; an eighth, so they coincide
    MORE_FAILING = 0.05  # of the jobs than usual
    DEVIATIONS = 4  # beyond that: what chance adds to few jobs
    CEILING_SECONDS = 30.0  # for which it keeps off a number with which jobs failed
    OFF_CEILING = 0.95

    def __init__(self, most: int, now: float, clock_offset: float = 0.0) -> None:
        """`clock_offset` is what to add to `now` for the time of day, so that slaves agree when to measure."""
        self.limit = min(most, self.FIRST)
        self.due = now
        self._most = most
        self._clock_offset = clock_offset
        self._phase = _Phase.START
        self._round: Round | None = None
        self._settled_at = self.limit  # jobs ended, from which on a round may begin
        self._growth = self.GROWTH
        self._base = 0.0  # latency, in seconds
        self._usual = 0.0  # share of jobs that fail
        self._weight = 0  # jobs that both were taken from in the slow start
        self._latency = 0.0  # in the last rounds under this limit
        self._before = 0  # the limit before the present measurement,
        self._latency_before = 0.0  # and the latency
        self._failing_before = 0.0  # and the share that failed
        self._good = max(1, self.limit // 2)  # the last limit under which no more failed than usual
        self._ceiling, self._ceiling_until = inf, 0.0
        self._first = True  # the next check is the first, of a base that was measured in passing
        self._checks = False  # what is being measured is the base, and not just whether a queue helps nobody
        self._check_at = self._soon_at = inf
        self._useless = False  # a limit for being crowded, or for failures, until the next check

    @property
    def slots(self) -> int:
        """Each limit is meant to last."""
        return self.limit

    def observe(self, reading: Reading) -> None:
        """Take a reading, and change the limit if it calls for that."""
        self.due = reading.now + defaults.WATCH_SECONDS
        if self._round is None or reading.ended < self._settled_at:
            self._round = Round(reading)
            return
        self._round.look(reading)
        if self._fails(self._round):
            self._retreat(reading, self._round)
        elif reading.now >= min(self._check_at, self._soon_at) and self._phase is _Phase.STEADY and self._latency:
            self._halve(reading)
        elif self._is_over(self._round):
            self._judge(reading, self._round)

    def _is_over(self, round: Round) -> bool:
        if round.jobs < self.ROUND_JOBS or round.elapsed < max(self.ROUND_SECONDS, round.latency):
            return False
        most = max(self.ROUND_SECONDS_MOST, 3 * round.latency)
        return round.error <= (self.CHECK_ERROR if self._phase is _Phase.HALVED else self.ROUND_ERROR) \
            or round.elapsed >= most

    def _judge(self, reading: Reading, round: Round) -> None:
        {_Phase.START: self._after_start, _Phase.STEADY: self._after_steady, _Phase.HALVED: self._after_half,
         _Phase.RETREATED: self._after_retreat}[self._phase](reading, round)

    # -- growing

    def _after_start(self, reading: Reading, round: Round) -> None:
        if self._weight and round.latency > self.SLOW_START_ENDS * self._base:
            self._end_start(reading.now, round)
            self._move(reading, self.limit / self.GROWTH)
        else:
            self._weight += round.jobs
            self._base += (round.latency - self._base) * round.jobs / self._weight
            self._usual += (round.failing - self._usual) * round.jobs / self._weight
            self._good = self.limit
            self._grow(reading, round)

    def _end_start(self, now: float, round: Round) -> None:
        self._phase, self._growth = _Phase.STEADY, self.GROWTH_STEADY
        self._latency = round.latency
        self._check_at = self._next(now, self.CHECK_SECONDS, self.CHECK_LATENCIES)
        self._soon_at = self._next(now, self.SOON_SECONDS, self.SOON_LATENCIES)

    def _after_steady(self, reading: Reading, round: Round) -> None:
        self._good = self.limit
        self._latency = round.latency if not self._latency else (self._latency + round.latency) / 2
        if round.latency < self.CALM * self._base:
            return self._grow(reading, round)
        self._growth = self.GROWTH_STEADY
        if round.latency > self.CROWDED * self._base and not self._useless and self._soon_at == inf:
            self._latency = round.latency
            self._soon_at = self._next(reading.now, self.SOON_SECONDS, self.SOON_LATENCIES)
        self._continue(reading)

    def _grow(self, reading: Reading, round: Round) -> None:
        """Run more at once, if the limit is what kept them from it."""
        if round.running < 0.75 * self.limit or self.limit == self._most:
            return self._continue(reading)
        careful = self.limit * self._growth > self._ceiling
        self._move(reading, self.limit * (1.05 if careful else self._growth))

    # -- measuring with half as many

    def _next(self, now: float, seconds: float, latencies: int) -> float:
        """The next time of day that is a multiple of so many seconds, or of as many more as that many latencies."""
        while seconds < latencies * self._latency:
            seconds *= 2
        return ((now + self._clock_offset) // seconds + 1) * seconds - self._clock_offset

    def _halve(self, reading: Reading) -> None:
        self._checks = reading.now >= self._check_at or self._first
        self._phase, self._before, self._latency_before = _Phase.HALVED, self.limit, self._latency
        self._soon_at = inf
        if reading.now >= self._check_at:
            self._check_at = self._next(reading.now, self.CHECK_SECONDS, self.CHECK_LATENCIES)
        self._move(reading, self.limit / 2)

    def _after_half(self, reading: Reading, round: Round) -> None:
        self._phase = _Phase.STEADY
        checks, first = self._checks, self._first
        self._useless = self._first = False
        if round.latency < self.SATURATED * self._latency_before and self.limit < self._before:
            self._base = min(self._base, round.latency)
            self._latency = round.latency
            return self._continue(reading)
        if checks:
            self._growth = self.GROWTH if first else self.GROWTH_STEADY
            self._base, self._usual = round.latency, round.failing
        else:
            self._useless = True
        self._move(reading, self._before)

    # -- failures

    def _fails(self, round: Round) -> bool:
        allowed = (self._usual + self.MORE_FAILING) * round.jobs
        more = round.failed > allowed + self.DEVIATIONS * sqrt(allowed)
        return more and self._good < self.limit and self._phase is not _Phase.RETREATED and not self._useless

    def _retreat(self, reading: Reading, round: Round) -> None:
        if self._phase is _Phase.START:
            self._end_start(reading.now, round)
        self._ceiling, self._ceiling_until = self.limit, reading.now + self.CEILING_SECONDS
        self._phase, self._before, self._failing_before = _Phase.RETREATED, self.limit, round.failing
        self._move(reading, self._good)

    def _after_retreat(self, reading: Reading, round: Round) -> None:
        self._phase = _Phase.STEADY
        half = self._failing_before * (1 + self.limit / self._before) / 2
        if round.failing <= max(half, self._usual + self.MORE_FAILING):
            return self._continue(reading)
        self._useless, self._ceiling, self._usual = True, inf, round.failing
        self._move(reading, self._before)

    # -- the next round

    def _move(self, reading: Reading, limit: float) -> None:
        if reading.now < self._ceiling_until:
            limit = min(limit, self._ceiling * self.OFF_CEILING // 1)
        self.limit = max(1, min(self._most, ceil(limit)))
        self._latency = 0.0
        self._settled_at = reading.ended + max(reading.running, self.limit)
        self._continue(reading)

    def _continue(self, reading: Reading) -> None:
        self._round = Round(reading)
