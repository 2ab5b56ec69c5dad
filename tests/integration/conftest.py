"""What several files of these tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.state_folder import at

from taskmaster.master.state.folder import StateFolder


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


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    """A state folder, held open."""
    with StateFolder(tmp_path / "state") as folder:
        yield folder


@pytest.fixture
def two(folder: StateFolder) -> StateFolder:
    """A folder in which offset 2 was saved after offset 1, seen by the next master."""
    folder.save(at(1))
    folder.save(at(2))
    folder.close()
    following = StateFolder(folder.path)
    following.open()
    return following
