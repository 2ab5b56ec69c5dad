"""What a fault needs inside a process of the product, from a JSON object in CHAOS_SHIM; without it, nothing.

Keys: `defaults` {name: value} sets times for which there is no option; `only` names the commands that the rest is for;
`fsync` are the seconds that each fsync takes, or null for no fsync at all; `clock` names a file with the seconds by
which the wall clock is off; `die_at` N kills the process before the Nth step of writing checkpoints; `die_telling`
"before" or "after" kills a slave as it reports settled jobs, the Nth time for `die_telling_at` N; `full` names a file:
while it exists, no state can be written.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

_shim: dict[str, Any] = json.loads(os.environ.get("CHAOS_SHIM", "{}"))
_named = (re.search(r"(?:/tm-|^taskmaster\.cli\.|/cli/start_)(slave(?=\.py$)|\w+$)", word) for word in sys.orig_argv)
_command = next((found[1] for found in _named if found), "")


def _set_defaults(values: dict[str, Any]) -> None:
    """Before anything else of the package is imported: some of them are read only once, at import."""
    found = importlib.util.find_spec("taskmaster")
    assert found is not None and found.origin is not None
    path = Path(found.origin).with_name("defaults.py")
    spec = importlib.util.spec_from_file_location("taskmaster.defaults", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in values.items():
        if not hasattr(module, name):
            os.write(2, f"CHAOS: there is no default {name}\n".encode())
        setattr(module, name, value)
    sys.modules["taskmaster.defaults"] = module


def _set_fsync(seconds: float | None) -> None:
    honest = os.fsync

    def fsync(file: Any) -> None:
        if seconds is not None:
            time.sleep(seconds)
            honest(file)

    os.fsync = fsync


def _step_clock(name: str) -> None:
    honest = time.time

    def off() -> float:
        try:
            return float(Path(name).read_text() or 0)
        except (OSError, ValueError):
            return 0.0

    time.time = lambda: honest() + off()
    time.time_ns = lambda: int(time.time() * 1e9)


class _Steps:
    """Wraps the system calls that write a checkpoint, and kills the process before one of them."""

    def __init__(self, die_at: int) -> None:
        self._left = die_at
        self._files: set[int] = set()
        self._open, self._close = os.open, os.close
        os.open, os.close = self.open, self.close
        for name in ("write", "fsync"):
            setattr(os, name, self._on_file(getattr(os, name)))
        for name in ("link", "replace", "unlink"):
            setattr(os, name, self._on_path(getattr(os, name)))

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def open(self, path: Any, *more: Any, **named: Any) -> int:
        ours = Path(str(path)).name == "state" or "checkpoint" in str(path)
        if ours:
            self._step()
        file = self._open(path, *more, **named)
        if ours:
            self._files.add(file)
        return file

    def close(self, file: int) -> None:
        if file in self._files:
            self._step()
            self._files.discard(file)
        self._close(file)

    def _on_file(self, honest: Any) -> Any:
        def call(file: int, *more: Any) -> Any:
            if file in self._files:
                self._step()
            return honest(file, *more)
        return call

    def _on_path(self, honest: Any) -> Any:
        def call(path: Any, *more: Any, **named: Any) -> Any:
            if "checkpoint" in str(path):
                self._step()
            return honest(path, *more, **named)
        return call


def _die_telling(when: str, at: int) -> None:
    """A slave's requests are JSON: one whose `done` is not empty reports settled jobs."""
    import zmq

    honest = zmq.Socket.send_multipart
    left = at

    def send_multipart(self: Any, frames: Any, *more: Any, **named: Any) -> Any:
        nonlocal left
        telling = self.type == zmq.REQ and bool(json.loads(bytes(frames[0])).get("done"))
        left -= telling
        if telling and left == 0 and when == "before":
            _die()
        result = honest(self, frames, *more, **named)
        if telling and left == 0:
            time.sleep(0.05)  # long enough to be sent; nobody reads the answer meanwhile
            _die()
        return result

    zmq.Socket.send_multipart = send_multipart


def _die() -> None:
    Path("died").write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


def _full_disk(name: str) -> None:
    honest = os.write

    def write(file: int, data: Any) -> int:
        if file > 2 and os.path.exists(name) and "/state/" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return honest(file, data)

    os.write = write


if _command and _shim:
    if "defaults" in _shim:
        _set_defaults(_shim["defaults"])
    if _command in _shim.get("only", [_command]):
        if "fsync" in _shim:
            _set_fsync(_shim["fsync"])
        if "clock" in _shim:
            _step_clock(_shim["clock"])
        if "die_at" in _shim:
            _Steps(_shim["die_at"])
        if "die_telling" in _shim:
            _die_telling(_shim["die_telling"], _shim.get("die_telling_at", 1))
        if "full" in _shim:
            _full_disk(_shim["full"])
