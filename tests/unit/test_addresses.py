"""Addresses: what is one, who reaches it, and how it reads from elsewhere."""

from __future__ import annotations

import socket

import pytest

from taskmaster.errors import UsageError
from taskmaster.transport.addresses import check_address, dial_address, far_address, is_local


@pytest.mark.parametrize("address", [
    "tcp://127.0.0.1:0", "tcp://0.0.0.0:3050", "tcp://[::1]:65535", "tcp://box.example:1", "ipc:///tmp/x", "ipc://x"])
def test_an_address_is_taken(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize("address", [
    "", "tcp://", "tcp://h", "tcp://h:", "tcp://h:port", "tcp://h:65536", "h:1", "ipc://", "inproc://x", "tcp://::1:5",
    "tcp://a b:5", "tcp://h:5/", "ipc:///" + "x" * 200, "ipc://@abstract"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        check_address(address)


@pytest.mark.parametrize("listens, dials", [
    ("tcp://0.0.0.0:5", "tcp://127.0.0.1:5"), ("tcp://*:5", "tcp://127.0.0.1:5"),
    ("tcp://10.0.0.1:5", "tcp://10.0.0.1:5"), ("ipc://a", "ipc://a")])
def test_slaves_dial_this_machine_for_every_interface(listens: str, dials: str) -> None:
    assert dial_address(listens) == dials


@pytest.mark.parametrize("address, local", [
    ("tcp://127.0.0.5:1", True), ("tcp://localhost:1", True), ("ipc://a", True), ("tcp://[::1]:1", True),
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
