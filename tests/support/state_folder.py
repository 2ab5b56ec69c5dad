"""What the tests of a state folder on a real disk need."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.folder import StateFolder

RUN = "0123456789abcdef" * 2


def at(offset: int) -> Checkpoint:
    return Checkpoint(RUN, 1, offset, offset, True, "jobs", {"n": "5"}, None, {"settled": offset}, False, 1.5)


def refusing(code: int) -> Callable[..., Any]:
    """A system call that fails with this error."""
    def call(*arguments: Any, **options: Any) -> Any:
        raise OSError(code, os.strerror(code))
    return call


def names(folder: StateFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


class Crash(BaseException):
    pass


class PowerSwitch:
    """Lets so many system calls through; from then on the machine is dead and all the others fail."""

    CALLS = ("open", "write", "fsync", "close", "link", "replace", "unlink")

    def __init__(self, patch: pytest.MonkeyPatch, lasts: int) -> None:
        self.left = lasts
        for name in self.CALLS:
            patch.setattr(os, name, self._guarded(getattr(os, name)))

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Crash
            return real(*arguments, **options)
        return call
