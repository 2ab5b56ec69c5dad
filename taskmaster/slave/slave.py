"""A whole slave: made in the main thread, served by its control thread."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from taskmaster import defaults
from taskmaster.core.agent import Agent, Patience
from taskmaster.core.stats import SlaveStats
from taskmaster.errors import EXIT_ERROR, TaskmasterError
from taskmaster.handlers import settings_of
from taskmaster.malloc import keep_freed_memory
from taskmaster.native import Thread
from taskmaster.slave.control import Control
from taskmaster.slave.current_job import name_handler
from taskmaster.slave.lifespan import make_lifespan
from taskmaster.slave.pools.make import make_pool
from taskmaster.slave.recycling import RecyclingLimits
from taskmaster.targets.lifespans import lifespan_of
from taskmaster.targets.pool_choice import THREADS, PoolChoice
from taskmaster.transport.addresses import dial_address, is_local
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.keys import Keys
from taskmaster.transport.waker import Waker

log = logging.getLogger(__name__)

_clock = time.monotonic


def _nothing() -> None:
    """For a thread to do when it has nothing to tear down."""


class Slave:
    """Calls `handler`, whose name is `name`, for the jobs of the master at `address`, in a pool of this choice.

    Without keys it trusts any master, but takes pickles only from one on this machine. `job_timeout` is in seconds;
    `show` is called with the slave's figures a few times per second in the control thread, and so is `beat`, as long as
    no job holds the interpreter. `grace` limits a drain (seconds). `code` is what the master compares with its own, as
    `targets.code.describe` gives it.
    """

    def __init__(self, handler: Callable[[Any], Any], name: str, address: str, *,
                 pool: PoolChoice = PoolChoice(), patience: Patience = Patience(),
                 job_timeout: float | None = None, show: Callable[[SlaveStats], None] = lambda stats: None,
                 keys: Keys | None = None, beat: Callable[[], object] | None = None,
                 grace: float | None = None, code: Mapping[str, str] | None = None,
                 limits: RecyclingLimits = RecyclingLimits()) -> None:
        info = {"host": socket.gethostname(), "pid": os.getpid(), "threads": pool.jobs_at_once, "handler": name,
                "python": sys.version.split()[0], "version": defaults.PRODUCT_VERSION, **(code or {})}
        if pool.batch is not None:
            info["batch"] = pool.batch
        if beat is not None:
            info["fleet"] = "yes"  # which reports how it died
        name_handler(f"{(code or {}).get('module', '')}:{name.rpartition(':')[2]}")
        self._waker = waker = Waker()
        self._agent = Agent(os.urandom(16).hex(), pool.jobs_at_once, info, patience, _clock(), pool.batch or 1)
        function = lifespan_of(handler)
        self._lifespan = None if function is None else make_lifespan(function, pool.kind == THREADS)
        called = handler if self._lifespan is None else self._lifespan.bind(handler)
        leave_thread = _nothing if self._lifespan is None else self._lifespan.leave_thread
        self._pool = make_pool(pool, called, _clock, waker.wake, leave_thread)
        trusting = keys is not None or is_local(dial_address(address))
        self._control = Control(self._agent, Dialer(address, keys), self._pool, waker, _clock, job_timeout=job_timeout,
                                show=show, trusting=trusting, beat=beat, grace=grace, settings=settings_of(handler),
                                limits=limits, batch=pool.batch)
        self._crashed = False

    @property
    def error(self) -> TaskmasterError | None:
        """Why it ended; None if it ended normally."""
        return self._control.error

    @property
    def dismissed(self) -> bool:
        """Whether it ended because the master told it to: then there is no work for other slaves either."""
        return self._control.dismissed

    @property
    def stuck(self) -> bool:
        """Whether a handler is still running: then the process has to exit without waiting for it."""
        return bool(self._pool.running())

    def drain(self) -> None:
        """Once: finish what is running, give back the rest, and exit. Twice: exit now.

        It may be called from any thread, and from a signal handler.
        """
        self._control.drain()

    def run(self) -> int:
        """Serve until the end; returns the exit code. Meanwhile the main thread is free to run signal handlers."""
        keep_freed_memory()
        thread = Thread(target=self._serve, name="control")
        thread.start()
        thread.join()
        self._pool.close()
        self._tear_down()
        self._waker.close()
        return EXIT_ERROR if self._crashed else self._control.exit_code

    def set_up(self) -> None:
        """Run the user's set-up, before `run`. Raises SetUpFailed."""
        if self._lifespan is not None:
            self._lifespan.set_up(self._pool.call)

    def _tear_down(self) -> None:
        """Run the user's tear-down, unless a handler still uses what it closes: then the process just ends."""
        if self._lifespan is not None and not self.stuck:
            self._lifespan.tear_down(self._pool.call)

    def _serve(self) -> None:
        try:
            self._control.run()
        except BaseException:
            self._crashed = True
            log.exception("The control thread failed. This slave exits, and its jobs go to others")
