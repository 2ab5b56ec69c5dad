"""What a slave loads: a thousand slaves that each carried a master's code would pay for it in memory and start-up."""

from __future__ import annotations

import subprocess
import sys


def loaded(module: str) -> set[str]:
    """The modules of taskmaster that a fresh interpreter has after importing `module`."""
    code = f"import sys, {module}; print(*[name for name in sys.modules if name.startswith('taskmaster')])"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_a_slave_loads_neither_the_master_nor_the_console() -> None:
    rooms = {name.split(".")[1] for name in loaded("taskmaster.slave.slave") if "." in name}
    assert {"slave", "core", "transport"} <= rooms and not rooms & {"master", "console", "fleet", "api", "cli"}
