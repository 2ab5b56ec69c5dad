"""What several files of these tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    """Closes what is passed to it when the test ends."""
    made: list[Any] = []

    def note(one: Any) -> Any:
        made.append(one)
        return one

    yield note
    for one in reversed(made):
        one.close()
