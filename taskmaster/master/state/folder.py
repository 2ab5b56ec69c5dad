"""The folder that holds a run's state: locked, loaded, saved, reset.

It knows nothing of windows, slaves or threads: the server decides what to save, and `writer.py` when.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType

from taskmaster import defaults, durable
from taskmaster.errors import StateMismatch, StateUnwritable
from taskmaster.master.state.checkpoint import Checkpoint, checked, encode, parse
from taskmaster.master.state.handed_out import HandedOut
from taskmaster.master.state.lock import FileLock, LockHeld, NoLocks
from taskmaster.master.state.trust import check_folder, read_own
from taskmaster.master.state.waiting_file import WAITING_RESULTS

log = logging.getLogger(__name__)

_OLD_FOLDER = re.compile(r"old-\d{8}T\d{6}\.\d{6}Z")


class StateFolder:
    """The folder that holds one run's state, for one master at a time. Use it from one thread at a time."""

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self.failures_path = self.path / "failures.jsonl"
        self.handed_out = HandedOut(self.path / "handed-out")
        self._main = self.path / "checkpoint.json"
        self._previous = self.path / "checkpoint.prev.json"
        self._fresh = self.path / "checkpoint.json.tmp"
        self._lock = FileLock(self.path / "lock")
        self._clock = clock
        # True only when it is known to be: a damaged main file must not replace a good previous one.
        self._main_is_sound = False

    def open(self) -> None:
        """Create the folder if it is missing, lock it, and check that it can be written.

        Raises StateUnwritable: no space, no permission, another user may write to it, or another master is using it.
        """
        try:
            durable.make_folder(self.path)
            check_folder(self.path)
            self._lock.take()
            # A whole block: on a full disk a few bytes may still fit into the lock file's old one.
            durable.write_fresh(self._fresh, b"\n" * 4096)
            self._fresh.unlink()
        except LockHeld as error:
            who = f"process {error.holder}" if error.holder else "its process id is unknown"
            raise StateUnwritable(
                f"The state folder {self.path} is in use by another master ({who}). "
                f"Wait for it or stop it, or choose another folder for this one with --state DIR."
            ) from error
        except NoLocks as error:
            raise StateUnwritable(
                f"The file system of the state folder {self.path} has no locks ({error.strerror}), without which a "
                f"second master could use it too. Choose a folder on another file system with --state DIR."
            ) from error
        except OSError as error:
            self.close()
            raise self.unwritable(error) from error

    def close(self) -> None:
        """Release the folder. Does nothing when it is not open."""
        self.handed_out.close()
        self._lock.release()

    def unwritable(self, error: OSError) -> StateUnwritable:
        """What to raise for an OSError when there is no point in retrying, such as at the start of a run."""
        where = f" ({error.filename})" if error.filename else ""
        return StateUnwritable(
            f"The state folder {self.path} cannot be written: {error.strerror or error}{where}. "
            f"Free some space or grant write permission, or choose another folder with --state DIR."
        )

    def __enter__(self) -> StateFolder:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> Checkpoint | None:
        """The newest intact checkpoint; None only when nothing has ever run here.

        Raises StateMismatch if there are checkpoints but none is usable, or if the newest has a newer format, and
        StateUnwritable if one that may be usable cannot be read.
        """
        problems: list[str] = []
        unread: OSError | None = None
        for path in (self._main, self._previous):
            try:
                found = parse(read_own(path))
            except FileNotFoundError:
                problems.append(f"{path.name} is missing")
            except OSError as error:
                unread = error
                problems.append(f"{path.name} cannot be read ({error.strerror or error})")
            except ValueError as error:
                problems.append(f"{path.name} {error}")
            else:
                if problems:
                    log.warning("In %s, %s. Resuming from %s: jobs settled since it was written run again.",
                                self.path, problems[0], path.name)
                return found
        if unread is not None:
            raise self._unreadable(", and ".join(problems)) from unread
        if self._is_empty():
            return None
        raise StateMismatch(
            f"The state in {self.path} cannot be used: {', and '.join(problems)}. "
            f"Restore a backup of the folder, or start over with --reset (the old files are moved aside)."
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Make `checkpoint` the current one and the current one the previous; durable on return.

        Raises OSError, after which either may be the current one; LockLost, as `verify` does; and ValueError for a
        cursor that cannot be written.
        """
        self.verify()
        durable.write_fresh(self._fresh, encode(checkpoint))
        if self._main_is_sound or self._check_main():
            durable.keep_as(self._main, self._previous)
        self._main_is_sound = False
        os.replace(self._fresh, self._main)
        durable.sync_folder(self.path)
        self._main_is_sound = True

    def verify(self) -> None:
        """Raise LockLost if the folder or its lock was moved, removed or replaced since it was opened."""
        self._must_be_open()
        self._lock.verify()

    def reset(self) -> Path | None:
        """Move all state aside into a new folder `old-<time>`; returns its path, None when there is no state.

        The newest OLD_STATES_KEPT of those folders are kept. Raises StateUnwritable.
        """
        self._must_be_open()
        try:
            moving = [path for path in self._files() if path.exists()]
            return self._move_aside(moving) if moving else None
        except OSError as error:
            raise self.unwritable(error) from error

    def check(self, checkpoint: Checkpoint, target: str, arguments: Mapping[str, str]) -> None:
        """Raises StateMismatch, which says what differs, when `checkpoint` is of another target or arguments."""
        found = _identity(checkpoint.target, checkpoint.arguments)
        wanted = _identity(target, arguments)
        told = [
            f"{name} was {_short(found.get(name))} and is now {_short(wanted.get(name))}"
            for name in {**found, **wanted} if found.get(name) != wanted.get(name)
        ]
        if told:
            raise StateMismatch(
                f"The state in {self.path} belongs to another workload: {'; '.join(told)}. "
                f"Choose another folder for this one with --state DIR, or start over with --reset."
            )

    def _files(self) -> list[Path]:
        # In the order of a reset: if interrupted, it leaves what resumes from the main checkpoint or is refused.
        waiting = sorted(self.path.glob(WAITING_RESULTS))
        return [self._previous, self._main, self.handed_out.path, self.failures_path, *waiting]

    def _is_empty(self) -> bool:
        try:
            return not any(map(_has_content, self._files()))
        except OSError as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, why: str) -> StateUnwritable:
        return StateUnwritable(f"The state in {self.path} cannot be read: {why}. "
                               f"Check the disk and the permissions, then run the same command again.")

    def _must_be_open(self) -> None:
        if not self._lock.held:
            raise RuntimeError("the state folder is not open")

    def _check_main(self) -> bool:
        try:
            checked(read_own(self._main))
        except (OSError, ValueError):
            return False
        return True

    def _move_aside(self, moving: Iterable[Path]) -> Path:
        aside = self.path / f"old-{self._stamp()}"
        aside.mkdir(mode=0o700)
        self._main_is_sound = False
        for path in moving:
            os.replace(path, aside / path.name)
        durable.sync_folder(aside)
        durable.sync_folder(self.path)
        self._forget_oldest(aside)
        return aside

    def _stamp(self) -> str:
        now = self._clock()
        return time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"

    def _forget_oldest(self, newest: Path) -> None:
        # The newest is kept, whatever its age by the wall clock.
        old = sorted(path for path in self.path.iterdir() if _OLD_FOLDER.fullmatch(path.name))
        for path in [path for path in old if path != newest][:-(defaults.OLD_STATES_KEPT - 1)]:
            try:
                shutil.rmtree(path)
            except OSError as error:
                log.warning("The old state %s could not be removed (%s); please remove it by hand.", path, error)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0 or path.suffix == ".json"
    except FileNotFoundError:
        return False


def _identity(target: str, arguments: Mapping[str, str]) -> dict[str, str]:
    return {"target": target, **{f"argument {key}": value for key, value in arguments.items()}}


def _short(text: str | None) -> str:
    return "not given" if text is None else repr(text) if len(text) <= 80 else repr(text[:77]) + "..."
