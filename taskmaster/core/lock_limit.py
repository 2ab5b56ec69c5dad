"""How many jobs run at once in threads that share an interpreter lock: fewer where more would only wait for it."""

from __future__ import annotations

from enum import Enum
from math import ceil

from taskmaster import defaults
from taskmaster.core.concurrency import Reading


class _State(Enum):
    ALL = "as many as there are"
    FEWER = "trying fewer"
    LIMITED = "fewer"
    MORE = "trying more"


class LockLimit:
    """Finds the fewest jobs at once, of at most `most`, that take as much CPU time as all of them would.

    Ten threads that compute have the lock for 5 ms in turn, and at each turn the others wake up to ask for it. A job
    then seems to take ten times as long, and costs 14 % more CPU time than alone. So where handlers use most of a core,
    one of them runs alone for a moment. If that takes as much CPU time as before, it stays so; if half as much, two of
    them try. Handlers that wait, or release the lock, keep all slots. More are tried now and then, and as soon as
    less CPU time is taken than before; and fewer again, as readings vary on a busy machine. CPU time stands for jobs:
    it shows within milliseconds what counting jobs shows once many of them have ended.
    """

    CORE = 0.6  # CPU seconds per second: with less, the lock is free much of the time
    CORE_LEAST = 0.45  # less is no reason for a limit any more; readings vary on a busy machine
    CORE_MOST = 1.15  # with more, handlers release the lock
    SAME = 0.85  # of the CPU time that it would take without a limit
    MORE = 1.1  # times the CPU time make a higher limit worth it
    COMPUTES_SECONDS = 0.15  # before fewer are tried: imports and first calls compute in any handler
    TRIAL_SECONDS = 0.02  # four turns of the lock; lost by handlers that wait, once in
    PAUSE_SECONDS = 1.0  # after a trial that changed nothing; doubled for each further one, up to
    PAUSE_SECONDS_MOST = 60.0
    STEADY_SECONDS = 10.0  # a limit that lasted so long was right, and the pauses start over

    def __init__(self, most: int, now: float) -> None:
        self.limit = most  # how many jobs may run now,
        self.slots = most  # and without the present trial
        self.due = now  # when to call `observe`
        self._most = most
        self._state = _State.ALL
        self._at = now  # the last reading,
        self._cpu = 0.0  # what it said,
        self._clean = False  # and whether it began with no more jobs than may run
        self._computing = 0.0  # seconds for which all slots have been computing, one as much as
        self._share = 0.0  # CPU seconds per second that are there to be taken; while more are tried, that were taken
        self._pause = self.PAUSE_SECONDS
        self._next_trial = now
        self._limited_at = now  # since when not all slots were allowed
        self._down = False  # whether the next trial is with fewer; of more and fewer, in turns

    def allow(self, most: int) -> None:
        """There may be so many jobs at once from now on, as far as the lock is not concerned."""
        self._most = most
        if self._state is _State.ALL or self.limit > most:
            self._state, self.limit, self.slots = _State.ALL, most, most

    def observe(self, reading: Reading) -> None:
        """Take a reading, and change the limit if it calls for that."""
        seconds = max(reading.now - self._at, 1e-6)
        share, clean = (reading.cpu - self._cpu) / seconds, self._clean
        self._at, self._cpu, self._clean = reading.now, reading.cpu, reading.running <= self.limit
        self.due = reading.now + defaults.WATCH_SECONDS
        if reading.running < self.limit and not reading.waiting:
            self._computing = 0.0  # it was not for the limit that no more were running
        elif self._state is _State.ALL:
            self._look_at_all(seconds, share)
        elif self._state is _State.FEWER:
            self._look_at_fewer(share, max(reading.running, self.limit), clean)
        elif self._state is _State.LIMITED:
            self._look_at_limited(share)
        elif clean:
            self._look_at_more(share)

    # -- a reading in each state

    def _look_at_all(self, seconds: float, share: float) -> None:
        if not self.CORE <= share <= self.CORE_MOST:
            self._computing = 0.0
            return
        before = self._computing
        self._computing += seconds
        self._share = (self._share * before + share * seconds) / self._computing
        if self._computing >= self.COMPUTES_SECONDS and self._at >= self._next_trial:
            self._limited_at = self._at
            self._try(_State.FEWER, 1)

    def _look_at_fewer(self, share: float, running: int, clean: bool) -> None:
        if share < self.SAME * self._share:
            enough = self._enough(running, share)
            self._try(_State.FEWER, enough) if enough <= self._most // 2 else self._open()
        elif clean:
            self._settle(share)

    def _look_at_limited(self, share: float) -> None:
        if share < max(self.SAME * self._share, self.CORE_LEAST):
            self._try_more(max(self.limit + 1, self._enough(self.limit, share)), share)
        elif self._at >= self._next_trial and self.limit > 1 and self._down:
            self._share, self._down = share, False
            self._try(_State.FEWER, 1)
        elif self._at >= self._next_trial:
            self._down = True
            self._try_more(self.limit + 1, share)

    def _look_at_more(self, share: float) -> None:
        gained = share >= self.MORE * self._share
        if share > self.CORE_MOST or share < self.CORE_LEAST or (gained and self.limit == self._most):
            if self._at - self._limited_at > self.STEADY_SECONDS:
                self._pause = self.PAUSE_SECONDS
            return self._open()
        if gained:  # or it seems so: others may just have left the machine to it
            self._down, self._pause = True, self.PAUSE_SECONDS
        else:
            self.limit = self.slots
        self._settle(share)

    # -- what follows

    def _enough(self, jobs: int, share: float) -> int:
        """How many jobs take all CPU time that there is, if so many take this share."""
        return ceil(jobs * self._share / max(share, 0.01))

    def _try(self, state: _State, limit: int) -> None:
        self._state, self.limit = state, limit
        self._clean = False
        self.due = self._at + self.TRIAL_SECONDS

    def _try_more(self, limit: int, share: float) -> None:
        self._share = share
        self._try(_State.MORE, min(limit, self._most))

    def _settle(self, share: float) -> None:
        self._state, self.slots = _State.LIMITED, self.limit
        self._share = share
        self._wait()

    def _open(self) -> None:
        self._state = _State.ALL
        self.limit = self.slots = self._most
        self._computing = 0.0
        self._wait()

    def _wait(self) -> None:
        self._next_trial = self._at + self._pause
        self._pause = min(2 * self._pause, self.PAUSE_SECONDS_MOST)
