"""The user's set-up and tear-down around the jobs of a slave; what it yields is the handler's second argument."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from taskmaster import defaults
from taskmaster.core.exceptions import message_of, type_name
from taskmaster.errors import SetUpFailed
from taskmaster.handlers import is_for_each_thread
from taskmaster.native import get_ident

_log = logging.getLogger(__name__)
_END: Final = object()

Call = Callable[[Callable[[], Any]], Any]
"""Calls a function where handlers run, awaits what it returns if that is awaitable, and returns or raises what it does.
"""


class Lifespan(Protocol):
    """One kind of it."""

    def bind(self, handler: Callable[..., Any]) -> Callable[[Any], Any]:
        """The handler with its second argument."""

    def set_up(self, call: Call) -> None:
        """Before the first job. Raises SetUpFailed."""

    def leave_thread(self) -> None:
        """This thread will call no handler until further notice."""

    def tear_down(self, call: Call) -> None:
        """After the last job. Never raises: what goes wrong is logged."""


def make_lifespan(function: Callable[[], Any], threads: bool) -> Lifespan:
    """`threads`: whether the handlers run in threads."""
    return LifespanOfThreads(function) if threads and is_for_each_thread(function) else LifespanOfProcess(function)


class _Resource:
    """One call of the user's function: a generator that stands at its yield."""

    def __init__(self, function: Callable[[], Any], call: Call) -> None:
        self._made: Any = function()
        self._is_async = inspect.isasyncgen(self._made)
        self.value = self._next(call)
        if self.value is _END:
            raise RuntimeError(f"{function.__name__} yielded nothing")

    def close(self, call: Call) -> None:
        try:
            if self._next(call) is not _END:
                _log.warning("The function with @lifespan yielded twice; what comes after the second yield is not run")
        except BaseException:
            _log.exception("The tear-down of the function with @lifespan failed")

    def _next(self, call: Call) -> Any:
        made = self._made
        return call(lambda: anext(made, _END) if self._is_async else next(made, _END))


class LifespanOfProcess:
    """One resource, set up where handlers run: in their loop, if they have one."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._resource: _Resource | None = None
        self._value: Any = None

    def bind(self, handler: Callable[..., Any]) -> Callable[[Any], Any]:
        @functools.wraps(handler)
        def bound(job: Any) -> Any:
            return handler(job, self._value)
        return bound

    def set_up(self, call: Call) -> None:
        try:
            self._resource = _Resource(self._function, call)
            self._value = self._resource.value
        except KeyboardInterrupt:  # a signal
            raise
        except BaseException as error:
            raise SetUpFailed(f"The function with @lifespan failed: {type_name(error)}: {message_of(error)}. Its "
                              "slave handles no jobs.") from error

    def leave_thread(self) -> None:
        """It is not this thread's alone."""

    def tear_down(self, call: Call) -> None:
        if self._resource is not None:
            self._resource.close(call)
            self._resource = None


class LifespanOfThreads:
    """One resource for each thread, set up by its first job there; if that fails, the attempt has failed."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._resources: dict[int, _Resource] = {}  # by thread

    def bind(self, handler: Callable[..., Any]) -> Callable[[Any], Any]:
        resources = self._resources

        @functools.wraps(handler)
        def bound(job: Any) -> Any:
            own = resources.get(get_ident())
            if own is None:
                own = resources[get_ident()] = _Resource(self._function, _here)
            return handler(job, own.value)
        return bound

    def set_up(self, call: Call) -> None:
        """Each thread does it."""

    def leave_thread(self) -> None:
        own = self._resources.get(get_ident())
        if own is not None:
            own.close(_here)
            del self._resources[get_ident()]

    def tear_down(self, call: Call) -> None:
        """Wait until each thread has."""
        end = time.monotonic() + defaults.TEAR_DOWN_SECONDS
        while self._resources and time.monotonic() < end:
            time.sleep(0.01)


def _here(function: Callable[[], Any]) -> Any:
    return function()
