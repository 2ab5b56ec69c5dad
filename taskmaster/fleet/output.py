"""Passes on what slave processes print, line by line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import IO

from taskmaster import defaults
from taskmaster.errors import LimitReached
from taskmaster.native import Thread

_log = logging.getLogger(__name__)

Capture = Callable[[str], None]


class Relays:
    """A thread for each slave's output, which passes its lines to `capture`; none without a `capture`."""

    def __init__(self, capture: Capture | None) -> None:
        self._capture = capture
        self._threads: list[Thread] = []

    @property
    def wanted(self) -> bool:
        """Whether output is to be captured at all."""
        return self._capture is not None

    def start(self, stream: IO[bytes] | None) -> None:
        """Pass on the lines of this stream until it ends, then close it."""
        if self._capture is None or stream is None:
            return
        thread = Thread(target=_relay, args=(stream, self._capture), name="slave-output")
        try:
            thread.start()
        except LimitReached as error:  # closed rather than left unread: a full pipe would block the slave
            _log.warning("The output of a slave is not shown: %s", error)
            stream.close()
            return
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]

    def join(self) -> None:
        """Wait a moment for the lines that ended slaves have left in their pipes."""
        deadline = time.monotonic() + defaults.LAST_OUTPUT_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _relay(stream: IO[bytes], capture: Capture) -> None:
    """Read until the stream ends, even if `capture` fails: a slave blocks once nobody reads its pipe."""
    failed = False
    with stream:
        for line in iter(lambda: stream.readline(defaults.OUTPUT_LINE_BYTES), b""):
            if not failed:
                failed = not _captured(line, capture)


def _captured(line: bytes, capture: Capture) -> bool:
    try:
        capture(line.decode(errors="replace").rstrip("\r\n"))
    except Exception:
        _log.warning("Cannot show the output of a slave; the rest of it is dropped", exc_info=True)
        return False
    return True
