"""Slaves of one workload at the master of another: noticed at once, and nothing is handed to them."""

from __future__ import annotations

import pytest
from helpers import Place, free_port, wait_until

MISMATCH, INTERRUPTED = 78, 75
SOON = 10.0  # of two minutes' patience


@pytest.fixture
def here() -> tuple[str, str]:
    return "--address", f"tcp://127.0.0.1:{free_port()}"


SENTENCE = ("This slave's handler is mails.py:handle_job, but the master's jobs come from work.py:get_jobs. Start "
            "slaves with work.py or")


@pytest.mark.parametrize("command, more", [("slave", []), ("spawn", [3])])
def test_a_slave_of_another_file_ends_at_once_and_the_master_serves_on(
        place: Place, here: tuple[str, str], command: str, more: list[object]) -> None:
    place.write(name="mails.py")
    master = place.start("master", "work.py", *here)
    assert wait_until((place.folder / ".config" / "taskmaster" / "key").exists)
    ended = place.start(command, "mails.py", *more, *here).end(SOON)
    assert (ended.code, ended.tracebacks) == (MISMATCH, 0), ended.err
    assert ended.err.count(SENTENCE) == 1, ended.err
    assert not place.handled()
    assert place.run("slave", "work:handle_job", *here).code == 0
    said = master.end()
    assert said.code == 0 and said.err.count(SENTENCE) == 1, said.err
    assert len(place.handled()) == 100


def test_slaves_whose_master_was_replaced_by_one_of_other_jobs_do_none_of_those(
        place: Place, here: tuple[str, str]) -> None:
    place.write(name="mails.py")
    master = place.start("master", "mails.py", "n=1000000000", *here)
    slave = place.start("spawn", "mails.py", 1, *here)
    assert wait_until(lambda: len(place.handled()) > 0)
    master.signal(9)
    master.end()
    (place.folder / "handled").unlink()
    other = place.start("master", "work.py", "n=10", *here)
    assert slave.end(SOON).code == MISMATCH
    assert not {str(number) for number in range(10)} & set(place.handled())  # what it was running may still end
    other.signal(2)
    assert other.end().code == INTERRUPTED


def test_a_handler_of_another_module_is_served_with_any_handler(place: Place, here: tuple[str, str]) -> None:
    place.write(name="handlers.py")
    master = place.start("master", "work.py", *here, "--any-handler")
    assert place.run("slave", "handlers.py", *here).code == 0
    assert master.end().code == 0 and len(place.handled()) == 100


def test_the_same_file_elsewhere_is_served_and_an_edited_one_with_a_warning(
        place: Place, here: tuple[str, str]) -> None:
    (place.folder / "elsewhere").mkdir()
    place.write(name="elsewhere/work.py")
    place.write("# edited\n", name="elsewhere/edited.py")
    master = place.start("master", "work.py", "n=20", *here)
    assert place.run("slave", "elsewhere/work.py", *here).code == 0
    assert "another work.py" not in master.end().err
    master = place.start("master", "work.py", "n=30", *here)
    (place.folder / "elsewhere" / "edited.py").rename(place.folder / "elsewhere" / "work.py")
    assert place.run("slave", "elsewhere/work.py", *here).code == 0
    said = master.end()
    assert "has another work.py than this master had at its start" in said.err
    assert len(place.handled()) == 30
