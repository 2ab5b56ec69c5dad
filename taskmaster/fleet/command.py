"""The command line of a slave, for every launcher."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from taskmaster import defaults
from taskmaster.handlers import settings_of

_START = Path(__file__).resolve().parents[1] / "cli" / "start_slave.py"


def slave_command() -> list[str]:
    """The beginning of the command line of a slave on this machine."""
    if _START.is_file():
        return [sys.executable, str(_START)]
    import pkgutil  # here: only a Taskmaster in a zip file needs it

    text = pkgutil.get_data("taskmaster.cli", _START.name)
    assert text is not None
    return [sys.executable, "-c", f"__file__ = {str(_START)!r}\n{text.decode()}"]


@dataclass(frozen=True)
class SlaveOptions:
    """The options of a slave that say how it works, each named as on the command line; None leaves it to the slave."""

    concurrency: int | None = None
    pool: str | None = None
    batch: int | None = None  # jobs in a call
    job_timeout: float | None = None  # seconds
    max_jobs_per_slave: int | None = None
    max_memory: float | None = None  # MiB
    lifetime: float | None = None  # seconds
    timeout: int = defaults.REPLY_TIMEOUT_MS
    retries: int = defaults.RETRIES

    def timeout_of(self, handler: Callable[..., Any]) -> float | None:
        """The most seconds that an attempt may take: by the option, else by the handler's settings."""
        return self.job_timeout or settings_of(handler).timeout

    def arguments(self) -> list[str]:
        """These options as a slave's command line has them."""
        return _as_arguments(asdict(self))


def output_arguments(log_level: str, log_format: str, grace: float | None) -> list[str]:
    """These options as a slave's command line has them."""
    return _as_arguments({"log_level": log_level, "log_format": log_format, "grace": grace})


def _as_arguments(given: Mapping[str, Any]) -> list[str]:
    named = {f"--{name.replace('_', '-')}": value for name, value in given.items() if value is not None}
    return [text for name, value in named.items() for text in (name, str(value))]


def key_arguments(key_file: Path | None, insecure: bool) -> list[str]:
    """These options as a slave's command line has them."""
    named = ["--key-file", str(key_file)] if key_file is not None else []
    return named + (["--insecure"] if insecure else [])
