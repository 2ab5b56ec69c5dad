"""The secret that a master and its slaves share: its text, its file, and the CurveZMQ key pairs derived from it.

From 32 random bytes both ends derive the master's key pair and the slaves', by keyed BLAKE2b with a label for each.
So only one line of text has to be copied, and each end knows the other's public key beforehand. This module does not
know who uses a key, or for which address.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import zmq
from zmq.utils import z85

from taskmaster.errors import KeyRefused

VARIABLE = "TASKMASTER_KEY"  # holds the text itself, for use where a file is inconvenient
SECRET_BYTES = 32
# One word that needs no quoting in a shell: a prefix with the version, the secret in base64url, a checksum.
_TEXT = re.compile(r"taskmaster-key-(?P<version>\d+)\.(?P<secret>[A-Za-z0-9_-]{43})\.(?P<sum>[0-9a-f]{8})")
_VERSION = 1
_MOST_BYTES = 4096  # of a key file: far more than its one line, but little if it is another file


@dataclass(frozen=True)
class Pair:
    """A CurveZMQ key pair; both halves are Z85 text."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Keys:
    """What is derived from a secret: the master's pair, the slaves' pair, and a name that may be shown.

    `origin` is the file it was read from, or the environment variable.
    """

    origin: str
    name: str
    master: Pair
    slave: Pair


def derive(secret: bytes, origin: str) -> Keys:
    """The keys of a secret, always the same."""
    return Keys(origin, _labelled(secret, "name")[:4].hex(), _pair(secret, "master"), _pair(secret, "slave"))


def _pair(secret: bytes, label: str) -> Pair:
    own = z85.encode(_labelled(secret, label))
    return Pair(zmq.curve_public(own), own)


def _labelled(secret: bytes, label: str) -> bytes:
    # Keyed BLAKE2b is a PRF: the output for one label reveals neither the secret nor the output for another label.
    return blake2b(f"taskmaster key {_VERSION}: {label}".encode(), key=secret, digest_size=32).digest()


# -- as text


def to_text(secret: bytes) -> str:
    """The secret as one word, which `from_text` reads."""
    word = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    return f"taskmaster-key-{_VERSION}.{word}.{_checksum(secret)}"


def from_text(text: str, origin: str) -> bytes:
    """The secret in a text. Raises KeyRefused if the text is not a key, or is damaged."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise KeyRefused(f"{origin} does not contain a key, which is one line that starts with "
                         f"taskmaster-key-{_VERSION}. Copy it again from where the master runs.")
    if int(match["version"]) != _VERSION:
        raise KeyRefused(f"{origin} contains a key of version {match['version']}, made by a newer Taskmaster. "
                         "Upgrade Taskmaster here.")
    secret = base64.urlsafe_b64decode(match["secret"] + "=")
    if to_text(secret) != text.strip():
        raise KeyRefused(f"The key in {origin} is damaged: its checksum differs. "
                         "Copy it again from where the master runs.")
    return secret


def _checksum(secret: bytes) -> str:
    return f"{binascii.crc32(b'taskmaster key' + secret):08x}"


# -- in a file


def default_path(environ: Mapping[str, str]) -> Path:
    """Where this user's key is kept. Raises KeyRefused if the user has no home folder."""
    base = environ.get("XDG_CONFIG_HOME", "")
    try:
        folder = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    except RuntimeError as error:
        raise KeyRefused(f"There is no home folder to keep a key in ({error}). Give --key-file, or set {VARIABLE} to "
                         "the key's text.") from error
    return folder / "taskmaster" / "key"


def find(key_file: Path | None, environ: Mapping[str, str]) -> Keys | None:
    """The keys from `key_file` if given, else from TASKMASTER_KEY, else from the user's own file; None if the file is
    missing.

    Raises KeyRefused if a key is damaged, or if others could have read or changed it.
    """
    if key_file is None and environ.get(VARIABLE):
        return derive(from_text(environ[VARIABLE], VARIABLE), VARIABLE)
    path = place(key_file, environ)
    try:
        return read(path)
    except FileNotFoundError:
        return None


def place(key_file: Path | None, environ: Mapping[str, str]) -> Path:
    """The file in which `find` looks, and to which a key should be written or copied."""
    return Path(os.path.abspath(key_file)) if key_file is not None else default_path(environ)


def read(path: Path) -> Keys:
    """The keys from a file that only its owner can access. Raises FileNotFoundError, KeyRefused."""
    try:
        # Neither follows a link nor waits for a pipe.
        file = os.open(path, os.O_RDONLY | _flags("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
    except FileNotFoundError:
        if path.is_symlink():
            raise _is_link(path) from None
        raise
    except OSError as error:
        if path.is_symlink():
            raise _is_link(path) from error
        raise KeyRefused(f"The key {path} cannot be read: {error.strerror}.") from error
    try:
        _check(path, os.fstat(file))
        text = os.read(file, _MOST_BYTES).decode("ascii", "replace")
    finally:
        os.close(file)
    return derive(from_text(text, str(path)), str(path))


def _check(path: Path, found: os.stat_result) -> None:
    """Checks the open file, not its name, which may lead elsewhere by now."""
    if not stat.S_ISREG(found.st_mode):
        raise KeyRefused(f"The key {path} is not a regular file. Set {VARIABLE} to the key's text instead.")
    if sys.platform == "win32":
        return  # the access rights of the user's folder protect it there, which the mode does not show
    if found.st_uid != os.geteuid():
        raise KeyRefused(f"The key {path} belongs to user {found.st_uid} and you are user {os.geteuid()}: its owner "
                         f"could change it. Make it yours with chown, or set {VARIABLE} to the key's text.")
    if found.st_mode & 0o077:
        raise KeyRefused(f"The key {path} is accessible to others (mode {stat.S_IMODE(found.st_mode):04o}). If nobody "
                         f"has read it, run chmod 600 {path}; else remove it, and the next master creates a new one.")


def _is_link(path: Path) -> KeyRefused:
    return KeyRefused(f"The key {path} is a symbolic link, which others might redirect. Give the file that it points "
                      "to as --key-file.")


def _flags(*names: str) -> int:
    """The flags of these names that this system has, combined."""
    return sum(getattr(os, name, 0) for name in names)


def make(path: Path) -> Keys:
    """Write a new secret to `path` and return its keys, or those of a process that was faster. Raises KeyRefused.

    The file appears complete or not at all, and has mode 0600 from its first byte on.
    """
    spare = path.with_name(f"{path.name}.{os.urandom(8).hex()}.new")
    try:
        _make_folder(path.parent)
        _write(spare, f"{to_text(os.urandom(SECRET_BYTES))}\n".encode())
        try:
            with suppress(FileExistsError):
                os.link(spare, path)  # unlike a rename, it replaces nothing
        finally:
            os.unlink(spare)
        return read(path)
    except OSError as error:
        raise KeyRefused(f"A key cannot be written to {path}: {error.strerror or error}. Give another --key-file, or "
                         f"set {VARIABLE} to the key's text.") from error


def _make_folder(path: Path) -> None:
    """Also creates missing parents, to which mkdir(parents=True) would give the mode of the umask: 0777 without one."""
    if not path.exists():
        _make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _write(path: Path, text: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _flags("O_NOFOLLOW", "O_CLOEXEC"), 0o600)
    with open(file, "wb") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
