"""The command line of a slave, for every launcher."""

from __future__ import annotations

import sys
from pathlib import Path

from taskmaster.core.slave_options import as_arguments

_START = Path(__file__).resolve().parents[1] / "cli" / "start_slave.py"


def slave_command() -> list[str]:
    """The beginning of the command line of a slave on this machine."""
    if _START.is_file():
        return [sys.executable, str(_START)]
    import pkgutil  # here: only a Taskmaster in a zip file needs it

    text = pkgutil.get_data("taskmaster.cli", _START.name)
    assert text is not None
    return [sys.executable, "-c", f"__file__ = {str(_START)!r}\n{text.decode()}"]


def output_arguments(log_level: str, log_format: str, grace: float | None) -> list[str]:
    """These options as a slave's command line has them."""
    return as_arguments({"log_level": log_level, "log_format": log_format, "grace": grace})


def key_arguments(key_file: Path | None, insecure: bool) -> list[str]:
    """These options as a slave's command line has them."""
    named = ["--key-file", str(key_file)] if key_file is not None else []
    return named + (["--insecure"] if insecure else [])
