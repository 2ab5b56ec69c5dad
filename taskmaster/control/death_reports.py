"""Reports to the master how slaves of this machine died, so that a job which kills its slave is found.

The master sees only that a connection dropped, which is nobody's fault. Whoever keeps the slaves knows more.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from itertools import count

from taskmaster import defaults
from taskmaster.core.wire import (MOST_DEATHS, DeathReport, Frames, Poll, WireError, decode_reply, encode_poll)
from taskmaster.errors import KeyRefused
from taskmaster.fleet.fleet import Death
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.keys import Keys

_log = logging.getLogger(__name__)


class DeathReports:
    """A REQ of its own, opened at the first death. Never blocks; what cannot be delivered in time is dropped."""

    def __init__(self, address: str, keys: Keys | None) -> None:
        self._address = address
        self._keys = keys
        self._id = os.urandom(16).hex()
        self._numbers = count(1)
        self._waiting: list[DeathReport] = []
        self._dialer: Dialer | None = None
        self._seq = 0
        self._frames: Frames | None = None  # of the request that awaits its answer
        self._give_up_at = 0.0

    def add(self, deaths: Iterable[Death]) -> None:
        """Report those of slaves that did not leave in good order."""
        self._waiting += [report_of(one) for one in deaths if one.name and (one.exit.code < 0 or one.blame)]

    def wait(self, seconds: float) -> None:
        """Send what is to be sent and read the answers, for this long."""
        end = time.monotonic() + seconds
        try:
            self._turn(time.monotonic())
            while self._dialer is not None and self._frames is not None and (left := end - time.monotonic()) > 0:
                self._dialer.wait(left)
                self._turn(time.monotonic())
        except KeyRefused as refused:
            _log.debug("Deaths cannot be reported: %s", refused)
            self.close()
        time.sleep(max(0.0, end - time.monotonic()))

    def close(self) -> None:
        """Forget what is left."""
        self._waiting, self._frames = [], None
        if self._dialer is not None:
            self._dialer.close()
            self._dialer = None

    def _turn(self, now: float) -> None:
        self._hear()
        if self._frames is not None and now >= self._give_up_at:
            _log.debug("No master at %s to report a death to", self._address)
            self.close()
        if self._frames is None and self._waiting:
            self._send(now)

    def _hear(self) -> None:
        frames = self._dialer.receive() if self._dialer is not None else None
        reply = None if frames is None else decode_reply(frames)
        if reply is not None and not isinstance(reply, WireError) and reply.seq == self._seq:
            self._frames = None
        elif self._dialer is not None and self._frames is not None and self._dialer.returned():
            self._dialer.send(self._frames)

    def _send(self, now: float) -> None:
        if self._dialer is None:
            self._dialer = Dialer(self._address, self._keys)
        some, self._waiting = self._waiting[:MOST_DEATHS], self._waiting[MOST_DEATHS:]
        self._seq = next(self._numbers)
        self._frames = encode_poll(Poll("", 0, self._id, self._seq, state="bye", deaths=tuple(some)))
        self._give_up_at = now + defaults.DEATH_REPORT_TRIES_SECONDS
        self._dialer.send(self._frames)


def report_of(death: Death) -> DeathReport:
    """What a master is told of a death."""
    return DeathReport(death.name.rpartition(":")[0], death.pid, death.status, death.blame)
