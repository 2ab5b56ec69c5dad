"""The protocol between slaves and masters: two frames per message, a JSON header and a blob. See docs/protocol.rst."""

from __future__ import annotations

from taskmaster.core.wire.frames import VERSION, Frames, WireError, printable
from taskmaster.core.wire.poll import (INFO_VALUE_CHARACTERS, MOST_DEATHS, NEVER, POLL_STATES, DeathReport,
                                       FailedAttempt, OtherVersion, Poll, decode_poll, encode_poll)
from taskmaster.core.wire.reply import REPLY_KINDS, Lease, Reply, decode_reply, encode_error, encode_reply

__all__ = [
    # What both sides share.
    "VERSION", "Frames", "WireError", "printable",
    # What a slave sends.
    "INFO_VALUE_CHARACTERS", "MOST_DEATHS", "NEVER", "POLL_STATES", "DeathReport", "FailedAttempt", "OtherVersion",
    "Poll", "decode_poll", "encode_poll",
    # What a master sends.
    "REPLY_KINDS", "Lease", "Reply", "decode_reply", "encode_error", "encode_reply",
]
