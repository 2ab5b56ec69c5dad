"""What a master counts during one run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Counts of jobs in this run, unless a comment says otherwise."""

    handled: int = 0
    failed: int = 0  # abandoned, that is written to the failures file
    retried: int = 0  # failed attempts that were followed by another
    duplicates: int = 0  # reported as done more than once
    returned: int = 0  # requeued because the slave that had them on lease did not list them: unstarted, or a lost reply
    deaths: int = 0  # of slaves that held jobs
    refused: int = 0  # messages: malformed, of another version, or of slaves above the limit
