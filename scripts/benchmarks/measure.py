"""Runs commands to their end, and reads from /proc what they and the processes below them used. Linux only.

It measures from outside and does not know what it runs, so a peer and taskmaster are measured in the same way:

- CPU is the kernel's own account, read when the command has ended and before it is reaped: `own_cpu` is that of the
  command itself, `below_cpu` that of all processes it started and waited for. Children that it never waits for are
  counted as far as they were last seen.
- Peak memory is the largest resident size (VmHWM), sampled every SAMPLE_SECONDS; the kernel keeps the maximum, so only
  what grows within the last of them is missed. `below_peak` is that of the largest process below.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SAMPLE_SECONDS = 0.25  # 64 processes at this pace take 1 % of a core
GRACE_SECONDS = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """A command that has ended: `began` and `ended` on CLOCK_MONOTONIC, CPU in seconds, peaks in bytes."""

    code: int
    began: float
    ended: float
    own_cpu: float
    below_cpu: float
    cpu: float  # both, from rusage: microseconds instead of ticks, but nothing of children not waited for
    own_peak: int
    below_peak: int
    said: str  # on stdout
    told: str  # on stderr

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Overtime(Exception):
    """A command did not end in time; all of it was killed."""


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float) -> Measured:
    """One command to its end. Raises Overtime."""
    return run_all([command], folder, environment, seconds)[0]


def run_all(commands: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str],
            seconds: float) -> list[Measured]:
    """Commands side by side, started in this order, until the last has ended. Raises Overtime.

    The first determines how long it takes: the others get GRACE_SECONDS after its end, then a SIGTERM. Otherwise a
    slave that starts after a short run is over would wait two minutes for the next.
    """
    started = [_Command(command, folder, environment) for command in commands]
    try:
        until = time.monotonic() + seconds
        while any([not one.over() for one in started]):
            if time.monotonic() > until:
                raise Overtime(f"Not finished after {seconds:.0f} s: {' '.join(commands[0])}")
            if not started[0].living and time.monotonic() > started[0].ended + GRACE_SECONDS:
                for one in started[1:]:
                    one.stop()
            _wait(started)
        return [one.measured() for one in started]
    finally:
        for one in started:
            one.kill()


def resident(pid: int, field: str = "VmRSS") -> int:
    """Bytes of memory of a living process; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith(field + ":")]
    return int(found[0]) << 10 if found else 0


def below(pid: int) -> Iterator[int]:
    """The living processes that this one started, and those below them."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        try:
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        except OSError:
            continue  # it has ended meanwhile
        for child in map(int, children):
            yield child
            yield from below(child)


def _cpu(pid: int) -> tuple[float, float]:
    """Seconds of the process itself, and of its children that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    user, system, below_user, below_system = map(int, fields[11:15])
    return (user + system) / _TICKS, (below_user + below_system) / _TICKS


def _wait(commands: Sequence[_Command]) -> None:
    """Until one of them ends, but no longer than to the next sample."""
    poll = select.poll()
    for one in commands:
        if one.living:
            poll.register(one.handle, select.POLLIN)
    poll.poll(SAMPLE_SECONDS * 1000)


class _Command:
    """A command at work, in a process group of its own so that nothing of it is left behind."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.living, self._asked = True, False
        self._began = time.monotonic()
        self._process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
                                         stdout=self._out, stderr=self._err, start_new_session=True)
        self.handle = os.pidfd_open(self._process.pid)
        self.ended = self._began
        self._own_peak = self._below_peak = 0
        self._seen: dict[int, float] = {}

    def over(self) -> bool:
        """Whether it has ended; samples it if it has not."""
        if self.living and os.waitid(os.P_PIDFD, self.handle, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            self.ended, self.living = time.monotonic(), False
        if self.living:
            self._sample()
        return not self.living

    def stop(self) -> None:
        """Ask it, once, to end normally."""
        if self.living and not self._asked:
            self._asked = True
            self._process.send_signal(signal.SIGTERM)

    def _sample(self) -> None:
        pid = self._process.pid
        self._own_peak = max(self._own_peak, resident(pid, "VmHWM"))
        for child in below(pid):
            self._below_peak = max(self._below_peak, resident(child, "VmHWM"))
            self._seen[child] = max(_cpu(child)[0], self._seen.get(child, 0.0))

    def measured(self) -> Measured:
        pid = self._process.pid
        own, waited_for = _cpu(pid)
        usage = os.wait4(pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(usage[1])
        return Measured(
            self._process.returncode, self._began, self.ended, own, max(waited_for, sum(self._seen.values())),
            usage[2].ru_utime + usage[2].ru_stime, self._own_peak, self._below_peak, _text(self._out), _text(self._err))

    def kill(self) -> None:
        """End what is left of it, such as children that outlive the command."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self._process.returncode is None:
            self._process.wait()
        os.close(self.handle)
        self._out.close()
        self._err.close()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
