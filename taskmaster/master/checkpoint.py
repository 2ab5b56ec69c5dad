"""How far a run got, as a file: the checkpoint and the folder that keeps it.

Knows nothing of windows, slaves or threads: `writer.py` decides when to save, the server what.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from taskmaster.core.portable import pack, unpack
from taskmaster.errors import StateMismatch, StateUnwritable
from taskmaster.master import durable
from taskmaster.master.handed_out import HandedOut

log = logging.getLogger(__name__)

# To change what a checkpoint holds: raise FORMAT by one; add to UPGRADES, under the old number, the function
# that turns the old fields into the new; add a line written by the old release to the tests; never remove a
# step. A format newer than FORMAT is refused, not guessed at. A field readers may ignore needs no number.
FORMAT = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

OLD_FOLDERS_KEPT = 3
_OLD_FOLDER = re.compile(r"old-\d{8}T\d{6}\.\d{6}Z")
_RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Checkpoint:
    """Every job below `offset` is settled; `cursor` (when `has_cursor`) is that of the job just below it.

    `run` is 32 hex digits, the same over all masters of one workload; `epoch` counts those masters. `digest`
    is that of the first unfinished job where it is known. `written_at` (Unix seconds) is for people only.
    """

    run: str
    epoch: int
    offset: int
    cursor: Any = None
    has_cursor: bool = False
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    finished: bool = False
    written_at: float = 0.0


def encode(checkpoint: Checkpoint) -> bytes:
    """Give a line of JSON and one with its CRC32. Raises ValueError for a cursor that cannot be written."""
    fields = {"format": FORMAT, **vars(checkpoint)}
    fields.update(arguments=dict(checkpoint.arguments), counters=dict(checkpoint.counters))
    fields["cursor"] = pack(checkpoint.cursor) if checkpoint.has_cursor else None
    line = json.dumps(fields).encode("ascii")
    return line + b"\n" + _checksum(line)


def decode(data: bytes) -> Checkpoint:
    """Read what `encode` wrote. Raises StateMismatch when it is damaged or of a newer format."""
    try:
        return _parse(data)
    except ValueError as error:
        raise StateMismatch(
            f"The checkpoint is damaged: it {error}. Restore a backup, or give --reset to start over."
        ) from error


def _checksum(line: bytes) -> bytes:
    return b"%08x\n" % zlib.crc32(line)


def _checked(data: bytes) -> bytes:
    line, _, rest = data.partition(b"\n")
    if rest != _checksum(line):
        raise ValueError("is cut short or does not match its checksum")
    return line


def _parse(data: bytes) -> Checkpoint:
    """Raises ValueError for damage, where the one before may serve, else StateMismatch."""
    fields = _upgraded(json.loads(_checked(data)))
    try:
        has_cursor = _of(bool, fields["has_cursor"])
        return Checkpoint(
            run=_run(fields["run"]),
            epoch=_of(int, fields["epoch"]),
            offset=_of(int, fields["offset"]),
            cursor=_cursor(fields["cursor"]) if has_cursor else None,
            has_cursor=has_cursor,
            target=_of(str, fields["target"]),
            arguments=_mapping(str, fields["arguments"]),
            digest=None if fields["digest"] is None else _of(str, fields["digest"]),
            counters=_mapping(int, fields["counters"]),
            finished=_of(bool, fields["finished"]),
            written_at=float(fields["written_at"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks a field or has a wrong one ({error})") from error


def _upgraded(fields: Any) -> dict[str, Any]:
    found = fields.get("format") if isinstance(fields, dict) else None
    if type(found) is not int or found < 1:
        raise ValueError("does not tell its format")
    if found > FORMAT:
        raise StateMismatch(
            f"The checkpoint has format {found}, and this taskmaster reads up to {FORMAT}. "
            f"Upgrade taskmaster, or give --reset to start over."
        )
    for step in range(found, FORMAT):
        fields = UPGRADES[step](fields)
    return dict(fields)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _run(value: Any) -> str:
    if not isinstance(value, str) or not _RUN.fullmatch(value):
        raise TypeError(f"{value!r} is no run id")
    return value


def _mapping(kind: type, value: Any) -> dict[str, Any]:
    return {key: _of(kind, content) for key, content in _of(dict, value).items()}


def _cursor(packed: Any) -> Any:
    try:
        return unpack(packed)
    except ValueError as error:
        # The checksum was right, so the file is whole, and the one before would fail for the same reason.
        raise StateMismatch(
            f"The cursor in the checkpoint cannot be read: {error} Make the code that defines it importable "
            f"as it was, or give --reset to start over."
        ) from error


class StateFolder:
    """The folder one run keeps its state in, held by one master at a time. Used by one thread at a time."""

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self.failures_path = self.path / "failures.jsonl"
        self.handed_out = HandedOut(self.path / "handed-out")
        self._main = self.path / "checkpoint.json"
        self._previous = self.path / "checkpoint.prev.json"
        self._fresh = self.path / "checkpoint.json.tmp"
        self._lock = durable.FileLock(self.path / "lock")
        self._clock = clock
        # True only when known: a damaged main file must not replace a good previous one.
        self._main_is_sound = False

    def open(self) -> None:
        """Make the folder where it is missing, lock it, and see that it can be written.

        Raises StateUnwritable: no place, no right, or another master at work in it.
        """
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            self._lock.take()
            # A block's worth: a full disk still takes a few bytes into the lock file's old block.
            durable.write_fresh(self._fresh, b"\n" * 4096)
            self._fresh.unlink()
        except durable.LockHeld as error:
            who = f"process {error.holder}" if error.holder else "its process id is not known"
            raise StateUnwritable(
                f"The state folder {self.path} is in use by another master ({who}). "
                f"Wait for it or stop it, or give this one another folder with --state DIR."
            ) from error
        except OSError as error:
            self.close()
            raise self.unwritable(error) from error
        self._warn_if_open_to_all()

    def close(self) -> None:
        """Let another master have the folder; harmless when it is not open."""
        self.handed_out.close()
        self._lock.release()

    def unwritable(self, error: OSError) -> StateUnwritable:
        """Give what to raise for an OSError where to try again is of no use, as at the start of a run."""
        return StateUnwritable(
            f"The state folder {self.path} cannot be written: {error.strerror or error}. "
            f"Make room or give the right to write, or name another folder with --state DIR."
        )

    def __enter__(self) -> StateFolder:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> Checkpoint | None:
        """Give the newest whole checkpoint; None only when nothing ever ran here.

        Raises StateMismatch when there was one and none can be used, or it is of a newer format.
        """
        problems: list[str] = []
        for path in (self._main, self._previous):
            try:
                found = _parse(path.read_bytes())
            except FileNotFoundError:
                problems.append(f"{path.name} is missing")
            except OSError as error:
                problems.append(f"{path.name} cannot be read ({error.strerror or error})")
            except ValueError as error:
                problems.append(f"{path.name} {error}")
            else:
                if problems:
                    log.warning("In %s %s. Going on from %s; jobs settled since it was written run again.",
                                self.path, problems[0], path.name)
                return found
        if not any(_has_content(path) for path in self._files()):
            return None
        raise StateMismatch(
            f"The state in {self.path} cannot be used: {', and '.join(problems)}. "
            f"Restore a backup of the folder, or give --reset to start over (the old files are kept beside)."
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Put `checkpoint` in place of the current one, which becomes the previous; durable on return.

        Raises OSError, after which either may be the current one, and ValueError for an impossible cursor.
        """
        self._must_be_open()
        durable.write_fresh(self._fresh, encode(checkpoint))
        if self._main_is_sound or self._check_main():
            durable.keep_as(self._main, self._previous)
        self._main_is_sound = False
        os.replace(self._fresh, self._main)
        durable.sync_folder(self.path)
        self._main_is_sound = True

    def reset(self) -> Path | None:
        """Move all state aside into a new folder `old-<time>` and give its path, None when there is no state.

        The newest three of those are kept. Raises StateUnwritable.
        """
        self._must_be_open()
        moving = [path for path in self._files() if path.exists()]
        if not moving:
            return None
        try:
            return self._move_aside(moving)
        except OSError as error:
            raise self.unwritable(error) from error

    def check(self, checkpoint: Checkpoint, target: str, arguments: Mapping[str, str]) -> None:
        """Raises StateMismatch when `checkpoint` is of another target or arguments, saying what differs."""
        found = _identity(checkpoint.target, checkpoint.arguments)
        wanted = _identity(target, arguments)
        told = [
            f"{name} was {_short(found.get(name))} and is {_short(wanted.get(name))}"
            for name in {**found, **wanted} if found.get(name) != wanted.get(name)
        ]
        if told:
            raise StateMismatch(
                f"The state in {self.path} belongs to another workload: {'; '.join(told)}. "
                f"Give this one another folder with --state DIR, or --reset to start over."
            )

    def _files(self) -> list[Path]:
        # In the order of a reset: cut short, it leaves what resumes from the main checkpoint or is refused.
        return [self._previous, self._main, self.handed_out.path, self.failures_path]

    def _must_be_open(self) -> None:
        if not self._lock.held:
            raise RuntimeError("the state folder is not open")

    def _check_main(self) -> bool:
        try:
            _checked(self._main.read_bytes())
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
        # The one just made stays whatever the wall clock says of its age.
        old = sorted(path for path in self.path.iterdir() if _OLD_FOLDER.fullmatch(path.name))
        for path in [path for path in old if path != newest][:-(OLD_FOLDERS_KEPT - 1)]:
            try:
                shutil.rmtree(path)
            except OSError as error:
                log.warning("The old state %s could not be removed (%s); remove it by hand.", path, error)

    def _warn_if_open_to_all(self) -> None:
        if os.name == "posix" and self.path.stat().st_mode & 0o002:
            log.warning("Anyone may write to %s, and a checkpoint can hold a pickle: who changes it can run "
                        "code as you at the next resume. Do `chmod 700` on it.", self.path)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0 or path.suffix == ".json"
    except FileNotFoundError:
        return False


def _identity(target: str, arguments: Mapping[str, str]) -> dict[str, str]:
    return {"target": target, **{f"argument {key}": value for key, value in arguments.items()}}


def _short(text: str | None) -> str:
    return "not given" if text is None else repr(text) if len(text) <= 80 else repr(text[:77]) + "..."
