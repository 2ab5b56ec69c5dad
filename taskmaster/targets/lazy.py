"""Handlers whose call only creates an object: async functions, which a loop can run, and generators."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

_LAZY: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)
_NAMES: Final = {CoroutineType: "a coroutine", GeneratorType: "a generator", AsyncGeneratorType: "an async generator"}


class NothingRan(TypeError):
    """A handler returned an object that nothing awaits or iterates, so that its job was not done."""


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether it is known beforehand that calling it creates a coroutine."""
    return any(map(inspect.iscoroutinefunction, _functions_of(handler)))


def is_generator(handler: Callable[..., Any]) -> bool:
    """Whether it is known beforehand that calling it creates a generator, async or not."""
    return any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in _functions_of(handler))


def _functions_of(handler: Callable[..., Any]) -> tuple[Any, ...]:
    """What is called: the handler, the function in a functools.partial, or a `__call__`."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    own = None if inspect.isroutine(handler) or inspect.isclass(handler) else getattr(type(handler), "__call__", None)
    return handler, own


def refuse_lazy(result: object) -> None:
    """Raise NothingRan if a handler's result is such an object."""
    kind = type(result)
    if kind in _LAZY:
        if isinstance(result, (CoroutineType, GeneratorType)):
            result.close()  # else Python warns at some later time that it was never awaited
        raise NothingRan(f"The handler returned {_NAMES[kind]} that nothing runs, so the job was not done. Run it "
                         "inside the handler, for example with asyncio.run or a loop.")
