"""A fleet on an engine that exists in this file alone: all it needs of one are the protocols of fleet/base.py."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

import pytest

from taskmaster import errors
from taskmaster.fleet.base import DONE, ERROR, OVER, READY, Exit, Launcher
from taskmaster.fleet.fleet import Death, Fleet

LOST = Exit(-15, "lost with its machine", blame=False, restart=True)
GONE = Exit(1, "cancelled by its owner", blame=False, restart=False)


@dataclass
class Slave:
    """A slave of this engine; the test says what becomes of it."""

    name: str
    exit: Exit | None = None
    lines: set[str] = field(default_factory=set)
    signals: list[int] = field(default_factory=list)
    killed: bool = False
    beaten: int = 0
    asked: bool = False
    dump: str = ""

    def poll(self) -> Exit | None:
        return self.exit

    def heard(self) -> frozenset[str]:
        return frozenset(self.lines)

    def beats(self) -> int:
        return self.beaten

    def ask_for_stack(self) -> None:
        self.asked = True

    def stack(self) -> str:
        return self.dump if self.asked else ""

    def signal(self, signum: int) -> None:
        self.signals.append(signum)

    def kill(self) -> None:
        self.killed = True
        self.exit = self.exit or Exit(-9, "killed by SIGKILL", blame=False, restart=True)


class Engine:
    """Starts slaves by the list; `full` says that it has no room."""

    def __init__(self) -> None:
        self.slaves: list[Slave] = []
        self.slots: list[int] = []
        self.full = False
        self.closed = 0

    def launch(self, slot: int) -> Slave:
        if self.full:
            raise OSError("no room")
        self.slots.append(slot)
        self.slaves.append(Slave(f"node{slot}:{len(self.slaves) + 1}"))
        return self.slaves[-1]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def engine() -> Engine:
    return Engine()


def start(engine: Launcher, size: int, scout: bool = False) -> Fleet:
    fleet = Fleet(engine, size, scout=scout)
    fleet.start(0.0)
    return fleet


def test_each_slot_has_a_slave_and_a_lost_one_is_replaced_in_its_slot(engine: Engine) -> None:
    fleet = start(engine, 2)
    engine.slaves[1].exit = LOST
    assert fleet.watch(1.0) == [Death("node1:2", LOST, restarting=True)]
    assert fleet.alive == 1 and fleet.verdict() is None
    fleet.watch(2.0)
    assert engine.slots == [0, 1, 1] and fleet.alive == 2


def test_what_the_engine_calls_final_is_not_replaced(engine: Engine) -> None:
    fleet = start(engine, 1)
    engine.slaves[0].exit = GONE
    assert fleet.watch(1.0) == [Death("node0:1", GONE, restarting=False)]
    assert fleet.verdict() == 1


def test_a_death_says_whether_the_job_may_be_to_blame(engine: Engine) -> None:
    fleet = start(engine, 2)
    engine.slaves[0].exit, engine.slaves[1].exit = LOST, Exit(-11, "killed by SIGSEGV", blame=True, restart=True)
    assert [death.exit.blame for death in fleet.watch(1.0)] == [False, True]


def test_the_others_follow_when_the_scout_says_that_it_is_ready(engine: Engine) -> None:
    fleet = start(engine, 3, scout=True)
    fleet.watch(1.0)
    assert engine.slots == [0]
    engine.slaves[0].lines.add(READY)
    fleet.watch(2.0)
    assert engine.slots == [0, 1, 2]


def test_no_other_follows_a_scout_that_will_not_be_replaced(engine: Engine) -> None:
    fleet = start(engine, 3, scout=True)
    engine.slaves[0].exit = GONE
    fleet.watch(1.0)
    assert engine.slots == [0] and fleet.verdict() == 1


def test_when_one_slave_was_dismissed_the_others_are_asked_to_end_soon(engine: Engine) -> None:
    fleet = start(engine, 2)
    engine.slaves[0].lines |= {READY, OVER, DONE}
    engine.slaves[0].exit = Exit(0, "exit 0", blame=False, restart=False)
    fleet.watch(1.0)
    fleet.watch(5.9)
    assert engine.slaves[1].signals == []
    fleet.watch(6.0)
    assert engine.slaves[1].signals == [signal.SIGTERM]


def test_an_error_that_all_slaves_would_meet_ends_them_all(engine: Engine) -> None:
    fleet = start(engine, 2)
    engine.slaves[0].exit = Exit(errors.EXIT_KEY_REFUSED, "exit 77", blame=False, restart=False)
    fleet.watch(1.0)
    assert engine.slaves[1].signals == [signal.SIGTERM] and not engine.slaves[1].killed
    fleet.watch(11.0)
    assert engine.slaves[1].killed
    fleet.watch(11.1)
    assert fleet.verdict() == errors.EXIT_KEY_REFUSED


def test_an_error_is_shown_once_however_many_slaves_report_it(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    fleet = start(engine, 3)
    for slave, sentence in zip(engine.slaves, ["Upgrade.", "Upgrade.", "No room."]):
        slave.lines.add(f"{ERROR} {sentence}")
        slave.exit = GONE
    fleet.watch(1.0)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["Upgrade.", "No room."]


def test_an_engine_without_room_is_asked_again(engine: Engine) -> None:
    engine.full = True
    fleet = start(engine, 1)
    assert fleet.alive == 0 and fleet.verdict() is None
    engine.full = False
    fleet.watch(1.0)
    assert fleet.alive == 1


def test_leaving_kills_what_runs_and_closes_the_engine(engine: Engine) -> None:
    with Fleet(engine, 2) as fleet:
        fleet.start(0.0)
    assert all(slave.signals == [signal.SIGTERM] and slave.killed for slave in engine.slaves)
    assert fleet.alive == 0 and engine.closed == 1


def test_a_fleet_of_nobody_lets_go_of_its_engine(engine: Engine) -> None:
    with pytest.raises(errors.UsageError, match="at least 1 slave, not 0"):
        Fleet(engine, 0)
    assert engine.closed == 1
