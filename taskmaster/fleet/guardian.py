"""Kills what is left of a fleet that was killed itself: the programs that its slaves' handlers had started.

The kernel ends the slaves of a dead fleet, but not their children. So a shell in its own session, which takes about
1 MB, waits for the end of a pipe whose other end only the fleet holds, then kills the slaves' process groups. It is not
a child of the fleet's process, so that it is never mistaken for a slave.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

# Each line lists the current groups. It detaches at once, and ignores signals meant for a whole unit.
_SCRIPT = """
trap '' HUP INT QUIT TERM USR1 USR2
exec 3<&0  # for a command in the background, POSIX makes 0 /dev/null
{ groups=
  while read -r line; do groups=$line; done
  for group in $groups; do kill -KILL "-$group"; done
} <&3 3<&- >/dev/null 2>&1 &
"""


class Guardian:
    """Knows the process groups that must not outlive this process. `close` forgets them and ends it."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._fd: int | None = None
        self._tried = False

    def add(self, group: int) -> None:
        """Kill this group once this process is gone."""
        self._start()
        self._groups.add(group)
        self._tell()

    def remove(self, group: int) -> None:
        """Leave this group alone from now on."""
        if group in self._groups:
            self._groups.discard(group)
            self._tell()

    def close(self) -> None:
        """End it without killing anything."""
        self._groups.clear()
        self._tell()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _start(self) -> None:
        if self._tried or sys.platform == "win32":
            return
        self._tried = True
        read, self._fd = os.pipe()
        try:
            subprocess.run(["/bin/sh", "-c", _SCRIPT], stdin=read, stdout=subprocess.DEVNULL, cwd="/", env={},
                           stderr=subprocess.DEVNULL, start_new_session=True, check=True)
        except (OSError, subprocess.SubprocessError):  # no shell: handlers' programs may outlive a fleet that is killed
            os.close(self._fd)
            self._fd = None
        finally:
            os.close(read)

    def _tell(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):  # somebody killed it
                os.write(self._fd, (" ".join(map(str, sorted(self._groups))) + "\n").encode())


def kill_group(group: int) -> None:
    """Send SIGKILL to all processes of this group, if there are any."""
    if sys.platform != "win32":
        # macOS reports EPERM for a dead group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
