"""Everything that may happen to a cluster, in any order, against the promises; and every broken core is caught.

The machine leads the real Dispatcher, Window and Agents of a `Cluster`. A failure prints the steps that lead to it and
how to run just these again.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (RuleBasedStateMachine, initialize, invariant, precondition, rule,
                                 run_state_machine_as_test)
from models.broken import Broken
from models.cluster import SIZE, Checkpoint, Cluster
from models.fair_play import finish
from models.manual_slave import ManualSlave
from models.mutants.agent import ReportsWhatItDropped, UsesAnswersToOlderRequests
from models.mutants.dispatcher import AcceptsStaleAcknowledgements
from models.mutants.window import (ForgetsTheSpan, LateFailureCounts, LateFailureOverridesLateSuccess, RenewsBySession,
                                   RequeuesNothing, SettlesWhatFailed, SettlesWhatWasNeverLeased,
                                   WatermarkPassesAnUnsettledJob)

from taskmaster.core.agent import Agent
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.window import Window

WHICH = st.integers(0, 11)
MOST_SLAVES = 3


class Machine(RuleBasedStateMachine):
    """Its rules are what may happen. In the end everything is fair, and the run must complete."""

    cluster_class: type[Cluster] = Cluster

    def __init__(self) -> None:
        super().__init__()
        self.cluster = self.cluster_class()

    def slave(self, which: int) -> ManualSlave:
        return self.cluster.slaves[which % len(self.cluster.slaves)]

    def busy(self) -> list[ManualSlave]:
        return [one for one in self.cluster.slaves if one.backlog or one.running]

    @initialize(slaves=st.integers(1, 2), jobs=st.integers(0, SIZE))
    def begin(self, slaves: int, jobs: int) -> None:
        for _ in range(slaves):
            self.cluster.exchange(self.cluster.spawn())
        self.cluster.pull(jobs)

    # -- what goes well

    @rule(jobs=st.integers(1, SIZE))
    def pull(self, jobs: int) -> None:
        self.cluster.pull(jobs)

    @precondition(lambda self: self.cluster.slaves)
    @rule(which=WHICH)
    def exchange(self, which: int) -> None:
        self.cluster.exchange(self.slave(which))

    @precondition(lambda self: self.cluster.slaves)
    @rule(which=WHICH)
    def poll(self, which: int) -> None:
        self.cluster.ask(self.slave(which))

    @precondition(lambda self: self.cluster.packets)
    @rule(which=WHICH)
    def deliver(self, which: int) -> None:
        self.cluster.deliver(which % len(self.cluster.packets))

    @precondition(lambda self: self.busy())
    @rule(which=WHICH, index=WHICH, succeeds=st.sampled_from([True, True, False]))
    def work(self, which: int, index: int, succeeds: bool) -> None:
        slave = self.busy()[which % len(self.busy())]
        self.cluster.finish_job(slave, index % (len(slave.running) + len(slave.backlog)), succeeds)

    @precondition(lambda self: any(one.backlog for one in self.cluster.slaves))
    @rule(which=WHICH)
    def start(self, which: int) -> None:
        waiting = [one for one in self.cluster.slaves if one.backlog]
        waiting[which % len(waiting)].begin()

    @precondition(lambda self: len(self.cluster.slaves) < MOST_SLAVES)
    @rule()
    def join(self) -> None:
        self.cluster.exchange(self.cluster.spawn())

    @rule()
    def begin_checkpoint(self) -> None:
        self.cluster.begin_checkpoint()

    @precondition(lambda self: self.cluster.writing is not None)
    @rule(written=st.sampled_from([True, True, False]))
    def end_checkpoint(self, written: bool) -> None:
        self.cluster.end_checkpoint(written)

    # -- what goes wrong

    @precondition(lambda self: self.cluster.packets)
    @rule(which=WHICH)
    def duplicate(self, which: int) -> None:
        self.cluster.duplicate(which % len(self.cluster.packets))

    @precondition(lambda self: self.cluster.packets)
    @rule(which=WHICH)
    def drop(self, which: int) -> None:
        self.cluster.drop(which % len(self.cluster.packets))

    @rule(seconds=st.sampled_from([0.3, 2.5, 61.0]))
    def wait(self, seconds: float) -> None:
        """After 2.5 s requests are sent again; after 61 s every lease has expired."""
        self.cluster.wait(seconds)

    @precondition(lambda self: self.cluster.slaves)
    @rule(which=WHICH, others_ask=st.booleans())
    def mistake_for_dead(self, which: int, others_ask: bool) -> None:
        slave = self.slave(which)
        self.cluster.mistake_for_dead(slave)
        for other in [one for one in self.cluster.slaves if one is not slave and others_ask]:
            self.cluster.exchange(other)

    @precondition(lambda self: self.cluster.slaves)
    @rule(which=WHICH, hint=st.booleans())
    def die(self, which: int, hint: bool) -> None:
        self.cluster.die(self.slave(which), hint)

    @precondition(lambda self: self.cluster.slaves)
    @rule(which=WHICH, by_job=st.booleans())
    def kill(self, which: int, by_job: bool) -> None:
        self.cluster.kill(self.slave(which), by_job)

    @precondition(lambda self: self.cluster.hints)
    @rule(which=WHICH)
    def hint(self, which: int) -> None:
        self.cluster.hint(which % len(self.cluster.hints))

    @rule(ahead=st.integers(0, SIZE))
    def forge(self, ahead: int) -> None:
        self.cluster.forge(self.cluster.window.watermark + ahead)

    @rule(length=st.none() | st.integers(8, 24))
    def crash(self, length: int | None) -> None:
        """With a length, the source yields other jobs from the checkpoint on, and more or fewer of them."""
        self.cluster.crash(length)

    @rule(length=st.integers(8, 24))
    def reset(self, length: int) -> None:
        self.cluster.reset(length)

    # -- what is wanted

    @precondition(lambda self: self.cluster.slaves)
    @rule(which=WHICH)
    def drain(self, which: int) -> None:
        self.slave(which).drain(self.cluster.now)

    @precondition(lambda self: self.cluster.attempted > 5 and not self.cluster.stopped)
    @rule()
    def stop(self) -> None:
        self.cluster.stop()

    @invariant()
    def holds(self) -> None:
        self.cluster.check()

    def teardown(self) -> None:
        finish(self.cluster)


@pytest.mark.limit(240)
@pytest.mark.slow
def test_every_promise_holds_whatever_happens() -> None:
    many = settings(max_examples=1200, stateful_step_count=60, deadline=None)
    run_state_machine_as_test(Machine, settings=many)


@pytest.mark.parametrize("seed", range(5))
def test_without_faults_each_job_is_run_exactly_once(seed: int) -> None:
    chance, cluster = Random(seed), Cluster(60)
    for _ in range(3):
        cluster.spawn()
    for _ in range(3000):
        step = chance.randrange(4)
        slave = chance.choice(cluster.slaves)
        if step == 0:
            cluster.pull(chance.randint(1, SIZE))
        elif step == 1:
            cluster.poll(slave)
            cluster.wait(0.01)
        elif step == 2 and cluster.packets:
            cluster.deliver(chance.randrange(len(cluster.packets)))
        elif step == 3 and slave.backlog:
            cluster.finish_job(slave, chance.randrange(len(slave.backlog)), True)
        cluster.check()
    finish(cluster)
    assert set(cluster.oracle.executed.values()) == {1}


# -- the core, broken


class CheckpointsWhatWasDispatched(Cluster):
    """Counts what was handed out as settled, like the ancestor of this project."""

    def mark(self) -> Checkpoint:
        right = super().mark()
        return replace(right, offset=max(right.offset, self.master.handed_out_to))


def with_window(window: type[Window]) -> type[Cluster]:
    return type(window.__name__, (Cluster,), {"window_class": window})


def with_dispatcher(dispatcher: type[Dispatcher]) -> type[Cluster]:
    return type(dispatcher.__name__, (Cluster,), {"dispatcher_class": dispatcher})


def with_agent(agent: type[Agent]) -> type[Cluster]:
    return type(agent.__name__, (Cluster,), {"agent_class": agent})


@pytest.mark.limit(120)
@pytest.mark.parametrize("broken, because", [
    (CheckpointsWhatWasDispatched, "I2"),
    (with_window(RenewsBySession), "I4"),
    (with_dispatcher(AcceptsStaleAcknowledgements), "I1|I5"),
    (with_window(RequeuesNothing), "I4|I11|I18"),
    (with_window(LateFailureOverridesLateSuccess), "I5|I12"),
    (with_window(LateFailureCounts), "I12"),
    (with_window(SettlesWhatWasNeverLeased), "I1"),
    (with_window(SettlesWhatFailed), "I1"),
    (with_window(WatermarkPassesAnUnsettledJob), "I2"),
    (with_window(ForgetsTheSpan), "I3"),
    (with_agent(UsesAnswersToOlderRequests), "I7"),
    (with_agent(ReportsWhatItDropped), "I1"),
], ids=lambda value: value.__name__ if isinstance(value, type) else "")
def test_a_broken_core_is_caught(broken: type[Cluster], because: str) -> None:
    class BrokenMachine(Machine):
        cluster_class = broken

    with pytest.raises(Broken, match=f"^({because}):"):
        run_state_machine_as_test(BrokenMachine, settings=settings(
            max_examples=3000, stateful_step_count=40, deadline=None, derandomize=True, database=None,
            phases=[Phase.generate], report_multiple_bugs=False, suppress_health_check=list(HealthCheck)))
