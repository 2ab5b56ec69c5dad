"""A small disk that can be filled and freed, simulated unless we are root; and folders that become read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from chaos.exceptions import Unplayable
from chaos.scene import Scene

KIB = 256


class Disk:
    """Holds a scene's state from now on: a tmpfs of 256 KiB; without root, a shim that raises ENOSPC."""

    def __init__(self, scene: Scene) -> None:
        self._real = os.geteuid() == 0 and self._mount(scene.folder / "disk")
        self._flag = scene.folder / "full"
        self.folder = scene.folder / "disk"
        self.folder.mkdir(exist_ok=True)
        scene.state = self.folder / "state"
        if self._real:
            scene.on_close(self._unmount)
        else:
            scene.shim = {**scene.shim, "full": str(self._flag)}

    def _mount(self, folder: Path) -> bool:
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={KIB}k", "tmpfs", str(folder)]
        return subprocess.run(["mount", *options], capture_output=True).returncode == 0

    def _unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=True)

    def fill(self) -> None:
        """Not another byte fits."""
        if not self._real:
            self._flag.touch()
            return
        with open(self.folder / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def free(self) -> None:
        """There is room again."""
        (self.folder / "ballast").unlink(missing_ok=True)
        self._flag.unlink(missing_ok=True)


def set_read_only(folder: Path, on: bool) -> None:
    """Whether things can be created or renamed in this folder. Raises Unplayable."""
    if os.geteuid() != 0:
        folder.chmod(0o500 if on else 0o700)
        return
    # Root may write whatever the mode says, unless a folder is immutable.
    made = subprocess.run(["chattr", "+i" if on else "-i", str(folder)], capture_output=True)
    if made.returncode != 0:
        raise Unplayable("root may write anywhere, and this file system has no immutable folders")
