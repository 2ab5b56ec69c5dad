"""Addresses: what is one, who reaches it, and how it reads from elsewhere."""

from __future__ import annotations

import socket

import pytest

from taskmaster.errors import UsageError
from taskmaster.transport.addresses import check_address, dial_address, far_address, is_local
from taskmaster.transport.handshake import how_to_copy
from taskmaster.transport.tcp import needs_ipv6


@pytest.mark.parametrize("address", [
    "tcp://127.0.0.1:0", "tcp://0.0.0.0:3050", "tcp://[::1]:65535", "tcp://[fe80::1%eth0]:5",
    "tcp://[::ffff:10.0.0.1]:5", "tcp://box.example:1", "ipc:///tmp/x", "ipc://x"])
def test_an_address_is_taken(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize("address", [
    "", "tcp://", "tcp://h", "tcp://h:", "tcp://h:port", "tcp://h:65536", "h:1", "ipc://", "inproc://x", "tcp://::1:5",
    "tcp://a b:5", "tcp://h:5/", "ipc:///" + "x" * 200, "ipc://@abstract"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        check_address(address)


@pytest.mark.parametrize("listens, dials", [
    ("tcp://0.0.0.0:5", "tcp://127.0.0.1:5"), ("tcp://*:5", "tcp://127.0.0.1:5"), ("tcp://[::]:5", "tcp://[::1]:5"),
    ("tcp://10.0.0.1:5", "tcp://10.0.0.1:5"), ("ipc://a", "ipc://a")])
def test_slaves_dial_this_machine_for_every_interface(listens: str, dials: str) -> None:
    assert dial_address(listens) == dials


@pytest.mark.parametrize("address, local", [
    ("tcp://127.0.0.5:1", True), ("tcp://localhost:1", True), ("ipc://a", True), ("tcp://[::1]:1", True),
    ("tcp://[::ffff:127.0.0.1]:1", True), ("tcp://[::ffff:10.0.0.1]:1", False), ("tcp://[::]:1", False),
    ("tcp://127.example.org:1", False),
    ("tcp://0.0.0.0:1", False), ("tcp://10.0.0.1:1", False)])
def test_what_only_this_machine_can_reach(address: str, local: bool) -> None:
    assert is_local(address) is local


def test_other_boxes_are_told_a_name_in_place_of_every_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "mine")
    assert far_address("tcp://0.0.0.0:5") == "tcp://mine:5"
    assert far_address("tcp://10.0.0.1:5") == "tcp://10.0.0.1:5"


def test_where_a_socket_file_cannot_be_kept_to_oneself_ipc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(UsageError, match="tcp://HOST:PORT"):
        check_address("ipc://x")


@pytest.mark.parametrize("families, needed", [
    ([socket.AF_INET], False), ([socket.AF_INET6], True), ([socket.AF_INET6, socket.AF_INET], False)])
def test_a_name_is_looked_up_over_ipv6_only_if_it_has_no_other_address(
        families: list[int], needed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A master at 0.0.0.0 does not listen at the ::1 of localhost."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **named: [(family, 1, 6, "", ()) for family in families])
    assert needs_ipv6("tcp://localhost:5") is needed


def test_numbers_say_by_themselves_whether_they_are_of_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **named: object) -> None:
        raise socket.gaierror("unknown")

    assert needs_ipv6("tcp://[::1]:5") and not needs_ipv6("ipc://a") and not needs_ipv6("tcp://*:5")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not needs_ipv6("tcp://not-yet-there:5")


def test_scp_takes_a_number_of_ipv6_in_brackets() -> None:
    assert "scp [fd00::5]:.config" in how_to_copy("tcp://[fd00::5]:3050", "/k/key")
    assert "scp far:.config" in how_to_copy("tcp://far:3050", "/k/key")
