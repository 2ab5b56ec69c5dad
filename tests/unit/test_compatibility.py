"""Which slaves a master works with: not those of another module, and those of another release with a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.dispatcher_talk import EPOCH, Talk, said, sent

from taskmaster.core.compatibility import Compatibility
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.window import Window
from taskmaster.targets.code import describe
from taskmaster.targets.load import Target, parse_target

OWN = {"target": "jobs.py:get_jobs", "module": "jobs.py", "source": "1234", "python": "3.11.2", "version": "0.1.0"}
INFO = {"host": "vm", "pid": 7, "handler": "/srv/jobs.py:handle_job", **OWN}


def conflict(ours: str, theirs: str) -> str:
    return Compatibility({"module": ours, "target": f"{ours}:get_jobs"}).conflict({"module": theirs})


def warned(own: dict[str, str], *infos: dict[str, Any]) -> list[str]:
    """What is logged as these slaves join."""
    compatibility = Compatibility(own)
    lines = [line for number, info in enumerate(infos) for line in compatibility.warnings(f"slave{number}", info)]
    assert all(line.level == "warning" for line in lines)
    return [line.text % line.values for line in lines]


def talk_of(own: dict[str, str]) -> Talk:
    talk = Talk()
    talk.master = Dispatcher(Window(0, 100, 1 << 20, 3), "r", EPOCH, None, own)
    talk.admit(8)
    return talk


# -- whose handler


@pytest.mark.parametrize("ours, theirs", [
    ("jobs.py", "jobs.py"), ("jobs", "jobs"), ("shop.jobs", "shop.jobs"), ("jobs.py", "jobs"), ("jobs", "jobs.py"),
    ("shop.jobs", "jobs.py"), ("jobs.py", "shop.jobs"), ("", "jobs.py"), ("jobs.py", ""), ("é" * 300, "é" * 200)])
def test_one_module_may_be_named_by_its_file_or_its_name_or_not_at_all(ours: str, theirs: str) -> None:
    assert conflict(ours, theirs) == ""


@pytest.mark.parametrize("ours, theirs", [
    ("mails.py", "resize.py"), ("shop.mails", "shop.resize"), ("shop.jobs", "bank.jobs"), ("jobs", "shop.jobs"),
    ("jobs.py", "jobs.resize"), ("shop.jobs", "shop.py")])
def test_any_other_module_is_refused(ours: str, theirs: str) -> None:
    assert ours in conflict(ours, theirs) and theirs in conflict(ours, theirs)


def test_the_sentence_names_both_and_the_way_out() -> None:
    told = Compatibility(OWN).conflict({**INFO, "module": "mails.py", "handler": "/srv/mails.py:handle_job"})
    assert told == ("This slave's handler is /srv/mails.py:handle_job, but the master's jobs come from "
                    "jobs.py:get_jobs. Start slaves with jobs.py or, if this handler is meant for these jobs, the "
                    "master with --any-handler.")


def test_a_slave_of_other_jobs_is_refused_and_never_known() -> None:
    talk = talk_of(OWN)
    effects = talk.say("a", run="", epoch=0, want=4, info={**INFO, "module": "mails.py"})
    [reply] = sent(effects)
    assert reply.kind == "error" and "--any-handler" in reply.reason
    assert talk.master.slaves == 0 and talk.master.counts.refused == 1
    [line] = said(effects)
    assert line.startswith("Refused slave vm:7: This slave's handler is") and line.endswith("at most once a minute)")


def test_a_slave_that_served_other_jobs_before_is_refused_as_soon_as_it_says_so() -> None:
    """It was introduced to the master before, so its first word to this one does not say whose handler it has."""
    talk = talk_of(OWN)
    [reset] = sent(talk.say("a", run="mails", epoch=3, want=4, held=((0, 4),)))
    assert reset.kind == "reset" and talk.master.slaves == 1
    [reply] = sent(talk.say("a", want=4, info={**INFO, "module": "mails.py"}))
    assert reply.kind == "error" and talk.master.slaves == 0
    assert talk.master.window.ready == 8, "nothing was handed to it"


def test_refused_slaves_are_all_answered_and_logged_once_a_minute() -> None:
    talk, logged = talk_of(OWN), 0
    for number in range(1200):
        effects = talk.say(f"s{number}", run="", epoch=0, info={**INFO, "module": "mails.py"})
        assert [reply.kind for reply in sent(effects)] == ["error"]
        logged += len(said(effects))
        talk.now += 0.1
    assert logged == 2 and talk.master.slaves == 0


def test_a_slave_in_another_language_has_no_module_and_is_served() -> None:
    talk = talk_of(OWN)
    [reset] = sent(talk.say("a", run="", epoch=0, want=4, info={"host": "vm", "pid": "7"}))
    assert reset.kind == "reset" and talk.ask("a", want=4, info={"host": "vm", "pid": "7"})


# -- which releases


def test_what_is_alike_is_not_mentioned() -> None:
    assert warned(OWN, INFO, {**INFO, "python": "3.11.9"}, {}) == warned({}, INFO) == []


@pytest.mark.parametrize("name, value, words", [
    ("python", "3.12.1", "slave0 runs Python 3.12, this master 3.11: some pickled jobs may not load there"),
    ("version", "9.8", "slave0 runs Taskmaster 9.8, this master 0.1.0"),
    ("source", "4321", "slave0 has another jobs.py than this master had at its start: make sure that its handler is "
                       "the one for these jobs")])
def test_another_release_is_a_warning_once_for_each_pair(name: str, value: str, words: str) -> None:
    other = {**INFO, name: value}
    assert warned(OWN, other, other, other) == [f"slave {words} (logged once)"]


def test_the_warning_comes_when_the_slave_joins_and_it_is_served() -> None:
    talk = talk_of(OWN)
    info = {**INFO, "python": "3.13.0"}
    effects = talk.say("a", run="", epoch=0, want=4, info=info)
    assert [line.split(" (")[0] for line in said(effects)] == [
        "slave vm:7 runs Python 3.13, this master 3.11: some pickled jobs may not load there", "slave vm:7 joined"]
    assert talk.ask("a", want=4, info=info)


def test_a_liar_does_not_flood_the_log() -> None:
    assert len(warned(OWN, *({**INFO, "version": str(number)} for number in range(1000)))) == 20


# -- what is said


def test_a_file_is_described_by_its_name_and_its_text(tmp_path: Path) -> None:
    texts = {"one": b"a = 1\nb = 2\n", "dos": b"a = 1\r\nb = 2\r\n", "other": b"a = 1\nb = 3\n"}
    said = {}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "jobs.py").write_bytes(text)
        said[name] = describe(parse_target(str(tmp_path / name / "jobs.py"), "handle_job"))
    assert {one["module"] for one in said.values()} == {"jobs.py"}
    assert said["one"] == said["dos"] != said["other"]


def test_a_module_is_described_by_its_dotted_name_and_its_text() -> None:
    found = describe(Target("taskmaster.targets.code", "describe", False))
    assert found["module"] == "taskmaster.targets.code" and len(found["source"]) == 16
    assert describe(Target("itertools", "count", False))["source"] == "", "it has no source"


def test_a_file_is_where_it_was_when_the_working_folder_changes(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, module = parse_target("x.py", "handle_job"), parse_target("x", "handle_job")
    monkeypatch.chdir("/")
    assert file.path == str(tmp_path / "x.py") and str(file) == "x.py:handle_job"
    assert (file.located, module.located) == (f"{tmp_path}/x.py:handle_job", "x:handle_job")
