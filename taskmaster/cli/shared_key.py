"""The keys that a command uses for an address, and what it logs about them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from taskmaster.errors import KeyRefused
from taskmaster.transport import addresses, handshake, keys
from taskmaster.transport.keys import Keys

log = logging.getLogger(__name__)


def master_keys(address: str, key_file: Path | None, insecure: bool) -> Keys | None:
    """The keys for a master's address, made on first use; None if none are used. Raises KeyRefused, UsageError."""
    if not _wants_keys(address):
        return None
    if insecure:
        log.warning("--insecure: no key is required at %s. Anyone who can reach it can read the jobs and report them "
                    "as done", address)
        return None
    return keys.find(key_file, os.environ) or _made(keys.place(key_file, os.environ))


def slave_keys(address: str, key_file: Path | None, insecure: bool) -> Keys | None:
    """The keys for a slave of the master at `address`; None if none are used. Raises KeyRefused, UsageError.

    If the master is this user's on this machine, where it may start later, they are made on first use. Keys made here
    would not fit a master on another machine.
    """
    if insecure or not _wants_keys(address):
        return None
    found, dialed = keys.find(key_file, os.environ), addresses.dial_address(address)
    if found is not None:
        return found  # first: with the text of a key, no home folder is needed to keep one in
    path = keys.place(key_file, os.environ)
    if not (addresses.is_local(dialed) and key_file is None):
        raise KeyRefused(f"This slave has no key for the master at {dialed}: there is no {path}. "
                         f"{handshake.how_to_copy(dialed, str(path))}")
    return _made(path)


def hide_key() -> None:
    """Remove the key's text from the environment once it is read, because programs that user code starts inherit it."""
    os.environ.pop(keys.VARIABLE, None)


def warn_of_insecure_master(address: str) -> None:
    """Warn that a slave without a key trusts any master; not for a socket file, which belongs to this user."""
    if _wants_keys(address):
        log.warning("--insecure: any process that answers at %s is trusted as the master",
                    addresses.dial_address(address))


def _wants_keys(address: str) -> bool:
    """A socket file needs none: its mode keeps other users out. Raises UsageError for an invalid address."""
    return not addresses.ipc_path(addresses.check_address(address))


def _made(path: Path) -> Keys:
    made = keys.make(path)
    log.info("Created a new key: %s", path)
    return made
