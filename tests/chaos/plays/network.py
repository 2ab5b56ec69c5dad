"""Between a slave and its master: messages pass late, twice or never; connections break, or only seem to be there."""

from __future__ import annotations

import signal
import time

from chaos.act import Act
from chaos.bounds import held_by_slave
from chaos.commands import Actor
from chaos.kills import kill_slave
from chaos.peer import Peer
from chaos.plays.shared import LATE, QUICK, QUICK_LIFE, joined_peer_of, proxy_of
from chaos.proxy import DOWN, Proxy
from chaos.scene import Scene

GONE = 69
CUTS = 24
SECONDS = 0.01  # of a job here
LARGE_BYTES = 3_000_000
LARGE_JOBS = f'''
def get_jobs(last=0, n: int = 4):
    for job in range(last, n):
        yield job, bytes({LARGE_BYTES})

small = handle_job

def handle_job(job):
    small(job[0])
'''
SHORT_LIFE = {"defaults": {**QUICK["defaults"], "QUIET_SECONDS": 0.5, "TRANSFER_SECONDS": 0.2}}


def _behind_a_proxy(scene: Scene, *, quick: bool = True) -> tuple[Proxy, Actor, Actor, Actor]:
    """A master, a slave that reaches it directly and one through a proxy, both at work."""
    scene.shim = QUICK if quick else {}
    proxy = proxy_of(scene)
    master, near, far = scene.master(), scene.slave(), scene.slave(address=proxy.address)
    scene.await_working([near, far], 2)
    scene.at_work(200)
    return proxy, master, near, far


def short_blackhole(act: Act) -> None:
    """Half of a lease's life: no slave is taken for dead, nothing runs twice."""
    scene = act.scene().work(seconds=SECONDS)
    proxy, master, near, far = _behind_a_proxy(scene)
    for _ in range(2):
        scene.blow("blackhole", [far.pid], until=time.monotonic() + 1.5)
        proxy.blackhole()
        scene.pause(QUICK_LIFE / 2)
        proxy.heal()
        scene.at_work(300)
    scene.complete(master, near, far)


def long_blackhole(act: Act) -> None:
    """Longer than a lease lives: its jobs go to others; once healed, its late reports are counted and it works on."""
    scene = act.scene().work(seconds=SECONDS)
    proxy, master, near, far = _behind_a_proxy(scene)
    at = time.monotonic()
    proxy.blackhole()
    scene.blow("cut off slave", [far.pid], at=at, until=at + QUICK_LIFE + LATE + 3, bound=2 * held_by_slave(SECONDS),
               again=scene.log.read().running(far.pid), within=QUICK_LIFE + LATE)
    scene.pause(QUICK_LIFE + LATE + 0.4)
    proxy.heal()
    before = _begun_by(scene, far)
    scene.until(lambda: _begun_by(scene, far) > before + 100, "the slave that was cut off works on")
    scene.complete(master, near, far)
    scene.expect(scene.summary().get("duplicates", 0) > 0, "the late acknowledgements were not counted as duplicates")


def _begun_by(scene: Scene, slave: Actor) -> int:
    return sum(one.pid == slave.pid for one in scene.log.read().attempts)


def resets(act: Act) -> None:
    """The slave's nth connection is reset behind the nth message, whichever way that went."""
    scene = act.scene().work(seconds=SECONDS)
    proxy = proxy_of(scene)
    proxy.cuts = lambda number: 1 + number % (CUTS // 2) if number < CUTS else 1 << 30
    master, near, far = scene.master(), scene.slave(), scene.slave(address=proxy.address)
    at = time.monotonic()
    scene.until(lambda: proxy.cut >= CUTS, f"{CUTS} connections were reset")
    scene.blow("connection", [far.pid], at=at, until=time.monotonic(), bound=CUTS * held_by_slave(SECONDS))
    scene.at_work(200)
    scene.complete(master, near, far)


def drops_and_doubles(act: Act) -> None:
    """Every request arrives twice and some replies never: equal numbers get equal answers, no job goes out twice."""
    scene = act.scene().work(seconds=SECONDS)
    scene.insecure = True  # with encryption, a message that arrives twice ends its connection
    proxy, master, near, far = _behind_a_proxy(scene, quick=False)
    scene.blow("replies")
    proxy.doubled = True
    for _ in range(8):
        proxy.drop(DOWN, act.chance.randrange(1, 3))
        scene.pause(0.3, 0.6)
    proxy.doubled = False
    scene.at_work(200)
    scene.complete(master, near, far)


def reordered(act: Act) -> None:
    """An old request that arrives by a new connection, after a newer one, changes nothing and gets no answer."""
    scene = act.scene().work(jobs=400)
    master = scene.master()
    peer = joined_peer_of(scene)
    first, count = _leased(peer, 20)
    late = peer.poll(want=20, held=[[first, count]], done=[])
    newer = peer.poll(held=[[first, count]])
    peer.send(newer)
    scene.expect((peer.receive() or {}).get("kind") == "wait", "the newer request was not answered")
    peer.reconnect()
    late["done"] = [[first, count]]  # a lie under an old number: if it were believed, these jobs would be lost
    peer.send(late)
    scene.expect(peer.receive(1.0) is None, "an old request was answered")
    again = peer.poll(newer["n"], held=[[first, count]])
    peer.send(again)
    scene.expect((peer.receive() or {}).get("n") == newer["n"], "the newest request, sent again, was not answered")
    peer.ask(state="bye")
    scene.complete(master, scene.slave())


def one_reset(act: Act) -> None:
    """A connection breaks and is made anew at once, under long jobs and with the default patience of slaves: no slave
    is taken for dead, and nothing runs twice."""
    scene = act.scene("long jobs, one reset").work(seconds=2.0, jobs=24)
    proxy = proxy_of(scene)
    master = scene.master()
    slaves = [scene.slave("--timeout", 2000), scene.slave("--timeout", 2000, address=proxy.address)]
    scene.await_slaves(slaves)
    for _ in range(3):
        scene.pause(0.5, 1.5)
        proxy.reset_all()
        scene.pause(1.0)
    scene.complete(master, *slaves)
    scene.expect("is gone" not in master.said, "a slave was taken for dead whose connection had only been made anew")


def breaks(act: Act) -> None:
    """At each message boundary; and under long jobs."""
    resets(act)
    one_reset(act)


def _leased(peer: Peer, want: int) -> tuple[int, int]:
    """The first lease that it gets; the source may need a moment."""
    while True:
        reply = peer.ask(want=want, wait=500)
        if reply.get("leases"):
            first, count, *_ = reply["leases"][0]
            return first, count


def same_number_same_answer(act: Act) -> None:
    """A request that is sent five times gets one lease, the same five times."""
    scene = act.scene().work(jobs=400)
    master = scene.master()
    peer = joined_peer_of(scene)
    request = peer.poll(want=30)
    answers = []
    for _ in range(5):
        peer.send(request)
        answers.append(peer.receive_raw())
    scene.expect(answers[0] and all(answer == answers[0] for answer in answers), "the answers differ")
    peer.ask(state="bye")
    scene.complete(master, scene.slave())


def doubled_requests(act: Act) -> None:
    """Both ways: real slaves behind a proxy that doubles and drops, and a peer that repeats itself."""
    drops_and_doubles(act)
    same_number_same_answer(act)


def half_open(act: Act) -> None:
    """The slave's machine is gone while its connection looks well: its jobs go to others at the lease's end."""
    scene = act.scene().work(seconds=SECONDS)
    proxy, master, near, far = _behind_a_proxy(scene)
    proxy.keeps_master_end = True
    kill_slave(scene, far, within=QUICK_LIFE + LATE)
    scene.at_work(600)
    scene.complete(master, near)


def master_never_returns(act: Act) -> None:
    """A slave loses patience, says so, and ends with 69; it finishes what it was running."""
    scene = act.scene().work(seconds=0.05)
    scene.finishes = False
    proxy = proxy_of(scene)
    master = scene.master()
    patience = ("--timeout", 200, "--retries", 10)
    slaves = [scene.slave(*patience), scene.slave(*patience, address=proxy.address), scene.spawn(2, *patience)]
    scene.until(lambda: len(scene.log.read().pids()) == 4, "four slaves are at work")
    master.signal(signal.SIGKILL)
    at = time.monotonic()
    scene.on_tcp()
    elsewhere = scene.master("--state", "elsewhere")  # a master at another port is not theirs
    for slave in slaves:
        scene.finish(slave, GONE, 20)
        scene.expect("error: no master at " in slave.said.lower(), "a slave does not say why it ends")
    scene.expect_in(time.monotonic() - at, 2.0 + 4.0, "until slaves with two seconds of patience ended")
    begun = scene.log.read().unfinished()
    scene.expect(not begun, f"{len(begun)} jobs were not finished")
    elsewhere.kill()


def slow_line(act: Act) -> None:
    """Each job takes three seconds to arrive: longer than a lease lives, and than a slave waits for a silent master.
    Nothing is sent twice, no slave is taken for dead, and the line is busy nearly all the time."""
    scene = act.scene().work(LARGE_JOBS, jobs=4)
    scene.shim = SHORT_LIFE
    proxy = proxy_of(scene)
    proxy.bytes_per_second = 1e6
    at = time.monotonic()
    master, far = scene.master(), scene.slave(address=proxy.address)
    scene.complete(master, far)
    scene.expect_in(time.monotonic() - at, 4 * LARGE_BYTES / 1e6 / 0.8 + 1.5, "until 12 MB had come at 1 MB/s")
    scene.expect("is gone" not in master.said, "a slave was taken for dead while its jobs were on the way")
    scene.expect("trying again" not in far.said, "a slave gave up a connection over which its jobs came")


def slow_bytes(act: Act) -> None:
    """A slave whose connection carries one byte a second never gets through; the others do not notice."""
    scene = act.scene().work(seconds=SECONDS)
    proxy = proxy_of(scene)
    proxy.second_per_byte = 1.0
    master, near = scene.master(), scene.slave()
    scene.at_work(300)
    scene.blow("slow peer")
    far = scene.slave(address=proxy.address)
    scene.until(lambda: proxy.links, "the slow peer connects")
    closed = scene.until(lambda: proxy.links[0].master_closed, "the master drops what does not get through", 15)
    scene.expect_in(closed, 5.0 + 3.0, "until a connection that did not get through was dropped")
    scene.expect(far.pid not in scene.log.read().pids(), "a slave works at one byte a second")
    far.kill()
    scene.complete(master, near)
