"""How often the user asked to stop: the first time means drain, the second stop at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Interrupts:
    """Counts interrupts from the moment it exists; what they mean can be read, or passed on to whoever acts on them.

    `add` may be called from a signal handler, also in the middle of the other methods, and from any thread.
    """

    def __init__(self) -> None:
        self._count = 0
        self._waiting: deque[None] = deque()  # not passed on yet
        self._listener: Callable[[], object] | None = None

    @property
    def draining(self) -> bool:
        """Whether running jobs are to be finished and no others started."""
        return self._count > 0

    @property
    def stopping(self) -> bool:
        """Whether to stop without waiting for anything."""
        return self._count > 1

    def add(self) -> None:
        """The user pressed Ctrl-C, or sent SIGTERM."""
        self._count += 1
        self._waiting.append(None)
        self._pass_on()

    def pass_on_to(self, listener: Callable[[], object]) -> None:
        """Call `listener` once for each interrupt: now for those so far, later for each further one."""
        self._listener = listener
        self._pass_on()

    def _pass_on(self) -> None:
        while self._listener is not None:
            try:
                self._waiting.popleft()  # one step under the interpreter lock: no interrupt is passed on twice
            except IndexError:
                return
            self._listener()
