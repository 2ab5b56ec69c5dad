"""How a cluster comes to its end: from here on every message arrives, every slave lives and no handler fails."""

from __future__ import annotations

from models.broken import must
from models.cluster import SIZE, Cluster

MANY_ROUNDS = 400  # of a second each: several lives of a lease, and all backoffs of a job


def finish(cluster: Cluster) -> None:
    """The run must complete. A master that was told to stop does so first, and another one resumes."""
    if cluster.stopped:
        _finish_stopping(cluster)
    for _ in range(MANY_ROUNDS):
        if cluster.complete:
            break
        if not cluster.slaves:
            cluster.spawn()
        _play_a_second(cluster, pull=SIZE)
    where = (cluster.window.watermark, cluster.source.length, cluster.now)
    must(cluster.complete, "I4: it never completes", *where)
    _save(cluster)
    cluster.check()
    must(cluster.saved.offset == cluster.source.length, "I10: not checkpointed", cluster.saved)


def _finish_stopping(cluster: Cluster) -> None:
    for _ in range(MANY_ROUNDS):
        if not cluster.slaves:
            break
        _play_a_second(cluster, pull=0)
    must(not cluster.slaves, "I4: told to stop, a slave never leaves")
    _save(cluster)
    cluster.crash()


def _save(cluster: Cluster) -> None:
    cluster.begin_checkpoint()
    cluster.end_checkpoint(True)


def _play_a_second(cluster: Cluster, pull: int) -> None:
    while cluster.hints:
        cluster.hint(0)
    for _ in range(5):
        cluster.pull(pull)
        _run_all_jobs(cluster)
        _exchange_all(cluster)
        cluster.wait(0.1)
    cluster.check()
    cluster.wait(0.5)


def _run_all_jobs(cluster: Cluster) -> None:
    for slave in cluster.slaves:
        while slave.running or slave.backlog:
            cluster.finish_job(slave, 0, True)


def _exchange_all(cluster: Cluster) -> None:
    for slave in list(cluster.slaves):
        cluster.poll(slave)
    while cluster.packets:
        cluster.deliver(0)
