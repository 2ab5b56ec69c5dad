"""How fast things go and what follows from it: lease and slice sizes, the rate of a run.

Nothing here keeps a promise: a wrong guess costs time, never a job. Times are seconds.
"""

from __future__ import annotations

from collections import deque
from math import ceil

from taskmaster import defaults


class JobDuration:
    """How long one job keeps a thread: a guess that is quick to turn, and a mean that is not.

    In the guess each sighting counts 30 %, so that three slow jobs bring it to two thirds of their truth, whatever
    millions of quick ones said before. But where ten threads compute under one interpreter lock, eleven jobs of
    0.4 ms run while it is held and a twelfth takes 45 ms, and the guess swings between the two. The mean is that of
    all jobs between two looks.
    """

    __slots__ = ("_guess", "_jobs", "_mean", "_seconds")

    WEIGHT = 0.3
    LEAST = 1e-8  # no call is quicker: keeps a clock that did not tick from promising endless speed

    def __init__(self) -> None:
        self._guess: float | None = None
        self._mean: float | None = None
        self._jobs = 0  # since the last look,
        self._seconds = 0.0  # and what they took

    @property
    def guess(self) -> float | None:
        """Seconds, None before the first sighting."""
        return self._guess

    @property
    def most(self) -> float | None:
        """Seconds by the slower of guess and mean, None before the first sighting."""
        return self._guess if self._guess is None or self._mean is None else max(self._guess, self._mean)

    @property
    def least(self) -> float | None:
        """Seconds by the quicker of guess and mean, None before the first sighting."""
        return self._guess if self._guess is None or self._mean is None else min(self._guess, self._mean)

    def observe(self, jobs: int, seconds: float) -> None:
        """`jobs` jobs took one thread `seconds` together."""
        self._jobs += jobs
        self._seconds += seconds
        self._lean_to(seconds / jobs)

    def still_running(self, seconds: float) -> None:
        """One job has been running for `seconds` and is not done: it is at least that slow."""
        if self._guess is None or seconds > self._guess:
            self._lean_to(seconds)

    def roll(self) -> None:
        """What was seen since the last look is the mean from now on; where nothing was, that is the guess."""
        self._mean = max(self._seconds / self._jobs, self.LEAST) if self._jobs else None
        self._jobs, self._seconds = 0, 0.0

    def _lean_to(self, seconds: float) -> None:
        each = max(seconds, self.LEAST)
        if self._guess is None:
            self._guess = each
        else:
            self._guess += self.WEIGHT * (each - self._guess)


class PrefetchTarget:
    """How many jobs a slave should hold: one for each thread and LEASE_SECONDS of work behind them.

    Nothing waits behind jobs that take longer than that: to fetch the next one is a small part of it, and another
    slave may have a thread for it at once. To what waits comes work for twice as long as an answer takes, for half of
    it has to last until the next one, however far away or busy the master is.

    Nor does it hold more than it has handled so far, for the first jobs may be quicker than the rest; and beyond one
    for each thread never more than HELD_BYTES of payloads.
    """

    __slots__ = ("_handled", "_job_bytes", "_job_duration", "threads", "trip")

    MOST_TRIP = 0.2  # seconds: so that no more than half a second of work waits
    LEAST_BYTES = 40.0  # of a job once it is decoded: a small int is 5 on the wire, 32 and its place in a list here

    def __init__(self, threads: int, job_duration: JobDuration) -> None:
        self.threads = threads
        self.trip = 0.0  # seconds from a request to its answer
        self._job_duration = job_duration
        self._handled = 0
        self._job_bytes = self.LEAST_BYTES  # of late

    def target(self) -> int:
        """Jobs to hold, running ones counted; at least the number of threads."""
        return self._enough(self._job_duration.most)

    def most(self) -> int:
        """Jobs to hold before some are given back: the target if jobs took half as long, for a guess wavers."""
        least = self._job_duration.least
        return self._enough(least / 2 if least is not None else None)

    def _enough(self, each: float | None) -> int:
        seconds = defaults.LEASE_SECONDS + 2 * min(self.trip, self.MOST_TRIP)
        if each is None or each > seconds:
            return self.threads
        behind = int(min(self.threads * seconds / each, defaults.HELD_BYTES / self._job_bytes))
        return self.threads + min(behind, self._handled)

    def received(self, jobs: int, size: int) -> None:
        """`jobs` jobs of `size` bytes came."""
        self._job_bytes = max(self.LEAST_BYTES, size / max(1, jobs))

    def handled(self, jobs: int) -> None:
        """`jobs` jobs were handled: as many more may be held from now on."""
        self._handled += jobs

    def slice_size(self, queued: int) -> int:
        """How many of the queued jobs one thread should take: SLICE_SECONDS of work, and no more than its share."""
        guess = self._job_duration.guess
        if guess is None:
            return 1
        share = ceil(queued / self.threads) if guess > 1e-5 else queued
        return max(1, min(int(defaults.SLICE_SECONDS / guess), share))


def lease_size(want: int, ready: int, size: int, slaves: int, returned: bool = False) -> int:
    """Jobs for one lease: what the slave wants, yet leave the others their share of what is there.

    A share is half of an equal part of the ready jobs, so that leases shrink towards the end of the source
    (guided self-scheduling), and at most a quarter of an equal part of the window, so that a slave always has one
    lease behind it and one before it. What takes a slave a fiftieth of the time it asked for (about 1 ms) is cut no
    further than to its whole part, and to half of that of the window: of no-ops the round trip to the master takes
    longer than the work. But of jobs that a slave `returned` everyone gets a share alone: they were slower than it
    thought, and the next one may think the same.
    """
    share = min(ceil(ready / (2 * slaves)), ceil(size / (4 * slaves)))
    little = 0 if returned else min(want // 50, ceil(ready / slaves), ceil(size / (2 * slaves)))
    return max(1, min(want, ready, max(share, little)))


class TokenBucket:
    """At most `rate` jobs a second, by a bucket that holds a tenth of a second's worth; None is no limit."""

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._level = self._most()
        self._at: float | None = None

    def allowed(self, now: float) -> int | None:
        """How many jobs may go out now; None is any number."""
        if self.rate is None:
            return None
        if self._at is not None:
            self._level = min(self._most(), self._level + (now - self._at) * self.rate)
        self._at = now
        return int(self._level + 1e-9)  # a sum of steps may fall short of a whole job by its rounding

    def spent(self, jobs: int) -> None:
        if self.rate is not None:
            self._level -= jobs

    def due(self, now: float) -> float | None:
        """When the next job may go out; None where there is no limit."""
        if self.rate is None:
            return None
        return now + max(0.0, (1 - self._level) / self.rate)

    def _most(self) -> float:
        return max(1.0, (self.rate or 0) / 10)


class Meter:
    """The rate of a growing count over about the last ten seconds."""

    __slots__ = ("_seen",)

    SECONDS = 10.0

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, now: float, count: int) -> None:
        if self._seen and now - self._seen[-1][0] < 0.1:
            return
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] >= self.SECONDS:
            self._seen.popleft()

    def rate(self, now: float, count: int) -> float:
        """Per second; 0 before anything was seen."""
        if not self._seen or now <= self._seen[0][0]:
            return 0.0
        then, before = self._seen[0]
        return (count - before) / (now - then)


class PullSize:
    """How many jobs to pull from the source at once: about PULL_SECONDS of pulling.

    A slow source is pulled one job at a time, so that each is on its way at once; a fast one by thousands.
    """

    __slots__ = ("_jobs", "_pulls", "single")

    PULL_SECONDS = 0.002
    MOST = 4096  # a lease of quick jobs is a few whole slices: to cut one costs as much as to encode it
    # A lease of large jobs is one slice: several in one message are copied once more at both ends.
    MOST_BYTES = defaults.LEASE_BYTES * 7 // 8

    def __init__(self) -> None:
        self._jobs = 1
        self._pulls = 0
        self.single = False  # one at a time, whatever it takes

    @property
    def jobs(self) -> int:
        """The second pull is of one job again, so that two neighbours are seen before any are pulled together."""
        return 1 if self.single or self._pulls < 2 else self._jobs

    def took(self, jobs: int, seconds: float, size: int) -> None:
        """Pulling `jobs` jobs took `seconds`, and they came to `size` bytes encoded."""
        self._pulls += 1
        if seconds > 4 * self.PULL_SECONDS:
            self._jobs = max(1, int(jobs * self.PULL_SECONDS / seconds))
        elif seconds < self.PULL_SECONDS and jobs >= self._jobs:
            self._jobs = min(2 * self._jobs, self.MOST)
        if size > self.MOST_BYTES // 2:
            self._jobs = min(self._jobs, max(1, jobs * self.MOST_BYTES // size))
