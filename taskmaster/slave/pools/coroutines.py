"""Async handlers: each job is a task in an asyncio loop of the slave's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from inspect import isawaitable
from types import FrameType
from typing import Any

from taskmaster.forks import leave
from taskmaster.handlers import RUNNING
from taskmaster.slave.pools.concurrent import opened
from taskmaster.slave.pools.shared_thread import LoopExecution, SharedThreadPool
from taskmaster.targets.lazy import refuse_lazy


class CoroutinePool(SharedThreadPool):
    """A task for each job, so that each has its own context and can be cancelled. It costs 15 us."""

    def __init__(self, handler: Callable[[Any], Any], slots: int, clock: Callable[[], float],
                 wake: Callable[[], None]) -> None:
        self._loop = _new_loop()
        super().__init__(handler, slots, clock, wake)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    def _start(self, execution: LoopExecution, index: int, payload: Any) -> asyncio.Task[Any]:
        task = self._loop.create_task(self._run(execution, index, payload))
        task.add_done_callback(partial(self._ended_task, execution, index))
        return task

    async def _run(self, execution: LoopExecution, index: int, payload: Any) -> tuple[BaseException | None, Any]:
        """What the handler raised and returned. If it raised, the loop would end at SystemExit and the like."""
        error, result = None, None
        RUNNING.set(partial(execution.current_job, index, payload))  # in the context of this task alone
        try:
            result = self._handler(opened(payload, execution.sealed))
            if isawaitable(result):
                result = await result
            refuse_lazy(result)
        except BaseException as raised:
            error = raised
        if self._forked:
            leave(error)
        return error, result

    _code = _run.__code__

    def _call_in_loop(self, function: Callable[[], Any], end: Callable[[BaseException | None, Any], None]) -> None:
        async def call() -> None:
            error, result = None, None
            try:
                result = function()
                if isawaitable(result):
                    result = await result
            except BaseException as raised:
                error = raised
            end(error, result)

        self._called = self._loop.create_task(call())  # kept, because the loop does not

    def _ended_task(self, execution: LoopExecution, index: int, task: asyncio.Task[Any]) -> None:
        # Cancelled before its first step, it never got into `_run`.
        error, result = (asyncio.CancelledError(), None) if task.cancelled() else task.result()
        self._end(execution, index, error, result)
        self._fill()  # at once, not two turns of the loop later

    def _interrupt(self, handle: asyncio.Task[Any]) -> None:
        handle.cancel()

    def _frames_of(self, handle: asyncio.Task[Any]) -> Iterator[tuple[FrameType, int]]:
        awaited: Any = handle.get_coro()
        awaited = getattr(awaited, "cr_await", None)  # without `_run`
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
            if frame is not None:
                yield frame, frame.f_lineno
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # here: an extra, and only async handlers need it
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
