"""The product's command lines, all in one place, and the processes that they become.

Output goes to files: a pipe that nobody reads blocks its writer, which would be a fault of the suite itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).resolve().parent / "shim"

THREADS = 4
WINDOW = 200

# Each scene has a user's configuration of its own, so that master and slaves share a key with nobody else.
INSECURE = ("--insecure",)
MASTER = ("--size", WINDOW, "--state", "state", "--summary", "summary.json", "--no-progress")
SLAVE = ("--concurrency", THREADS, "--timeout", 300)
RUN = (*MASTER, *SLAVE)


def command_line(command: str, *arguments: object) -> list[str]:
    """Starts tm-`command` as it is installed, with the package of this tree."""
    return [sys.executable, str(Path(sys.executable).with_name(f"tm-{command}")), *map(str, arguments)]


def environment(folder: Path, shim: Mapping[str, Any] | None = None) -> dict[str, str]:
    """That of this process, without the user's settings; with the shim if there is one."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TASKMASTER_")}
    kept["XDG_CONFIG_HOME"] = str(folder / "config")
    kept["PYTHONPATH"] = os.pathsep.join([str(SHIM), str(ROOT)] if shim else [str(ROOT)])
    return {**kept, "CHAOS_SHIM": json.dumps(shim)} if shim else kept


class Actor:
    """A command at work in a session of its own."""

    def __init__(self, command: str, argv: Sequence[str], folder: Path, number: int, shim: Mapping[str, Any],
                 limits: str = "", home: Path | None = None) -> None:
        self.command = command
        self._said = folder / f"said-{number}-{command}"
        line = ["bash", "-c", f'{limits}; exec "$@"', "bash", *argv] if limits else list(argv)
        with open(self._said, "wb") as said:
            self.process = subprocess.Popen(line, cwd=folder, env=environment(home or folder, shim),
                                            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                                            start_new_session=True)
        self.pid = self.process.pid
        self.slaves = 0  # that it keeps, if it is tm-spawn

    @property
    def is_master(self) -> bool:
        return self.command in ("master", "run")

    @property
    def said(self) -> str:
        """All that it printed so far."""
        return self._said.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self.process.poll()

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self, seconds: float) -> int | None:
        """The exit code, None when it still runs then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def kill(self) -> None:
        """kill -9, and reap it; its children are not touched."""
        self.process.kill()
        self.process.wait(10)

    def kill_group(self) -> None:
        """kill -9 to its whole process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)
