"""Which frames of a traceback are the user's: what is shown to them begins there."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final


#: Packages whose frames come first because they call the user's code: this one, and the import system.
CALLERS: Final = frozenset({"taskmaster", "importlib", "_frozen_importlib", "_frozen_importlib_external"})


def user_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the user's first frame on; None if the user's code has no frame in it."""
    trace = error.__traceback__
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__")).split(".")[0] in CALLERS:
        trace = trace.tb_next
    return trace


def shown_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the user's first frame on; all of it if the user's code has no frame in it."""
    return user_frames(error) or error.__traceback__


def user_traceback(error: BaseException) -> str:
    """Those frames and the exception as text that ends with a newline."""
    return "".join(traceback.format_exception(type(error), error, shown_frames(error)))


def import_traceback(error: BaseException) -> str:
    """The traceback of what the user's code raised while it was imported or set up; empty if `error` has no cause."""
    cause = error.__cause__
    return "" if cause is None else "".join(traceback.format_exception(type(cause), cause, user_frames(cause)))
