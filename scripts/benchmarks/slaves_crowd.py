"""Many slaves' sessions played by one process: each sends what a slave with a no-op handler would send.

A session settles a lease as soon as it arrives and asks for a slave's current prefetch, as the agent of taskmaster.core
decides if jobs take no time. It is written out here because the agent takes 40 us of Python per request, as much as a
whole request may cost the master; a test compares the two.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.job_duration import JobDuration
from taskmaster.core.prefetch_target import PrefetchTarget

THREADS = 10
JOB_SECONDS = 1e-7  # of a no-op, as a slave's thread sees it
ANSWER_SECONDS = 2e-4  # from a request to its answer: no line that slows anything down
AT_ONCE = 200  # replies between two looks at the clock
REQUEST_ID = b"\0\0\0\1"  # a REQ's own frame, which comes back with the reply
PATIENCE_SECONDS = 10.0
WAIT_MS = int(1000 * defaults.PARK_SECONDS)


class Stalled(Exception):
    """The master does not answer, or sends something unexpected."""


class Session:
    """One slave: its next request, given the last answer."""

    __slots__ = ("answered", "gone", "jobs", "seq", "slave_id", "_prefetch", "_head", "_most", "_pace", "_tail")

    def __init__(self, slave_id: str, most: int | None = None) -> None:
        """Asks for `most` jobs at a time; None means as many as its prefetch."""
        self.slave_id = slave_id
        self.seq = 1
        self.jobs = 0  # settled
        self.answered = 0  # requests
        self.gone = False
        self._most = most
        self._pace = JobDuration()
        self._prefetch = PrefetchTarget(THREADS, self._pace)
        self._head = self._tail = ""

    def hello(self) -> bytes:
        """The first request: it knows of no run yet."""
        return self._introduce("", 0)

    def hear(self, header: bytes) -> bytes | None:
        """The request that follows this reply, or None. Raises Stalled."""
        reply: dict[str, Any] = json.loads(header)
        kind = reply["kind"]
        if reply["n"] != self.seq:
            return None
        self.answered += 1
        if kind == "jobs":
            return self._settle(reply["leases"])
        if kind == "reset":
            self._know(reply["run"], reply["epoch"])
            self.seq += 1
            return self._introduce(reply["run"], reply["epoch"])
        if kind == "stop":
            self.gone = True
            return None
        if kind != "wait" or "drop" in reply:
            raise Stalled(f"an unexpected answer: {header!r:.200}")
        return self._ask("")

    def bye(self) -> bytes:
        """The last request; it may overtake one that is held."""
        self.seq += 1
        return f'{self._head}{self.seq},"want":0,"wait":0,"state":"bye","held":[],"done":[]}}'.encode()

    def _introduce(self, run: str, epoch: int) -> bytes:
        who = {"host": "crowd", "pid": self.slave_id[:8]}
        return wire.encode_poll(wire.Poll(run, epoch, self.slave_id, self.seq, self._want, WAIT_MS, info=who))[0]

    def _know(self, run: str, epoch: int) -> None:
        self._head = f'{{"v":{wire.VERSION},"run":"{run}","epoch":{epoch},"sid":"{self.slave_id}","n":'
        self._tail = f',"wait":{WAIT_MS},"state":"run","held":[],"done":['

    def _settle(self, leases: Sequence[Sequence[Any]]) -> bytes:
        count = sum([lease[1] for lease in leases])
        self.jobs += count
        if self._most is None:
            self._prefetch.received(count, sum([lease[4] for lease in leases]), count, ANSWER_SECONDS)
            self._prefetch.handled(count)
            self._pace.observe(count, count * JOB_SECONDS)
        return self._ask(",".join([f"[{lease[0]},{lease[1]}]" for lease in leases]))

    def _ask(self, done: str) -> bytes:
        self.seq += 1
        return f'{self._head}{self.seq},"want":{self._want}{self._tail}{done}]}}'.encode()

    @property
    def _want(self) -> int:
        return self._most or self._prefetch.target()


class ConnectionLimit:
    """Sessions, each with a connection of its own, over one socket. `close` it."""

    def __init__(self, address: str, count: int, most: int | None = None) -> None:
        self._context = zmq.Context()
        # A ROUTER may dial one address many times and name each connection; 1,000 sockets would take as many polls.
        self._socket = self._context.socket(zmq.ROUTER)
        for option, value in {zmq.LINGER: 0, zmq.SNDHWM: 0, zmq.RCVHWM: 0}.items():
            self._socket.setsockopt(option, value)
        self._sessions = {b"slave %d" % number: Session(secrets.token_hex(16), most) for number in range(count)}
        for name in self._sessions:
            self._socket.setsockopt(zmq.CONNECT_ROUTING_ID, name)
            self._socket.connect(address)

    @property
    def jobs(self) -> int:
        """Settled so far, by all."""
        return sum(session.jobs for session in self._sessions.values())

    @property
    def answered(self) -> int:
        """Requests so far, of all."""
        return sum(session.answered for session in self._sessions.values())

    def join(self) -> float:
        """Say hello for all; returns the seconds until the last one is answered. Raises Stalled."""
        began = time.perf_counter()
        for name, session in self._sessions.items():
            self._send(name, session.hello())
        self._play_until(lambda session: session.answered > 0)
        return time.perf_counter() - began

    def play(self, seconds: float) -> None:
        """Ask and settle for `seconds`. Raises Stalled."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if not self._turn(min(left, PATIENCE_SECONDS)) and left > PATIENCE_SECONDS:
                raise Stalled(f"no answer within {PATIENCE_SECONDS:g} s")

    def leave(self) -> None:
        """Say goodbye for all, until each is told to stop. Raises Stalled."""
        for name, session in self._sessions.items():
            self._send(name, session.bye())
        self._play_until(lambda session: session.gone)

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def _play_until(self, true: Callable[[Session], bool]) -> None:
        waiting = list(self._sessions.values())
        while waiting := [session for session in waiting if not true(session)]:
            if not self._turn(PATIENCE_SECONDS):
                raise Stalled(f"{len(waiting)} slaves got no answer for {PATIENCE_SECONDS:g} s")

    def _turn(self, seconds: float) -> bool:
        """Wait for replies and send the next request for each; returns whether there were any."""
        if not self._socket.poll(int(1000 * seconds) + 1):
            return False
        receive, send, sessions, at_once = self._socket.recv_multipart, self._send, self._sessions, zmq.NOBLOCK
        try:
            for _ in range(AT_ONCE):
                name, _, _, header, _ = receive(at_once)
                request = sessions[name].hear(header)
                if request is not None:
                    send(name, request)
        except zmq.Again:
            pass
        return True

    def _send(self, name: bytes, header: bytes) -> None:
        self._socket.send_multipart([name, REQUEST_ID, b"", header, b""])
