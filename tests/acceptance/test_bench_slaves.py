"""The `slaves` benchmark counts right, and what it plays says what a slave would; no word on speed."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
from helpers import ROOT

from taskmaster.core import wire
from taskmaster.core.agent import Agent, Load, Patience
from taskmaster.core.slave_effects import Enqueue, Request
from taskmaster.core.wire import Lease, Reply

IDLE = Load(0, 10)
SID = "0123456789abcdef" * 2
RUN = "fedcba9876543210" * 2


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import one of its modules by name."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts" / "benchmarks"), *sys.path])
    return importlib.import_module


def test_every_job_that_the_sessions_settle_is_one_that_the_master_counts(benchmark: Any) -> None:
    [row] = benchmark("slaves").run([4], 0.5, turns=1)
    assert row.sessions == 4 and row.settled == row.handled > 1000
    assert min(row.jobs_per_second, row.requests_per_second, row.bare_per_second, row.join_seconds) > 0


def test_a_session_says_what_an_agent_says_whose_jobs_take_no_time(benchmark: Any) -> None:
    session = benchmark("slaves_crowd").Session(SID)
    agent = Agent(SID, 10, {"host": "crowd", "pid": SID[:8]}, Patience(), 0.0)
    header, now = session.hello(), 1.0
    for leases in ((), ((0, 5),), (), ((5, 10), (40, 7)), ((60, 300),), ()):
        assert [header, b""] == asked(agent, now)
        kind = "reset" if session.seq == 1 else "jobs" if leases else "wait"
        reply = wire.encode_reply(Reply(RUN, 1, SID, session.seq, kind, tuple(
            Lease(first, count, 1, "pickle", b"x" * count) for first, count in leases)))
        header, now = session.hear(reply[0]), now + 1.0
        answer(agent, reply, now)
    assert session.jobs == 322


def asked(agent: Agent, now: float) -> wire.Frames:
    [order] = agent.tick(IDLE, now)
    assert isinstance(order, Request)
    return order.frames


def answer(agent: Agent, reply: wire.Frames, now: float) -> None:
    """Hand it a reply, and settle in no time what came with it."""
    for order in agent.receive(reply, IDLE, now):
        if isinstance(order, Enqueue):
            jobs = sum(lease.count for lease in order.leases)
            agent.job_duration.observe(jobs, jobs * 1e-7)
            for lease in order.leases:
                agent.settled(agent.epoch, lease.first, lease.count, now)
