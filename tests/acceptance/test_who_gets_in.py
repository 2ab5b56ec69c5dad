"""Keys as a user meets them: nothing to configure for one user on one box, a clear word for everybody else."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Ended, Place, free_port, numbers, wait_until

from taskmaster.transport import keys

USAGE, REFUSED = 2, 77
SOON = 10.0  # a second or two, on a machine that does much else


@pytest.fixture
def here() -> tuple[str, str]:
    return "--address", f"tcp://127.0.0.1:{free_port()}"


def key_of(place: Place) -> Path:
    return place.folder / ".config" / "taskmaster" / "key"


def elsewhere(place: Place) -> dict[str, str]:
    """The environment of a user, or of a box, with other keys or none."""
    return {"XDG_CONFIG_HOME": str(place.folder / "elsewhere")}


def listening(address: str) -> bool:
    """Whether somebody does, in time."""
    def reached() -> bool:
        try:
            socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), 1.0).close()
        except OSError:
            return False
        return True

    return wait_until(reached)


def refused(ended: Ended, *words: str) -> None:
    assert (ended.code, ended.tracebacks) == (REFUSED, 0), ended.err
    assert ended.explained(*words), ended.err


def test_one_user_on_one_box_has_nothing_to_configure(place: Place) -> None:
    here = ("--address", f"tcp://0.0.0.0:{free_port()}")
    master = place.start("master", "work.py", *here)
    assert listening(here[1])
    assert place.run("slave", "work.py", *here).code == 0
    ended = master.end()
    assert ended.code == 0 and place.handled().keys() == numbers(100)
    assert stat.S_IMODE(key_of(place).stat().st_mode) == 0o600
    assert ended.err.count(f"a copy of key {ended.err.split('a copy of key ')[1][:8]}, which is in "
                           f"{key_of(place)}") == 1, "the file to copy is not named, once"
    assert key_of(place).read_text().strip() not in ended.err, "the key itself is shown"


def test_slaves_may_be_started_before_the_first_master(place: Place, here: tuple[str, str]) -> None:
    spawn = place.start("spawn", "work.py", 2, *here)
    assert wait_until(lambda: len(spawn.slaves()) == 2)
    assert place.run("master", "work.py", *here).code == 0
    spawn.signal(15)  # one of them may have missed the master
    assert spawn.end().code == 0
    assert place.handled().keys() == numbers(100)


@pytest.mark.parametrize("command, more", [("slave", []), ("spawn", [3])])
def test_another_key_is_refused_and_the_master_goes_on(place: Place, here: tuple[str, str], command: str,
                                                       more: list[object]) -> None:
    master = place.start("master", "work.py", *here)
    assert listening(here[1])
    ended = place.start(command, "work.py", *more, *here, **elsewhere(place)).end(SOON)
    refused(ended, here[1], "has a different key from this slave", str(place.folder / "elsewhere/taskmaster/key"))
    assert ended.err.count("different key") == 1, "told by each slave, or again and again"
    assert not place.handled()
    assert place.run("slave", "work.py", *here).code == 0
    ended = master.end()
    assert (ended.code, ended.tracebacks) == (0, 0) and place.handled().keys() == numbers(100)


@pytest.mark.parametrize("masters, slaves, words", [
    ([], ["--insecure"], ["requires a key", "--insecure"]),
    (["--insecure"], [], ["runs with --insecure", "this slave has a key"])])
@pytest.mark.parametrize("command, more", [("slave", []), ("spawn", [2])])
def test_a_key_on_one_side_only_is_told(place: Place, here: tuple[str, str], masters: list[str], slaves: list[str],
                                        words: list[str], command: str, more: list[object]) -> None:
    place.start("master", "work.py", *here, *masters)
    assert listening(here[1])
    refused(place.start(command, "work.py", *more, *here, *slaves).end(SOON), here[1], *words)
    assert not place.handled()


@pytest.mark.parametrize("command, more", [("slave", []), ("spawn", [2])])
def test_a_slave_with_no_key_for_another_box_is_told_what_to_copy(place: Place, command: str,
                                                                  more: list[object]) -> None:
    ended = place.start(command, "work.py", *more, "--address", "tcp://192.0.2.1:3050").end(SOON)
    refused(ended, "no key", str(key_of(place)), "scp 192.0.2.1:.config/taskmaster/key")
    assert not key_of(place).exists(), "a key made here fits no other box's master"


def _open_to_others(key: Path) -> None:
    key.chmod(0o644)


def _folder(key: Path) -> None:
    key.unlink()
    key.mkdir()


def _damaged(key: Path) -> None:
    key.write_text(key.read_text().replace(key.read_text()[20:24], "AAAA"))


def _link(key: Path) -> None:
    key.rename(key.with_name("real"))
    key.symlink_to("real")


def _given_away(key: Path) -> None:
    os.chown(key, 65534, 65534)


ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.mark.parametrize("command, more", [("master", []), ("slave", []), ("spawn", [2])])
@pytest.mark.parametrize("spoil, words", [
    (_open_to_others, ["accessible to others", "0644", "chmod 600"]), (_damaged, ["damaged", "Copy it again"]),
    (_link, ["symbolic link", "--key-file"]), (_folder, ["not a regular file"]),
    pytest.param(_given_away, ["belongs to user 65534", "chown"], marks=ROOT_ONLY)])
def test_a_key_that_may_be_no_secret_is_refused(place: Place, here: tuple[str, str], command: str, more: list[object],
                                                spoil: Callable[[Path], None], words: list[str]) -> None:
    keys.make(key_of(place))
    spoil(key_of(place))
    refused(place.start(command, "work.py", *more, *here).end(SOON), str(key_of(place)), *words)


def test_a_key_can_be_given_by_file_or_as_text(place: Place, here: tuple[str, str]) -> None:
    key = place.folder / "mine"
    master = place.start("master", "work.py", *here, "--key-file", "mine", "--rate", 50)  # time for both to join
    assert listening(here[1]) and not key_of(place).exists()
    refused(place.start("slave", "work.py", *here).end(SOON), "different key")
    spawn = place.start("spawn", "work.py", 1, *here, "--key-file", "mine", **elsewhere(place))
    slave = place.start("slave", "work.py", *here, TASKMASTER_KEY=key.read_text().strip(), **elsewhere(place))
    ended = master.end()
    assert ended.code == 0 and ended.err.count(" joined") == 2
    assert spawn.end().code == slave.end().code == 0
    assert place.handled().keys() == numbers(100)


@pytest.mark.parametrize("text, word", [
    ("x", "not contain a key"), ("taskmaster-key-9." + "A" * 43 + ".00000000", "newer")])
def test_a_text_that_is_no_key_is_refused(place: Place, here: tuple[str, str], text: str, word: str) -> None:
    for command in ("master", "slave"):
        refused(place.start(command, "work.py", *here, TASKMASTER_KEY=text).end(SOON), "TASKMASTER_KEY", word)


def test_a_named_key_file_that_is_missing_is_not_made_by_a_slave(place: Place, here: tuple[str, str]) -> None:
    refused(place.start("slave", "work.py", *here, "--key-file", "typo").end(SOON), "no key", "typo")
    assert not (place.folder / "typo").exists()


def test_slaves_of_an_exchanged_key_end(place: Place, here: tuple[str, str]) -> None:
    """How a key is rotated: remove it, start the master again, copy the new one."""
    place.write("\ndef handle_job(job):\n    record(job)\n    time.sleep(0.01)\n")
    master = place.start("master", "work.py", "n=3000", *here)
    spawn = place.start("spawn", "work.py", 2, *here, "--timeout", 300)
    assert wait_until(lambda: len(place.handled()) > 50)
    master.kill_group()
    key_of(place).unlink()
    again = place.start("master", "work.py", "n=3000", *here)
    ended = spawn.end(20)
    assert (ended.code, ended.tracebacks) == (REFUSED, 0), ended.err
    assert "has a different key from this slave" in ended.err
    spawn = place.start("spawn", "work.py", 2, *here)
    assert again.end().code == 0
    assert place.handled().keys() == numbers(3000)


def test_one_box_needs_no_key_and_makes_none(place: Place) -> None:
    assert place.run("run", "work.py", 2).code == 0
    assert not key_of(place).exists()
    key_of(place).parent.mkdir(parents=True)
    key_of(place).write_text("damaged")
    assert place.run("run", "work.py", 2, "--reset", TASKMASTER_KEY="damaged").code == 0


def test_a_socket_file_needs_no_key(place: Place) -> None:
    here = ("--address", f"ipc://{place.folder}/socket")
    master = place.start("master", "work.py", *here)
    assert wait_until((place.folder / "socket").exists)
    assert stat.S_IMODE((place.folder / "socket").stat().st_mode) & 0o077 == 0
    assert place.run("slave", "work.py", *here).code == 0 and master.end().code == 0
    assert not key_of(place).exists()


def test_insecure_warns_at_each_start_and_works_on_one_box(place: Place, here: tuple[str, str]) -> None:
    master = place.start("master", "work.py", *here, "--insecure")
    assert listening(here[1])
    slaves = place.run("spawn", "work.py", 1, *here, "--insecure")
    ended = master.end()
    assert slaves.code == ended.code == 0 and place.handled().keys() == numbers(100)
    assert ended.err.count("WARNING: --insecure: no key is required") == 1
    assert slaves.err.count("WARNING: --insecure: any process that answers") == 1
    assert not key_of(place).exists()


def test_insecure_sends_no_pickles_over_a_network(place: Place) -> None:
    here = ("--address", f"tcp://0.0.0.0:{free_port()}", "--insecure")
    ended = place.run("master", "work.py", *here)
    assert (ended.code, ended.tracebacks) == (USAGE, 0)
    assert ended.explained("--codec json", "--insecure", "tcp://127.0.0.1")
    master = place.start("master", "work.py", *here, "--codec", "json")
    assert listening(here[1])
    assert place.run("slave", "work.py", *here).code == 0 and master.end().code == 0
    assert place.handled().keys() == numbers(100)
