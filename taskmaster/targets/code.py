"""What a master and a slave say of the code that a target names, so that they notice when theirs differ."""

from __future__ import annotations

import hashlib
import os
import sys

from taskmaster import defaults
from taskmaster.targets.load import Target


def describe(target: Target) -> dict[str, str]:
    """Texts by name, for a target that has been loaded.

    `module` is the dotted name of the module or the name of the file, without its folder, which differs between
    machines; `source` is a digest of the file, empty if there is none; the others are versions.
    """
    module = os.path.basename(target.source) if target.is_file else target.source
    return {"module": module, "source": _digest(_file_of(target)), "python": sys.version.split()[0],
            "version": defaults.PRODUCT_VERSION}


def _file_of(target: Target) -> str:
    return target.path if target.is_file else getattr(sys.modules.get(target.source), "__file__", None) or ""


def _digest(path: str) -> str:
    """Of the text: line ends differ between systems."""
    if not path.endswith(".py"):
        return ""
    try:
        with open(path, "rb") as file:
            return hashlib.blake2b(file.read().replace(b"\r\n", b"\n"), digest_size=8).hexdigest()
    except OSError:  # in a zip file, or removed since
        return ""
