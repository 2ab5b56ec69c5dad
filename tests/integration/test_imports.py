"""What a process loads: a slave of a fleet neither the master nor the console, tm-spawn no master."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPATIENT = ("--timeout", "100", "--retries", "1")
GONE = 69


def modules_of(command: str, folder: Path, *arguments: str) -> set[str]:
    """What a command without a master has imported until it gave up; what its slaves import is not counted."""
    (folder / "work.py").write_text("from taskmaster import Job\ndef handle_job(job): pass\n")
    argv = [sys.executable, "-X", "importtime", "-m", f"taskmaster.cli.{command}", "work.py", *arguments,
            "--address", f"ipc://{folder}/nobody", *IMPATIENT]
    ended = subprocess.run(argv, cwd=folder, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                           capture_output=True, text=True, timeout=50)
    assert ended.returncode == GONE, ended.stderr[-2000:]
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def rooms(modules: set[str], *names: str) -> list[str]:
    """The modules that belong to these rooms of the package."""
    return sorted(module for module in modules for name in names if f"{module}.".startswith(f"taskmaster.{name}."))


def test_a_slave_of_a_fleet_loads_neither_the_master_nor_the_console(tmp_path: Path) -> None:
    modules = modules_of("slave", tmp_path, "--no-progress")
    assert "taskmaster.slave.control" in modules
    assert rooms(modules, "master", "console", "fleet", "api") == [] and "progressbar" not in modules


def test_a_slave_in_the_foreground_loads_no_master(tmp_path: Path) -> None:
    modules = modules_of("slave", tmp_path)
    assert "taskmaster.console.progress" in modules
    assert rooms(modules, "master", "fleet", "api") == []


def test_spawn_loads_no_master_no_slave_and_no_console(tmp_path: Path) -> None:
    modules = modules_of("spawn", tmp_path, "1")
    assert "taskmaster.fleet.local" in modules
    assert rooms(modules, "master", "slave", "console", "api") == []


@pytest.mark.parametrize("command", ["run", "master"])
def test_no_command_draws_or_loads_asyncio_before_it_has_to(command: str) -> None:
    show = f"import sys, taskmaster.cli.{command}; print(sorted({{'progressbar', 'asyncio'}} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, timeout=50)
    assert ended.stdout == "[]\n", ended.stderr
