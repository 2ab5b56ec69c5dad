"""What the dispatcher asks of the loop around it, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskmaster.core.session import Route
from taskmaster.core.window import Buried
from taskmaster.core.wire import Frames


@dataclass(frozen=True)
class Send:
    """Send these frames along this route."""

    route: Route
    frames: Frames


@dataclass(frozen=True)
class Bury:
    """Write these failures down before any checkpoint whose watermark is above them."""

    jobs: tuple[Buried, ...]


@dataclass(frozen=True)
class Say:
    """Log this: a level's name, a text with %-marks and its values."""

    level: str
    text: str
    values: tuple[Any, ...] = ()


Effect = Send | Bury | Say


@dataclass
class Counts:
    """What happened in this run."""

    handled: int = 0
    failed: int = 0
    retried: int = 0
    duplicates: int = 0
    returned: int = 0  # given back unstarted, or lost with a reply
    deaths: int = 0
    refused: int = 0  # messages that were none
