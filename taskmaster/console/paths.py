"""How paths are shown to people."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_started_in: list[Path] = []  # empty if that folder was removed
with contextlib.suppress(OSError):
    _started_in.append(Path(os.getcwd()))


def shown_path(path: Path) -> str:
    """Relative to the folder in which this process was started, if it is in there: that is where its shell still is."""
    return str(path.relative_to(_started_in[0]) if _started_in and path.is_relative_to(_started_in[0]) else path)
