"""What the dispatcher asks the loop around it to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.session import Route
from taskmaster.core.wire import Frames


@dataclass(frozen=True)
class Send:
    """Send these frames along this route."""

    route: Route
    frames: Frames


@dataclass(frozen=True)
class Abandon:
    """Record these failures, before any checkpoint whose watermark is above them."""

    jobs: tuple[AbandonedJob, ...]


@dataclass(frozen=True)
class Log:
    """Log this: the level's name, a %-format and its values."""

    level: str
    text: str
    values: tuple[Any, ...] = ()


Effect = Send | Abandon | Log
