"""The place in which a test runs commands; it fails the test if a process is left behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from helpers import Place  # noqa: E402


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with the common workload, `work.py`."""
    if not sys.platform.startswith("linux"):
        pytest.skip("processes left behind are found in /proc")
    made = Place(tmp_path.resolve())
    made.write()
    try:
        yield made
    finally:
        left = made.clean()
    assert left == [], "processes that outlived the command that started them"
