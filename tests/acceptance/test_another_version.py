"""Two releases that speak different versions of the protocol: the slave ends at once, and says once what to upgrade."""

from __future__ import annotations

import os

import pytest
from helpers import ROOT, Place, free_port, wait_until

from taskmaster import defaults

MISMATCH = 78
SOON = 10.0  # of two minutes' patience; a second or so, on a machine that does much else

ANOTHER_RELEASE = '''
import taskmaster.core.wire
from taskmaster.core.wire import frames, poll, reply
from taskmaster import defaults

for module in (taskmaster.core.wire, frames, poll, reply):
    module.VERSION = {version}
defaults.PRODUCT_VERSION = "9.8"
'''


def release(place: Place, version: int) -> dict[str, str]:
    """The environment of a Taskmaster 9.8 that speaks another version of the protocol."""
    folder = place.folder / f"release{version}"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ANOTHER_RELEASE.format(version=version))
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def sentence(version: int, older: str) -> str:
    return (f"The slave speaks protocol version {version} (Taskmaster 9.8), the master version 1 "
            f"(Taskmaster {defaults.PRODUCT_VERSION}): upgrade Taskmaster where the {older} runs.")


@pytest.fixture
def here() -> tuple[str, str]:
    return "--address", f"tcp://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("version, older", [(2, "master"), (0, "slave")])
@pytest.mark.parametrize("command, more", [("slave", []), ("spawn", [3])])
def test_a_slave_of_another_version_ends_at_once_and_the_master_serves_on(
        place: Place, here: tuple[str, str], command: str, more: list[object], version: int, older: str) -> None:
    master = place.start("master", "work.py", *here)
    assert wait_until((place.folder / ".config" / "taskmaster" / "key").exists)
    theirs = release(place, version)
    ended = place.start(command, "work.py", *more, *here, **theirs).end(SOON)
    assert (ended.code, ended.tracebacks) == (MISMATCH, 0), ended.err
    assert ended.err.count(sentence(version, older)) == 1, ended.err
    if command == "slave":
        assert ended.err == f"Error: {sentence(version, older)}\n"
        assert place.run("slave", "work.py", *here, **theirs).code == MISMATCH
    assert not place.handled()
    assert place.run("slave", "work.py", *here).code == 0
    said = master.end()
    assert (said.code, said.tracebacks) == (0, 0)
    assert said.err.count(sentence(version, older)) == 1, "logged for each slave"
    assert len(place.handled()) == 100


def test_slaves_that_wait_for_a_master_of_another_version_say_it_once(place: Place, here: tuple[str, str]) -> None:
    """There is no scout for the others to wait for: they are all there when the master comes."""
    spawn = place.start("spawn", "work.py", 3, *here, **release(place, 2))
    assert wait_until(lambda: len(spawn.slaves()) == 3)
    master = place.start("master", "work.py", *here)
    ended = spawn.end(SOON)
    assert (ended.code, ended.tracebacks) == (MISMATCH, 0), ended.err
    assert ended.err.count(sentence(2, "master")) == 1, ended.err
    master.signal(2)
    assert master.end().code == 75
