"""The one secret that masters and slaves share: its text, its file, and the CurveZMQ pairs made from it.

From 32 random bytes both ends derive, by keyed BLAKE2b under a label each, the master's secret key and the slaves'.
So one line of text is all that has to be copied, and either end knows the other's public key beforehand. It must
not know who uses a key, nor for which address.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
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

VARIABLE = "TASKMASTER_KEY"  # holds the text itself, where a file is in the way
SECRET_BYTES = 32
# One word without characters that a shell minds: prefix with the version, base64url of the secret, a checksum.
_TEXT = re.compile(r"taskmaster-key-(?P<version>\d+)\.(?P<secret>[A-Za-z0-9_-]{43})\.(?P<sum>[0-9a-f]{8})")
_VERSION = 1
_MOST_BYTES = 4096  # of a key file: far more than its one line, and no disk full of zeros is read in


@dataclass(frozen=True)
class Pair:
    """A CurveZMQ key pair, both halves as Z85 text."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Keys:
    """What comes of a secret: the master's pair, the slaves' pair, and a name to tell it from another by.

    `origin` is the file it was read from, or the environment variable.
    """

    origin: str
    name: str
    master: Pair
    slave: Pair


def derive(secret: bytes, origin: str) -> Keys:
    """The keys of a secret: the same wherever and whenever they are made."""
    return Keys(origin, _labelled(secret, "name")[:4].hex(), _pair(secret, "master"), _pair(secret, "slave"))


def _pair(secret: bytes, label: str) -> Pair:
    own = z85.encode(_labelled(secret, label))
    return Pair(zmq.curve_public(own), own)


def _labelled(secret: bytes, label: str) -> bytes:
    # Keyed BLAKE2b is a PRF: none of what is derived tells of the secret, or of what another label gives.
    return blake2b(f"taskmaster key {_VERSION}: {label}".encode(), key=secret, digest_size=32).digest()


# -- its text


def to_text(secret: bytes) -> str:
    """A secret as one word, which `from_text` reads."""
    word = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    return f"taskmaster-key-{_VERSION}.{word}.{_checksum(secret)}"


def from_text(text: str, origin: str) -> bytes:
    """The secret. Raises KeyRefused for what is no key, or one that was damaged on the way."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise KeyRefused(f"{origin} holds no key: that is one line, taskmaster-key-{_VERSION}. and so on. "
                         "Copy it again from where the master runs.")
    if int(match["version"]) != _VERSION:
        raise KeyRefused(f"{origin} holds a key of version {match['version']}, made by a newer Taskmaster. "
                         "Install that one here, too.")
    secret = base64.urlsafe_b64decode(match["secret"] + "=")
    if to_text(secret) != text.strip():
        raise KeyRefused(f"The key in {origin} is damaged: its checksum differs. "
                         "Copy it again from where the master runs.")
    return secret


def _checksum(secret: bytes) -> str:
    return f"{binascii.crc32(b'taskmaster key' + secret):08x}"


# -- its file


def default_path(environ: Mapping[str, str]) -> Path:
    """Where the key of this user is kept. Raises KeyRefused where the user has no home."""
    base = environ.get("XDG_CONFIG_HOME", "")
    try:
        folder = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    except RuntimeError as error:
        raise KeyRefused(f"There is no home folder to keep a key in ({error}). Give --key-file, or the key's text as "
                         f"{VARIABLE}.") from error
    return folder / "taskmaster" / "key"


def find(key_file: Path | None, environ: Mapping[str, str]) -> Keys | None:
    """The keys of the file that is named, else of TASKMASTER_KEY, else of the user's own file; None if it is missing.

    Raises KeyRefused for one that is damaged, or that others could have read or written.
    """
    if key_file is None and environ.get(VARIABLE):
        return derive(from_text(environ[VARIABLE], VARIABLE), VARIABLE)
    path = place(key_file, environ)
    try:
        return read(path)
    except FileNotFoundError:
        return None


def place(key_file: Path | None, environ: Mapping[str, str]) -> Path:
    """The file in which `find` looks, and where a key is to be made or copied to."""
    return Path(os.path.abspath(key_file)) if key_file is not None else default_path(environ)


def read(path: Path) -> Keys:
    """The keys of a file that only its owner can reach. Raises FileNotFoundError, KeyRefused."""
    try:
        # A link is not followed; a pipe is not waited for.
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
    """Looks at what was opened, not at the name, which may lead elsewhere by now."""
    if not stat.S_ISREG(found.st_mode):
        raise KeyRefused(f"The key {path} is no plain file. Give the key's text as {VARIABLE} instead.")
    if sys.platform == "win32":
        return  # there the rights of the user's folder protect it, which the mode does not show
    if found.st_uid != os.geteuid():
        raise KeyRefused(f"The key {path} belongs to user {found.st_uid}, you are user {os.geteuid()}: its owner could "
                         f"change it. Make it yours by chown, or give the key's text as {VARIABLE}.")
    if found.st_mode & 0o077:
        raise KeyRefused(f"The key {path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}). If nobody has "
                         f"read it, chmod 600 {path}; else remove it, and the next master makes a new one.")


def _is_link(path: Path) -> KeyRefused:
    return KeyRefused(f"The key {path} is a symbolic link, which others may turn elsewhere. Give the file that it "
                      "leads to as --key-file.")


def _flags(*names: str) -> int:
    """Those that this system has."""
    return sum(getattr(os, name, 0) for name in names)


def make(path: Path) -> Keys:
    """A new secret's keys, kept in `path`; or those of another process that was quicker. Raises KeyRefused.

    The file appears whole or not at all, with mode 0600 from its first byte on.
    """
    spare = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(spare, f"{to_text(secrets.token_bytes(SECRET_BYTES))}\n".encode())
        try:
            with suppress(FileExistsError):
                os.link(spare, path)  # which, unlike a rename, replaces nothing
        finally:
            os.unlink(spare)
        return read(path)
    except OSError as error:
        raise KeyRefused(f"A key cannot be kept in {path}: {error.strerror or error}. Give another --key-file, or the "
                         f"key's text as {VARIABLE}.") from error


def _write(path: Path, text: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _flags("O_NOFOLLOW", "O_CLOEXEC"), 0o600)
    with open(file, "wb") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
