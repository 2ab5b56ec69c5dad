"""When a slave that ended is started again, and when its slot is given up.

Pure: the time is an argument, so is the exit code. It must not know what a process is.
"""

from __future__ import annotations

from typing import Final

from taskmaster import errors
from taskmaster.core.backoff import Backoff

#: Shorter by up to a quarter, by the slot, so that slaves that crashed together do not start together.
BACKOFF: Final = Backoff(first=0.5, most=30.0, spread=-0.25)
STEADY_SECONDS: Final = 60.0  # a life this long makes earlier crashes history
YOUNG_SECONDS: Final = 10.0  # a crash sooner than this after the start counts towards giving up
YOUNG_CRASHES: Final = 5

#: The next slave would end in the same way: the command line, the key or the code is wrong.
HOPELESS: Final = frozenset({errors.EXIT_USAGE, errors.EXIT_KEY_REFUSED, errors.EXIT_STATE_MISMATCH})
#: Ends that leave nothing to restart for.
LASTING: Final = HOPELESS | {errors.EXIT_DONE, errors.EXIT_MASTER_GONE}


class RestartPolicy:
    """The lives of one slot: told of each start and end, it says when to start again.

    A slave that ends with 75 asked to be replaced by a fresh interpreter: at once, and it is no crash. Any
    other end that is not lasting is a crash, answered after a delay that doubles from one to the next.
    """

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._started_at = 0.0
        self._crashes = 0
        self._young_crashes = 0

    def started(self, now: float) -> None:
        """A slave was started in this slot at `now` (seconds)."""
        self._started_at = now

    def ended(self, code: int, now: float) -> float | None:
        """The time at which to start again, in seconds; None when the slot is done with.

        `code` is the exit code, or minus the signal number as `subprocess` has it.
        """
        if code in LASTING:
            return None
        if code == errors.EXIT_INTERRUPTED:
            return now
        self._count_crash(now - self._started_at)
        return None if self.given_up else now + BACKOFF.delay(self._crashes, self._slot)

    @property
    def given_up(self) -> bool:
        """Whether the slot crashed too often right after its starts."""
        return self._young_crashes >= YOUNG_CRASHES

    def _count_crash(self, lifetime: float) -> None:
        self._crashes = 1 if lifetime >= STEADY_SECONDS else self._crashes + 1
        self._young_crashes = self._young_crashes + 1 if lifetime < YOUNG_SECONDS else 0
