"""Finds what a handler's module wants to be set up in each slave."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from taskmaster.errors import TargetError
from taskmaster.handlers import is_lifespan


def lifespan_of(handler: Callable[..., Any]) -> Callable[[], Any] | None:
    """The function with @lifespan in the handler's module, defined or imported there; None if there is none.

    Raises TargetError if there are several.
    """
    while isinstance(handler, functools.partial):
        handler = handler.func
    name = getattr(handler, "__module__", None) or type(handler).__module__
    named = vars(sys.modules[name]) if name in sys.modules else {}
    found = {id(value): key for key, value in named.items() if is_lifespan(value)}
    if len(found) > 1:
        raise TargetError(f"{name} has several functions with @lifespan: {', '.join(found.values())}. Make them one.")
    return next((named[key] for key in found.values()), None)
