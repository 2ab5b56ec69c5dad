"""What a connection has carried: whether a message is on its way shows long before it has arrived."""

from __future__ import annotations

from dataclasses import dataclass

from taskmaster import defaults


@dataclass(frozen=True)
class Transfer:
    """One connection, as its end in this process sees it now."""

    received: int  # bytes that have come
    confirmed: int  # bytes sent that the other end has
    sending: bool  # whether others were sent that it does not have yet
    trip: float  # seconds from a byte to its confirmation

    def moved_since(self, earlier: Transfer) -> bool:
        """Whether a message has been moving in either direction.

        To have sent all is no sign of life: a process that stands still has a kernel that confirms what comes.
        """
        return self.received != earlier.received or (self.sending and self.confirmed != earlier.confirmed)


class LinkPace:
    """How many bytes of payloads to ask for at once: what the line carries in LINK_SECONDS, a lease's bytes at most.

    Jobs wait for the last one of their lease, and so do the slave's reports. Larger leases would not fill a slow line
    better, smaller ones would leave it empty during each round trip.
    """

    __slots__ = ("most",)

    LEAST_BYTES = 64 << 10  # so that the next lease still measures the line

    def __init__(self) -> None:
        self.most = float(defaults.LEASE_BYTES)

    @property
    def is_slow(self) -> bool:
        """Whether a lease has to be smaller than usual."""
        return self.most < defaults.LEASE_BYTES

    def observe(self, size: int, seconds: float) -> None:
        """An answer with `size` bytes of payloads came `seconds` after its request."""
        if 2 * size >= self.LEAST_BYTES:  # others take as long as their round trip, or waited for work
            carried = size * defaults.LINK_SECONDS / max(seconds, 1e-6)
            self.most = max(self.LEAST_BYTES, min(carried, defaults.LEASE_BYTES))
