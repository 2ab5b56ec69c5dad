"""The command line of a slave, for every launcher."""

from __future__ import annotations

import sys
from pathlib import Path

SLAVE_COMMAND = (sys.executable, "-m", "taskmaster.cli.slave")


def slave_arguments(concurrency: int, job_timeout: float | None, timeout: int, retries: int,
                    log_level: str, log_format: str, grace: float | None = None) -> list[str]:
    """These options as a slave's command line has them."""
    given = {"--concurrency": concurrency, "--job-timeout": job_timeout, "--timeout": timeout, "--retries": retries,
             "--log-level": log_level, "--log-format": log_format, "--grace": grace}
    return [text for name, value in given.items() if value is not None for text in (name, str(value))]


def key_arguments(key_file: Path | None, insecure: bool) -> list[str]:
    """These options as a slave's command line has them."""
    named = ["--key-file", str(key_file)] if key_file is not None else []
    return named + (["--insecure"] if insecure else [])
