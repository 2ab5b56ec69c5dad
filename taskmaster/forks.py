"""What a child that user code forks must not keep of this process: its signs of life, and its work.

A fork copies every descriptor, so the child of a handler would keep the master's lock and port, or a connection that
makes its slave seem alive. It copies the signal handlers, so `multiprocessing.Pool` would wait for ever for workers
that treat SIGTERM as a request. And it copies the calling thread, which would run jobs in the child as well once
the user's code returns to it.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from taskmaster.native import get_ident

_descriptors: dict[int, tuple[int, int]] = {}  # with device and inode: the number may be another file's by now
_masks: dict[int, Any] = {}  # one entry for each thread that is forking
_callbacks: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()


def close_in_children(descriptor: int) -> None:
    """Let children forked from now on close their copy of this descriptor, if it is still the same file."""
    with suppress(OSError):
        _descriptors[descriptor] = _identity(descriptor)


def keep_in_children(descriptor: int) -> None:
    """It is closed here, or about to be."""
    _descriptors.pop(descriptor, None)


def call_in_children(owner: Any, callback: Callable[[Any], object]) -> None:
    """Call `callback(owner)` in each child that is forked while `owner` exists. It must take no lock: the thread that
    held it at the fork does not exist in the child."""
    _callbacks[owner] = callback


def leave(error: BaseException | None = None) -> NoReturn:
    """End a forked child whose user code has returned to us, with this exception or none, as Python ends a program."""
    code = 0
    with suppress(BaseException):
        code = _exit_code(error)
    with suppress(BaseException):
        sys.stdout.flush()
    with suppress(BaseException):
        sys.stderr.flush()
    os._exit(code)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)
    else:
        traceback.print_exception(type(error), error, error.__traceback__)
    return 1


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _before() -> None:
    """A signal that reaches the child before it has its handlers back would be lost."""
    if sys.platform != "win32":
        _masks[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


def _after() -> None:
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(get_ident(), set()))


def _in_child() -> None:
    try:
        _let_go()
    finally:
        _after()


def _let_go() -> None:
    for descriptor, identity in _descriptors.items():
        with suppress(OSError):
            if _identity(descriptor) == identity:
                os.close(descriptor)
    _descriptors.clear()
    for owner, callback in list(_callbacks.items()):
        callback(owner)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
