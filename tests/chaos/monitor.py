"""A thread that watches the memory of masters, and whether the machine has time for us at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from chaos.commands import Actor
from support.processes import memory_of

LOOK_SECONDS = 0.1


class Monitor:
    """`memory` is the most that any master used, in MiB; `stalled` by how many seconds a look at the clock was late."""

    def __init__(self, actors: Callable[[], Iterable[Actor]]) -> None:
        self.memory = 0.0
        self.stalled = 0.0
        self._actors = actors
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            looked, before = time.monotonic(), looked
            self.stalled = max(self.stalled, looked - before - LOOK_SECONDS)
            for actor in list(self._actors()):
                if actor.is_master and actor.running:
                    self.memory = max(self.memory, memory_of(actor.pid, "VmHWM"))
