"""What a master counts during one run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """What happened in this run."""

    handled: int = 0
    failed: int = 0
    retried: int = 0
    duplicates: int = 0
    returned: int = 0  # given back unstarted, or lost with a reply
    deaths: int = 0
    refused: int = 0  # messages not acted on: malformed, of another version, or of one slave too many
