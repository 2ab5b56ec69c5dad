"""Threads and locks of the operating system, even after gevent or eventlet have replaced those of `threading`.

Our threads block outside of Python, in ZeroMQ, in a file system, in a handler. As greenlets they would hold up one
another, and the user's greenlets. So they use the primitives as they were before anybody patched them.
"""

from __future__ import annotations

import _thread
import logging
import sys
import threading
import time
from _queue import Empty, SimpleQueue  # gevent replaces `queue.SimpleQueue`, but not this
from collections.abc import Callable
from typing import Any

from taskmaster.errors import LimitReached

__all__ = ["Condition", "Empty", "Flag", "Lock", "SimpleQueue", "Thread", "get_ident", "has_lock", "refused_thread",
           "start_thread"]

log = logging.getLogger(__name__)


def _original(name: str) -> Any:
    """This function of `_thread`, as it was before it was patched."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None:
        return gevent.get_original("_thread", name)
    if eventlet is not None:
        return getattr(eventlet.original("_thread"), name)
    return getattr(_thread, name)


_start = _original("start_new_thread")
Lock: Callable[[], _thread.LockType] = _original("allocate_lock")
get_ident: Callable[[], int] = _original("get_ident")


def has_lock() -> bool:
    """Whether the threads of this interpreter share a lock; builds of Python 3.13 may be without."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def start_thread(target: Callable[..., object], *args: Any) -> None:
    """Run `target` in a thread that nothing else is known of. Raises LimitReached if the system cannot."""
    try:
        _start(target, args)
    except RuntimeError as error:
        raise refused_thread(error) from error


def refused_thread(error: RuntimeError) -> Exception:
    """What to raise for an error of somebody who could not start a thread."""
    if "new thread" not in str(error):
        return error
    return LimitReached("No more threads can be started: a limit is too low, of processes and threads (`ulimit -u`), "
                        "of memory (`ulimit -v`) or of this container. Raise it, or use fewer slaves and a lower "
                        "--concurrency.")


class Thread:
    """A daemon thread that runs `target`."""

    def __init__(self, target: Callable[..., object], name: str, args: tuple[Any, ...] = ()) -> None:
        self.ident = 0
        self._target, self._args = target, args
        self._name = name
        self._running = Lock()
        self._started = False

    def start(self) -> None:
        """Start it, once. Raises LimitReached if the system cannot."""
        self._running.acquire()
        self._started = True
        try:
            start_thread(self._run)
        except BaseException:
            self._started = False
            self._running.release()
            raise

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or until the timeout. Signal handlers run meanwhile in the main thread."""
        if self._started and self._running.acquire(True, -1 if timeout is None else max(0.0, timeout)):
            self._running.release()

    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._started and self._running.locked()

    def _run(self) -> None:
        try:
            self.ident = get_ident()
            threading.current_thread().name = self._name  # for logs and tracebacks
            self._target(*self._args)
        except BaseException:
            log.exception("The thread %r failed", self._name)
        finally:
            self._running.release()


class Flag:
    """Like `threading.Event`, for a single waiting thread."""

    def __init__(self) -> None:
        self._down = Lock()
        self._down.acquire()
        self._guard = Lock()
        self._set = False

    def is_set(self) -> bool:
        """Whether it was set since it was cleared."""
        return self._set

    def set(self) -> None:
        """Let the waiting thread continue, now or as soon as it waits."""
        with self._guard:
            if not self._set:
                self._set = True
                self._down.release()

    def clear(self) -> None:
        """Make it wait again."""
        with self._guard:
            if self._set:
                self._set = False
                self._down.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was set before the timeout; without one it waits for ever."""
        if self._set:
            return True
        if self._down.acquire(True, -1 if timeout is None else max(0.0, timeout)):
            self._down.release()
        return self._set


class Condition:
    """Like `threading.Condition`, for any number of threads that wait for a predicate."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiters: list[_thread.LockType] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()

    def notify(self) -> None:
        """Let all waiting threads check their predicates again. The lock must be held."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.release()

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait, with the lock released, until the predicate is true or the time is up; returns its value."""
        end = None if timeout is None else time.monotonic() + timeout
        while not predicate() and (end is None or time.monotonic() < end):
            waiter = Lock()
            waiter.acquire()
            self._waiters.append(waiter)
            self._lock.release()
            try:
                waiter.acquire(True, -1 if end is None else max(0.0, end - time.monotonic()))
            finally:
                self._lock.acquire()
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return predicate()
