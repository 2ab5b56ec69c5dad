"""The messages that a master does not act on: counted, logged rarely, and answered where that helps."""

from __future__ import annotations

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.counts import Counts
from taskmaster.core.log_limit import LogLimit
from taskmaster.core.master_effects import Effect, Log, Send
from taskmaster.core.session import Route, display_name
from taskmaster.core.wire import OtherVersion, Poll, WireError


class Refusals:
    """Refuses messages; remembers nothing about their senders."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._full_log = LogLimit()
        self._version_log = LogLimit()
        self._handler_log = LogLimit()

    def malformed(self, error: WireError) -> list[Effect]:
        """Not a message: there is nobody to answer."""
        self._counts.refused += 1
        return [Log("debug", "Ignored a malformed message: %s", (error.reason,))]

    def one_too_many(self, slaves: int, now: float) -> list[Effect]:
        """It gets no answer, so it will retry, and is admitted when a session ends."""
        self._counts.refused += 1
        if not self._full_log.allows(now):
            return []
        return [Log("warning", "%d slaves are connected, which is the limit; others have to wait", (slaves,))]

    def other_version(self, poll: OtherVersion, route: Route, now: float) -> list[Effect]:
        """Its version of the protocol is not the master's."""
        return self._refuse(poll, route, version_conflict(poll), self._version_log, now)

    def other_handler(self, poll: Poll, route: Route, reason: str, now: float) -> list[Effect]:
        """Its handler is for other jobs than this master's, as `reason` says."""
        return self._refuse(poll, route, reason, self._handler_log, now)

    def _refuse(self, poll: Poll | OtherVersion, route: Route, reason: str, limit: LogLimit,
                now: float) -> list[Effect]:
        """The slave is told why, so that it ends at once."""
        self._counts.refused += 1
        effects: list[Effect] = [Send(route, wire.encode_error(poll.slave_id, poll.seq, reason))]
        if limit.allows(now):
            name = display_name(poll.slave_id, poll.info)
            effects.append(Log("warning", "Refused slave %s: %s (logged at most once a minute)", (name, reason)))
        return effects


def version_conflict(poll: OtherVersion) -> str:
    """Both versions and where to upgrade, in one sentence, with which the slave ends."""
    product = poll.info.get("version")
    theirs = f"{poll.version} (Taskmaster {product})" if product else f"{poll.version}"
    older = "slave" if poll.version < wire.VERSION else "master"
    return (f"The slave speaks protocol version {theirs}, the master version {wire.VERSION} "
            f"(Taskmaster {defaults.PRODUCT_VERSION}): upgrade Taskmaster where the {older} runs.")
