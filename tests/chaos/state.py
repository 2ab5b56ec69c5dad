"""What the product leaves on disk, read as the documentation describes it; nothing of the product is imported."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any


def job_of(failure: dict[str, Any]) -> str:
    """The job that a line of the failures file is about, as the notes show it."""
    payload = failure.get("payload")
    if isinstance(payload, dict) and "json" in payload:
        return str(payload["json"])
    return str(failure["offset"])


def failures(state: Path) -> list[dict[str, Any]]:
    """The lines of the failures file; after a `--reset` only those since."""
    path = state / "failures.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """A line of JSON and its CRC32 in hexadecimal; None if the file is anything else."""
    try:
        line, _, rest = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if rest != b"%08x\n" % zlib.crc32(line):
        return None
    found: dict[str, Any] = json.loads(line)
    return found


def newest_checkpoint(state: Path) -> dict[str, Any] | None:
    """What a resume starts from: the main file, or the one before it."""
    for name in ("checkpoint.json", "checkpoint.prev.json"):
        found = read_checkpoint(state / name)
        if found is not None:
            return found
    return None
