"""What the sinks that write files say of a place that cannot be used, and of results that are not there any more."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from taskmaster import durable
from taskmaster.errors import StateMismatch, UsageError

# Results are the user's own data, so the user's umask decides who may read them, as with what any other program writes.
MODE = 0o666


def open_file(path: Path, flags: int) -> int:
    """`os.open` for a regular file. Raises UsageError where there can be none, StateMismatch where one must exist, and
    OSError."""
    extra = [getattr(os, name, 0) for name in ("O_BINARY", "O_NONBLOCK", "O_CLOEXEC")]
    try:
        file = os.open(path, flags | sum(extra), MODE)
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise unusable(path, error) from error
    except FileNotFoundError as error:
        raise (unusable(path, error) if flags & os.O_CREAT else lost(path, "is missing")) from error
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    durable.close_quietly(file)
    raise UsageError(f"{path} is not a regular file, so a resumed run could not cut it back. Choose another one with "
                     "--results.")


def unusable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"Results cannot be written to {path}: {error.strerror}. Choose another place with --results.")


def occupied(path: Path) -> UsageError:
    return UsageError(f"{path} holds something already, and this run has not written it. Choose another place with "
                      "--results, or remove it.")


def lost(path: Path, what: str) -> StateMismatch:
    return StateMismatch(f"{path} {what}, so results of earlier runs are lost. Put it back as it was, or start over "
                         "with --reset.")
