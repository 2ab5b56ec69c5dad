"""How long one job takes, judging by recent ones. A wrong guess costs time, never a job."""

from __future__ import annotations


class JobDuration:
    """Seconds that one job occupies its slot: a guess that adapts quickly, and a mean that does not.

    Each observation moves the guess by 30 %, so that three slow jobs bring it to two thirds of their duration,
    however many millions of quick ones came before. But ten threads that compute under one interpreter lock run
    eleven jobs of 0.4 ms while they hold it, and the twelfth takes 45 ms: the guess swings between the two. The mean
    is taken over all jobs that ended between two calls of `roll`.
    """

    __slots__ = ("_guess", "_jobs", "_mean", "_seconds")

    WEIGHT = 0.3
    LEAST = 1e-8  # no call is faster: a clock that did not tick must not suggest infinite speed

    def __init__(self) -> None:
        self._guess: float | None = None
        self._mean: float | None = None
        self._jobs = 0  # ended since the last roll,
        self._seconds = 0.0  # and their time

    @property
    def guess(self) -> float | None:
        """Seconds; None before the first observation."""
        return self._guess

    @property
    def most(self) -> float | None:
        """Seconds by the slower of guess and mean; None before the first observation."""
        return self._guess if self._guess is None or self._mean is None else max(self._guess, self._mean)

    @property
    def least(self) -> float | None:
        """Seconds by the quicker of guess and mean; None before the first observation."""
        return self._guess if self._guess is None or self._mean is None else min(self._guess, self._mean)

    def observe(self, jobs: int, seconds: float) -> None:
        """`jobs` jobs ended; together they kept their slots for `seconds`."""
        self._jobs += jobs
        self._seconds += seconds
        self._lean_to(seconds / jobs)

    def still_running(self, seconds: float) -> None:
        """One job has been running for `seconds` and has not ended: it takes at least that long."""
        if self._guess is None or seconds > self._guess:
            self._lean_to(seconds)

    def roll(self) -> None:
        """Take the mean of what ended since the last roll; if nothing did, only the guess counts."""
        self._mean = max(self._seconds / self._jobs, self.LEAST) if self._jobs else None
        self._jobs, self._seconds = 0, 0.0

    def _lean_to(self, seconds: float) -> None:
        each = max(seconds, self.LEAST)
        if self._guess is None:
            self._guess = each
        else:
            self._guess += self.WEIGHT * (each - self._guess)
