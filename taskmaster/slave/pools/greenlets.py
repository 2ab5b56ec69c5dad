"""Handlers in greenlets of gevent, all in one native thread. The standard library should be patched beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import gevent
from gevent.hub import Hub

from taskmaster.forks import leave
from taskmaster.handlers import RUNNING
from taskmaster.native import Flag
from taskmaster.slave.pools.concurrent import opened
from taskmaster.slave.pools.shared_thread import LoopExecution, SharedThreadPool
from taskmaster.targets.lazy import refuse_lazy


class JobTimeout(BaseException):
    """Raised in a handler that exceeded its timeout; not an Exception, so that few handlers catch it by accident."""


class GreenletPool(SharedThreadPool):
    """A greenlet for each job."""

    def __init__(self, handler: Callable[[Any], Any], slots: int, clock: Callable[[], float],
                 wake: Callable[[], None]) -> None:
        self._hub: Hub | None = None
        self._is_up = Flag()
        super().__init__(handler, slots, clock, wake)
        self._is_up.wait()

    def _run_loop(self) -> None:
        self._hub = gevent.get_hub()
        self._is_up.set()
        while True:
            gevent.sleep(3600)

    def _call(self, function: Callable[[], object]) -> None:
        assert self._hub is not None
        self._hub.loop.run_callback_threadsafe(function)

    def _start(self, execution: LoopExecution, index: int, payload: Any) -> gevent.Greenlet:
        return gevent.spawn(self._run, execution, index, payload)

    def _run(self, execution: LoopExecution, index: int, payload: Any) -> None:
        error, result = None, None
        RUNNING.set(partial(execution.current_job, index, payload))  # in the context of this greenlet alone
        try:
            result = self._handler(opened(payload, execution.sealed))
            refuse_lazy(result)
        except BaseException as raised:
            error = raised
        if self._forked:
            leave(error)
        self._end(execution, index, error, result)
        self._fill_soon()  # in the hub: started here, the next job would inherit the context of this one

    _code = _run.__code__

    def _call_in_loop(self, function: Callable[[], Any], end: Callable[[BaseException | None, Any], None]) -> None:
        def call() -> None:
            error, result = None, None
            try:
                result = function()
            except BaseException as raised:
                error = raised
            end(error, result)

        gevent.spawn(call)

    def _interrupt(self, handle: gevent.Greenlet) -> None:
        handle.kill(JobTimeout("--job-timeout"), block=False)

    def _frames_of(self, handle: gevent.Greenlet) -> Iterator[tuple[FrameType, int]]:
        frames = []
        frame = handle.gr_frame
        while frame is not None and frame.f_code is not self._code:
            frames.append((frame, frame.f_lineno))
            frame = frame.f_back
        yield from reversed(frames)
