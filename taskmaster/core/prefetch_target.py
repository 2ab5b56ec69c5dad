"""How many jobs a slave should hold, running ones included."""

from __future__ import annotations

from math import inf

from taskmaster import defaults
from taskmaster.core.job_duration import JobDuration
from taskmaster.core.transfer import LinkPace


class PrefetchTarget:
    """One job for each slot, and LEASE_SECONDS of work behind them.

    Nothing waits behind jobs that take longer than that: fetching the next one takes little compared to running it, and
    another slave may have a free slot for it now. But among MANY some end all the time, so what waits does not wait
    for long. Work for two round trips to the master is added to what waits, because half of it has to last until the
    next answer, however far away or busy the master is.

    Where a call of the handler takes a `batch`, each of its jobs has a slot of its own for as long as the call takes,
    and what waits is whole batches: a part of one would wait for the rest of it anyway.

    A slave never holds more than it has handled so far, because the first jobs may be faster than the rest; nor more
    than HELD_BYTES of payloads, beyond one job for each slot.
    """

    __slots__ = ("_batch", "_handled", "_held_when_fed", "_job_bytes", "_job_duration", "_link", "slots", "trip")

    MANY = 100  # slots: of fewer, such as ten threads, all may run for longer than LEASE_SECONDS
    MOST_TRIP = 0.2  # seconds: so that no more than half a second of work waits
    LEAST_BYTES = 40.0  # of a decoded job: a small int is 5 on the wire, here it is 32 and its place in a list

    def __init__(self, slots: int, job_duration: JobDuration, batch: int = 1) -> None:
        self.slots = slots
        self._batch = batch
        self.trip = 0.0  # seconds from a request to its answer
        self._job_duration = job_duration
        self._link = LinkPace()
        self._handled = 0
        self._held_when_fed = 0.0  # jobs held when the last ones arrived; inf if their bytes left no room for more
        self._job_bytes = self.LEAST_BYTES  # recently

    def target(self) -> int:
        """Jobs to hold, running ones included; at least the number of slots."""
        return self._enough(self._job_duration.most)

    def most(self) -> int:
        """Jobs to hold before some are given back: the target if jobs took half as long, as guesses fluctuate."""
        least = self._job_duration.least
        return self._enough(least / 2 if least is not None else None)

    def _enough(self, each: float | None) -> int:
        seconds = defaults.LEASE_SECONDS + 2 * min(self.trip, self.MOST_TRIP)
        if each is None or (each > seconds and self.slots < self.MANY and self._batch == 1):
            return self.slots
        behind = min(self.slots * seconds / each, defaults.HELD_BYTES / self._job_bytes)
        if self._batch > 1:
            behind = round(behind / self._batch) * self._batch
        return self.slots + min(int(behind), self._handled)

    def most_at_once(self) -> float:
        """Jobs to ask for in one request."""
        return max(1, self._link.most // self._job_bytes) if self._link.is_slow else inf

    def runs_low(self, held: int) -> bool:
        """Whether half of the jobs behind the slots are gone, when `held` are left including the running ones.

        A lease that was cut short by its bytes is followed by the next request at once, since there is work to do
        meanwhile: asking only when that lease was done halved the rate of 5 kB jobs. A lease that was cut to a share is
        all there was: asking for the rest at once took no-ops on one thread five times the requests.
        """
        enough = min(self.target(), self._held_when_fed)
        behind = enough - self.slots
        return 0 < behind <= 2 * (enough - held)

    @property
    def cut_short(self) -> bool:
        """Whether the last jobs filled the bytes of a lease, or the line: there may be more."""
        return self._held_when_fed == inf

    def received(self, jobs: int, size: int, held: int, seconds: float) -> None:
        """`jobs` jobs of `size` encoded bytes arrived, `seconds` after the request, which makes `held` in all."""
        self._job_bytes = max(self.LEAST_BYTES, size / max(1, jobs))
        self._held_when_fed = inf if 2 * size > self._link.most else held
        self._link.observe(size, seconds)

    def handled(self, jobs: int) -> None:
        """`jobs` jobs were handled: that many more may be held from now on."""
        self._handled += jobs
