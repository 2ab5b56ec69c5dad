"""What a handler's module says about it: its settings, and what becomes of a job that it cannot handle now.

It imports nothing of the house, so that the user's module loads nothing but this.
"""

from __future__ import annotations

import functools
import inspect
import logging
import re
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ATTRIBUTE: Final = "__taskmaster_settings__"
#: How many jobs run at once: a number, or "auto", which finds one, up to the number behind it.
CONCURRENCY: Final = re.compile(r"(?P<fixed>[1-9][0-9]{0,8})|auto(:(?P<most>[1-9][0-9]{0,8}))?", re.ASCII)
Types = tuple[type[BaseException], ...]


class Retry(Exception):
    """Raise it in a handler: this attempt has failed, and the next one comes after this many seconds.

    Without `after` it comes when it would after any other exception. It counts as an attempt.
    """

    def __init__(self, why: str = "", *, after: float | None = None) -> None:
        super().__init__(why)
        if after is not None and not after >= 0:
            raise ValueError(f"after={after!r} is not a number of seconds")
        self.after = after


class GiveUp(Exception):
    """Raise it in a handler: the job has failed for good, however many attempts are left."""


@dataclass(frozen=True)
class HandlerSettings:
    """What `handler` was given; None where it says nothing."""

    concurrency: int | str | None = None
    attempts: int | None = None
    timeout: float | None = None
    batch: int | None = None
    retry_on: Types | None = None
    give_up_on: Types = ()
    backoff: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("attempts", 1), ("batch", 1)):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and value >= least):
                raise ValueError(f"@handler({name}={value!r}): give a whole number of at least {least}")
        wanted = self.concurrency
        if wanted is not None and not (type(wanted) in (int, str) and CONCURRENCY.fullmatch(str(wanted))):
            raise ValueError(f'@handler(concurrency={wanted!r}): give a whole number of at least 1, "auto", or '
                             '"auto:MAX" with the largest number that it may find')
        for name in ("timeout", "backoff"):
            value = getattr(self, name)
            if value is not None and not (type(value) in (int, float) and value > 0):
                raise ValueError(f"@handler({name}={value!r}): give a number of seconds above 0")
        for name in ("retry_on", "give_up_on"):
            for kind in getattr(self, name) or ():
                if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                    raise ValueError(f"@handler({name}=...): {kind!r} is not a class of exceptions")


NO_SETTINGS: Final = HandlerSettings()


def handler(*, concurrency: int | str | None = None, attempts: int | None = None, timeout: float | None = None,
            batch: int | None = None, retry_on: type[BaseException] | Types | None = None,
            give_up_on: type[BaseException] | Types = (), backoff: float | None = None,
            ) -> Callable[[_Function], _Function]:
    """Decorates a handler with its settings; the same options on the command line win.

    `concurrency` calls run at once in each slave; with "auto" or "auto:MAX" it finds the number. A job has `attempts`,
    each of which may take `timeout` seconds. With `batch`, the handler takes a list of up to so many jobs. Only
    exceptions in `retry_on`, if given, and none in `give_up_on` are worth another attempt; the second one comes after
    `backoff` seconds, each further one after twice that. Raises ValueError.
    """
    settings = HandlerSettings(concurrency, attempts, timeout, batch, None if retry_on is None else _types(retry_on),
                               _types(give_up_on), backoff)

    def decorate(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, settings)
        return function
    return decorate


def settings_of(function: Callable[..., Any]) -> HandlerSettings:
    """The settings of a handler; those of the function in a functools.partial."""
    while isinstance(function, functools.partial):
        function = function.func
    found = getattr(function, _ATTRIBUTE, None)
    return found if isinstance(found, HandlerSettings) else NO_SETTINGS


def _types(given: type[BaseException] | Types) -> Types:
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


_LIFESPAN: Final = "__taskmaster_lifespan__"


def lifespan(function: Any = None, *, per_thread: bool = False) -> Any:
    """Decorates a generator or async generator function that yields once: the set-up and tear-down of each slave.

    It is called before the first job, in slaves alone. What it yields is the second argument of the handler in the same
    module. The rest of it runs after the last job. With `per_thread`, each thread of a slave has one of its own.
    """
    def decorate(function: _Function) -> _Function:
        if not (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
            raise TypeError("@lifespan decorates a function that yields once")
        if per_thread and inspect.isasyncgenfunction(function):
            raise TypeError("@lifespan(per_thread=True): an async function has no threads")
        setattr(function, _LIFESPAN, per_thread)
        return function
    return decorate if function is None else decorate(function)


def is_lifespan(value: object) -> bool:
    """Whether it is a function with @lifespan."""
    return inspect.isfunction(value) and hasattr(value, _LIFESPAN)


def is_for_each_thread(function: Callable[..., Any]) -> bool:
    """Whether a function with @lifespan is called in each thread."""
    return bool(getattr(function, _LIFESPAN))


class CurrentJob:
    """The job that a handler was called for, and which attempt at it this is, counted from 1."""

    def __init__(self, offset: int, attempt: int, make_token: Callable[[], str],
                 make_cursor: Callable[[], Any]) -> None:
        self.offset = offset
        self.attempt = attempt
        self._make_token = make_token
        self._make_cursor = make_cursor

    def __repr__(self) -> str:
        return f"<job {self.offset}, attempt {self.attempt}>"

    @functools.cached_property
    def cursor(self) -> Any:
        """What a run that is resumed after this job passes as `last`: its own cursor, else the number of jobs so far.

        Raises ValueError for one that could not be sent.
        """
        return self._make_cursor()

    @functools.cached_property
    def token(self) -> str:
        """32 hexadecimal digits that are the same in each attempt and each run, for use as an idempotency key."""
        return self._make_token()

    @functools.cached_property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines begin with the offset, the attempt and the token."""
        values = {"offset": self.offset, "attempt": self.attempt, "token": self.token}
        return _JobLogger(logging.getLogger("handler"), values)


class _JobLogger(logging.LoggerAdapter):  # type: ignore[type-arg]  # no [] in Python 3.10
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        values = self.extra or {}
        kwargs["extra"] = {**values, **(kwargs.get("extra") or {})}
        return f"job {values['offset']}, attempt {values['attempt']}, {values['token']}: {msg}", kwargs


_Running = Callable[[], CurrentJob | list[CurrentJob]]

#: Set by what calls a handler: makes the CurrentJob or, of a batch, a list of them. A thread sets it once for many,
#: as that takes three times as long as a no-op (156 ns).
RUNNING: ContextVar[_Running | None] = ContextVar("taskmaster.current_job", default=None)


def current_job() -> CurrentJob:
    """The job that this handler was called for. Raises LookupError outside of a handler, and in one of batches."""
    found = _current("current_job()")
    if isinstance(found, list):
        raise LookupError("current_job() was called in a handler of batches, which has several. Use current_jobs().")
    return found


def current_jobs() -> list[CurrentJob]:
    """The jobs that this handler was called for, in the order in which it has them. Raises LookupError outside of one.
    """
    found = _current("current_jobs()")
    return found if isinstance(found, list) else [found]


def _current(name: str) -> CurrentJob | list[CurrentJob]:
    make = RUNNING.get()
    if make is None:
        raise LookupError(f"{name} was called where no handler runs")
    return make()
