"""The conversations on the protocol page: each row of its tables is held with a real master."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import ceil
from typing import Any

import pytest
from protocol_page import Row, codes, plain, table

from taskmaster import defaults
from taskmaster.core import wire
from taskmaster.core.codec import Batch, GoodJobs, encode
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.master_effects import Effect, Send
from taskmaster.core.roster import Roster
from taskmaster.core.runs import Run
from taskmaster.core.window import Window
from taskmaster.core.wire import FailedAttempt, Poll, Reply


def replies(effects: Sequence[Effect]) -> list[Reply]:
    found = [wire.decode_reply(effect.frames) for effect in effects if isinstance(effect, Send)]
    assert all(isinstance(one, Reply) for one in found)
    return [one for one in found if isinstance(one, Reply)]


def batch(jobs: int) -> Batch:
    [good] = encode(list(range(jobs)), "json", 1 << 20)
    assert isinstance(good, GoodJobs)
    return good.batch


class Scene:
    """A master in one of the table's states, and a slave that it knows as the table says."""

    def __init__(self, patch: pytest.MonkeyPatch, slave: str, master: str) -> None:
        self.now = 100.0
        self.seq = 0
        self.leased: tuple[Run, ...] = ()
        self.run, self.epoch = "r", 4
        self.master = Dispatcher(Window(0, 1000, 1 << 20, 3), "r", 4, code={"module": "jobs.py"})
        self._patch = patch
        self._numbers_of_others = itertools.count(1)
        getattr(self, "_slave_is_" + slave.replace(" ", "_"))()
        getattr(self, "_master_is_" + master.replace(" ", "_"))()

    def say(self, cell: str, seq: int | None = None, route: bytes = b"s") -> list[Reply]:
        """Send the poll that a cell describes."""
        if cell == "malformed":
            return self._send([b"{}", b""], route)
        if cell == "another version":
            return self._send([b'{"v":2,"sid":"s","n":1}'], route)
        if cell == "another module":
            return self._send(wire.encode_poll(Poll("r", 4, "s", 99, 4, info={"module": "others.py"})), route)
        state, *rest = cell.split(", ")
        assert state in wire.POLL_STATES
        numbers = {name: int(number) for name, number in (one.split() for one in rest if " " in one)}
        self.seq = self.seq + 1 if seq is None else seq
        return self._send(wire.encode_poll(Poll(
            self.run, self.epoch, "s", self.seq, numbers.get("want", 0), numbers.get("wait", 0), state,
            held=self.leased if "held" in rest else (), done=self.leased if "done" in rest else (),
            failed=self._failures() if "failed" in rest else ())), route)

    def kind_of(self, found: Sequence[Reply]) -> str:
        """As the table calls it."""
        assert len(found) < 2
        return found[0].kind if found else "held" if self.master._slaves.any_parked else "none"

    @property
    def knows_the_slave(self) -> bool:
        return "s" in self.master._slaves

    @property
    def keeps_its_jobs(self) -> bool:
        return self.master.window.leased("s") >= sum(count for _, count in self.leased)

    def admit(self, jobs: int) -> list[Reply]:
        return replies(self.master.admit(batch(jobs), None, self.now))

    def pass_by(self, seconds: float) -> list[Reply]:
        self.now += seconds
        return replies(self.master.tick(self.now))

    def disconnect(self) -> list[Reply]:
        self.master.disconnected(b"s", self.now, 0.0)
        return self.pass_by(0.0)

    def _send(self, parts: Sequence[bytes], route: bytes) -> list[Reply]:
        return replies(self.master.receive((route, b""), parts, self.now))

    def _failures(self) -> tuple[FailedAttempt, ...]:
        offsets = [offset for first, count in self.leased for offset in range(first, first + count)]
        return tuple(FailedAttempt(offset, 1, "raised", "", "", "") for offset in offsets)

    def _others_take_the_rest(self) -> None:
        """Another slave, which holds everything that is not this one's."""
        for seq in self._numbers_of_others:
            held = ((0, 1000),) if "other" in self.master._slaves else ()
            parts = wire.encode_poll(Poll("r", 4, "other", seq, 100, held=held))
            [answer] = replies(self.master.receive((b"other", b""), parts, self.now))
            if not answer.leases:
                return

    # -- the slave

    def _slave_is_new(self) -> None:
        self.run, self.epoch = "", 0

    def _slave_is_of_an_earlier_master(self) -> None:
        self._slave_is_known()
        self.epoch -= 1

    def _slave_is_known(self) -> None:
        assert self.kind_of(self.say("run")) == "wait"

    def _slave_is_holding(self) -> None:
        self._slave_is_known()
        self.admit(8)
        [answer] = self.say("run, want 100")
        self.leased = tuple((one.first, one.count) for one in answer.leases)
        self._others_take_the_rest()
        assert self.leased and self.master.window.ready == 0

    def _slave_is_expired(self) -> None:
        self._slave_is_holding()
        self.disconnect()
        assert not self.knows_the_slave

    _slave_is_any = _slave_is_known

    # -- the master

    def _master_is_jobs_ready(self) -> None:
        self.admit(40)

    def _master_is_no_jobs(self) -> None:
        if self.master.window.ready:  # what an expired slave had
            self._others_take_the_rest()

    def _master_is_paused(self) -> None:
        self.admit(40)
        self.master.hold(True)

    def _master_is_stopping(self) -> None:
        self.admit(40)
        self.master.stop("it is time")

    def _master_is_full(self) -> None:
        self._patch.setattr(defaults, "SLAVES", 1)
        self._others_take_the_rest()

    _master_is_any = _master_is_no_jobs


REPLIES = table("Polls and their replies")


def cases() -> list[Any]:
    """Each row, for each of the slaves, masters and polls in it."""
    found = []
    for row in REPLIES:
        slaves, polls = [row["Slave"]], codes(row["Poll"]) or [row["Poll"]]
        if slaves == ["new"] and row["Master"] != "full":
            slaves.append("of an earlier master")
        for which in itertools.product(slaves, row["Master"].split(", "), polls):
            found.append(pytest.param(*which, row, id=" | ".join(which)))
    return found


#: What a remark in the last column says, as far as it can be looked at.
REMARKS: dict[str, Any] = {
    "The slave is known now": lambda scene, found: scene.knows_the_slave,
    "the master forgets": lambda scene, found: not scene.knows_the_slave,
    "The master forgets": lambda scene, found: not scene.knows_the_slave,
    "The master does not remember the slave": lambda scene, found: scene.master.slaves == 1,  # as before
    "The master knows the slave no more": lambda scene, found: not scene.knows_the_slave,
    "The master waits for": lambda scene, found: scene.knows_the_slave,
    "What it holds goes back": lambda scene, found: scene.master.window.leased("s") == 0,
    "What it holds is renewed": lambda scene, found: scene.master.counts.returned == 0,
    "What it does not list goes back": lambda scene, found: scene.master.counts.returned > 0,
    "``wait`` is 20": lambda scene, found: found[0].wait_ms == 20,
    "``drop`` lists the rest": lambda scene, found: bool(found[0].drop) is (scene.master.window.leased("s") == 0),
    "is on lease to it again": lambda scene, found: not found[0].drop and scene.keeps_its_jobs,
    "Counted": lambda scene, found: scene.master.counts.refused == 1,
    "is admitted when another slave leaves": lambda scene, found: scene.master.slaves == 1,
    "is given no jobs": lambda scene, found: scene.master.window.leased("s") == 0,
}


@pytest.mark.parametrize("slave, master, said, row", cases())
def test_a_poll_gets_the_reply_of_its_row(slave: str, master: str, said: str, row: Row,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, slave, master)
    found = scene.say(said)
    assert scene.kind_of(found) == row["Reply"]
    for remark, holds in REMARKS.items():
        assert remark not in row["And"] or holds(scene, found), remark


def test_every_remark_is_looked_at_in_some_row() -> None:
    assert [remark for remark in REMARKS if not any(remark in row["And"] for row in REPLIES)] == []


def test_there_is_a_row_for_each_state_of_the_slave_under_each_master() -> None:
    told = {(row["Slave"], master, said.split(", ")[0])
            for row in REPLIES for master in row["Master"].split(", ") for said in codes(row["Poll"])}
    asked = itertools.product(["new", "known", "holding"], ["jobs ready", "no jobs", "paused", "stopping"],
                              wire.POLL_STATES)
    assert set(asked) - told == set()
    assert {row["Reply"] for row in REPLIES} == {*wire.REPLY_KINDS, "held", "none"}


ENDS: dict[str, Any] = {
    "jobs become ready": lambda scene: scene.admit(4),
    "its wait, or 1,500 ms if that is less, has passed": lambda scene: scene.pass_by(1.2 + 1 / 32),
    "the master stops": lambda scene: replies(scene.master.stop("it is time")),
    "the slave sends its next poll": lambda scene: [one for one in scene.say("run") if one.seq != scene.seq],
    "the slave is taken for dead": lambda scene: scene.disconnect(),
}


@pytest.mark.parametrize("row", table("The end of a held poll"), ids=lambda row: plain(row["Event"]))
def test_a_held_poll_ends_as_its_row_says(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, "known", "no jobs")
    assert scene.say("run, want 4, wait 1200") == []
    assert scene.pass_by(1.1) == [], "it ends by itself"
    scene.now -= 1.1
    found = ENDS[plain(row["Event"])](scene)
    assert scene.kind_of(found) == row["Reply"]
    assert not found or found[0].seq == 2
    if "later" in row["And"]:
        assert row["And"] == f"Up to {ceil(1000 / Roster.ROUNDS)} ms later."
    if "repeated" in row["And"]:
        assert scene.kind_of(scene.say("run, want 4", seq=2)) == "wait", "like a new one"


def test_a_poll_is_held_no_longer_than_the_master_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, "known", "no jobs")
    scene.say("run, want 4, wait 60000")
    assert [one.kind for one in scene.pass_by(1.5 + 1 / 32)] == ["wait"]


def test_of_held_polls_the_oldest_is_served_first(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, "known", "no jobs")
    scene.say("run, want 1, wait 1500")
    scene.master.receive((b"o", b""), wire.encode_poll(Poll("r", 4, "other", 1, 1, 1500)), scene.now)
    assert [one.slave_id for one in scene.admit(1)] == ["s"]


NUMBERS: dict[str, tuple[str, str, int, str]] = {  # first poll, second poll, its number, what becomes of it
    "greater than all before is new": ("run, want 4", "run, want 4, held", 6, "jobs"),
    "the same as the newest was answered": ("run, want 4", "run, want 4", 5, "again"),
    "the same as the newest is held": ("run, want 4, wait 1500", "run, want 4, wait 1500", 5, "held"),
    "lower was overtaken": ("run, want 4", "run, want 4", 4, "none"),
}


@pytest.mark.parametrize("row", table("The number of a poll"), ids=lambda row: row["Reply"])
def test_the_number_of_a_poll_decides_as_its_row_says(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, seq, becomes = NUMBERS[plain(f"{row['``n``']} {row['The poll with this ``n``']}")]
    scene = Scene(monkeypatch, "known", "no jobs" if becomes == "held" else "jobs ready")
    before = scene.say(first, seq=5)
    found = scene.say(second, seq=seq, route=b"another connection")
    if becomes == "again":
        assert found == before and "the same reply" in row["Reply"]
    else:
        assert scene.kind_of(found) == becomes and (row["Reply"] == "none") is (becomes == "none")
    if becomes == "held":
        [sent] = [one for one in scene.master.admit(batch(2), None, scene.now) if isinstance(one, Send)]
        assert sent.route[0] == b"another connection"
