"""One round of one fault: the scenes that it takes, and its chance."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from chaos.exceptions import Broken
from chaos.scene import Scene

Case = TypeVar("Case")


class Act:
    """Each scene has a folder of its own in `folder`; the chance follows from seed and fault.

    An `exhaustive` one plays all cases of a fault that has many, not a few drawn ones.
    """

    def __init__(self, folder: Path, seed: int, number: int, exhaustive: bool = False) -> None:
        self.folder = folder
        self.chance = random.Random(f"{seed} {number}")
        self.exhaustive = exhaustive
        self.scenes: list[Scene] = []
        self.remarks: list[str] = []  # for the report

    def scene(self, name: str = "") -> Scene:
        """A new one; `name` tells it from the others."""
        made = Scene(self.folder / str(len(self.scenes)), name, self.chance)
        self.scenes.append(made)
        return made

    def draw(self, cases: Sequence[Case], most: int) -> Sequence[Case]:
        """The cases to play: `most` of them by chance, or all."""
        return cases if self.exhaustive else self.chance.sample(cases, min(most, len(cases)))

    @contextlib.contextmanager
    def case(self, name: str) -> Iterator[Scene]:
        """A scene that is over after the `with`. If it breaks, the next cases can still be played."""
        scene = self.scene(name)
        try:
            yield scene
        except Broken as error:
            scene.violations.append(str(error))
            scene.finishes = False  # jobs that nobody waited for are not lost
        finally:
            scene.close()

    def close(self) -> None:
        for scene in self.scenes:
            scene.close()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
