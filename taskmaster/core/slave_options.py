"""How a slave works, as its command line says it; commands and fleets pass it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from taskmaster import defaults
from taskmaster.handlers import settings_of


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
        return as_arguments(asdict(self))


def as_arguments(given: Mapping[str, Any]) -> list[str]:
    """Options as a command line has them; those that are None are left out."""
    named = {f"--{name.replace('_', '-')}": value for name, value in given.items() if value is not None}
    return [text for name, value in named.items() for text in (name, str(value))]
