"""Handlers whose call only creates an object, without running anything: async functions, generators, or both."""

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


def is_lazy(handler: Callable[..., Any]) -> bool:
    """Whether it is known beforehand that calling it only creates an object; also looks at `__call__`, and into
    functools.partial."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    own = None if inspect.isroutine(handler) or inspect.isclass(handler) else getattr(type(handler), "__call__", None)
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(is_kind(function) for is_kind in kinds for function in (handler, own))


def refuse_lazy(result: object) -> None:
    """Raise NothingRan if a handler's result is such an object."""
    kind = type(result)
    if kind in _LAZY:
        if isinstance(result, (CoroutineType, GeneratorType)):
            result.close()  # else Python warns at some later time that it was never awaited
        raise NothingRan(f"The handler returned {_NAMES[kind]} that nothing runs, so the job was not done. Run it "
                         "inside the handler, for example with asyncio.run or a loop.")
