"""Both ends of a connection have one face each, whether ZeroMQ or the simulation carries the frames."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from models import sockets

from taskmaster.errors import UsageError
from taskmaster.transport.addresses import address_in_use
from taskmaster.transport.base import MasterSocket, SlaveSocket
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.listener import Listener


def methods(protocol: type[Any]) -> dict[str, Callable[..., Any]]:
    return {name: one for name, one in vars(protocol).items() if inspect.isfunction(one) and not name.startswith("_")}


@pytest.mark.parametrize("protocol, made", [(MasterSocket, Listener), (MasterSocket, sockets.Listener),
                                            (SlaveSocket, Dialer), (SlaveSocket, sockets.Dialer)])
def test_an_end_takes_what_its_protocol_says(protocol: type[Any], made: type[Any]) -> None:
    """For the shipped ends mypy says so, too; for the simulated ones nobody else does."""
    asked = methods(protocol)
    assert {"register", "wait", "receive", "send", "close"} <= set(asked)
    for name, method in asked.items():
        assert list(inspect.signature(getattr(made, name)).parameters) == list(inspect.signature(method).parameters)


def test_an_address_in_use_is_explained_in_one_way() -> None:
    error = address_in_use("ipc://x")
    assert isinstance(error, UsageError)
    assert str(error) == "ipc://x is in use, perhaps by another master. Stop it, or give another --address."
