"""Which peers are connected, by what is seen of them: in any order in which events and messages can be read."""

from __future__ import annotations

from taskmaster.transport.peers import Peers

A, B = b"a", b"b"


def connected(*peers: bytes) -> Peers:
    """Each over the descriptor of its place."""
    known = Peers()
    for descriptor, peer in enumerate(peers):
        known.spoke(peer, descriptor, True)
    known.all_read()
    return known


def test_a_peer_that_drops_is_reported_once() -> None:
    peers = connected(A, B)
    peers.closed(0)
    assert peers.any_dropped and peers.dropped() == [(A, True)]
    assert not peers.any_dropped and peers.dropped() == [] and list(peers.known) == [B]


def test_a_message_that_was_still_to_be_read_reports_it_once_more() -> None:
    peers = connected(A)
    peers.closed(0)
    peers.dropped()
    peers.spoke(A, 0, True)
    assert A not in peers.known and peers.dropped() == [(A, True)]


def test_that_message_is_not_taken_for_one_of_the_connection_that_has_the_descriptor_now() -> None:
    peers = connected(A)
    peers.closed(0)
    peers.spoke(B, 0, True)
    peers.spoke(A, 0, True)
    assert list(peers.known) == [B] and peers.dropped() == [(A, True), (A, True)]
    assert peers.descriptor_of(B) == 0 and peers.descriptor_of(A) is None


def test_a_peer_whose_first_message_is_read_after_its_end_has_dropped() -> None:
    peers = Peers()
    peers.closed(0)
    peers.spoke(A, 0, False)
    assert not peers.known and peers.dropped() == [(A, False)]


def test_where_it_cannot_be_known_whose_descriptor_it_is_a_peer_that_lives_says_so_again() -> None:
    """Two connections had the descriptor, and neither peer had been heard before the first one ended."""
    peers = Peers()
    peers.closed(0)
    for peer in (A, B):
        peers.spoke(peer, 0, True)
    assert not peers.known and peers.dropped() == [(A, True), (B, True)]
    peers.all_read()
    peers.spoke(B, 0, True)
    assert list(peers.known) == [B] and not peers.any_dropped


def test_a_name_may_come_back_once_everything_is_read() -> None:
    """A client may choose its name, and use it again."""
    peers = connected(A)
    peers.closed(0)
    peers.dropped()
    peers.all_read()
    peers.spoke(A, 1, True)
    assert list(peers.known) == [A] and not peers.any_dropped
