"""What the user's signals ask for: first to drain, then to stop at once.

One request to stop may arrive as several signals. `timeout`, systemd and batch systems signal a process and then its
whole group or unit, and the kernel repeats SIGXCPU every second. So signals within INTERRUPT_SECONDS count once, and
those that only warn of an approaching limit never ask for more than a drain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from taskmaster import defaults

#: Sent when the terminal closes, by a batch system before its time limit, by the kernel at the limit of CPU time.
WARNINGS: Final = ("SIGHUP", "SIGUSR2", "SIGXCPU")
#: Sent by a person or program that wants the process to end.
STOPS: Final = ("SIGINT", "SIGTERM")


class Interrupts:
    """Counts requests to stop from the start; what they mean can be read, or passed on to the code that acts on them.

    `add` may be called from a signal handler, even in the middle of the other methods, and from any thread. With
    `once` it never asks for more than a drain: a fleet that wants its slaves to end at once kills them.
    """

    def __init__(self, once: bool = False) -> None:
        self._most = 1 if once else 2
        self._count = 0  # requests passed on
        self._insisted = 0  # those that were not just warnings
        self._insisted_at: float | None = None
        self._waiting: deque[None] = deque()  # not passed on yet
        self._listener: Callable[[], object] | None = None

    @property
    def draining(self) -> bool:
        """Whether to finish running jobs and start no others."""
        return self._count > 0

    @property
    def stopping(self) -> bool:
        """Whether to stop without waiting for anything."""
        return self._count > 1

    def add(self, now: float, warning: bool = False) -> None:
        """A signal arrived at `now` (seconds); a `warning` is one of WARNINGS."""
        if not warning and not self._is_echo(now):
            self._insisted += 1
            self._insisted_at = now
        if max(1, self._insisted) > self._count < self._most:
            self._count += 1
            self._waiting.append(None)
        self._pass_on()

    def pass_on_to(self, listener: Callable[[], object]) -> None:
        """Call `listener` once for each request to stop: at once for earlier ones, later for each new one."""
        self._listener = listener
        self._pass_on()

    def _is_echo(self, now: float) -> bool:
        return self._insisted_at is not None and now - self._insisted_at < defaults.INTERRUPT_SECONDS

    def _pass_on(self) -> None:
        while self._listener is not None:
            try:
                self._waiting.popleft()  # one step under the interpreter lock: no interrupt is passed on twice
            except IndexError:
                return
            self._listener()
