"""One round of one fault: the scenes that it takes, and its chance."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from chaos.scene import Scene


class Act:
    """Each scene has a folder of its own in `folder`; the chance follows from seed and fault."""

    def __init__(self, folder: Path, seed: int, number: int) -> None:
        self.folder = folder
        self.chance = random.Random(f"{seed} {number}")
        self.scenes: list[Scene] = []

    def scene(self, name: str = "") -> Scene:
        """A new one; `name` tells it from the others."""
        made = Scene(self.folder / str(len(self.scenes)), name, self.chance)
        self.scenes.append(made)
        return made

    def close(self) -> None:
        for scene in self.scenes:
            scene.close()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
