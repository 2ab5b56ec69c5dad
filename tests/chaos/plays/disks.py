"""The state's disk and what is on it: full, read-only, slow, damaged, of another workload; and a clock that jumps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zlib
from pathlib import Path

from chaos.act import Act
from chaos.bounds import SAVED_SECONDS
from chaos.commands import Actor, environment
from chaos.disk import Disk, set_read_only
from chaos.kills import kill_master
from chaos.scene import Scene
from chaos.state import read_checkpoint

USAGE, UNWRITABLE, MISMATCH = 2, 74, 78
STALL_SECONDS = 5.0 + 2.0  # as the README says: nothing is handed out once a checkpoint is 5 s late
DISK = ("--state", "disk/state")


def full_disk(act: Act) -> None:
    _full_from_the_start(act.scene("from the start"))
    _full_midway(act.scene("midway, freed later"))


def _full_from_the_start(scene: Scene) -> None:
    scene.work(jobs=100)
    disk = Disk(scene)
    disk.fill()
    run = scene.run(1, *DISK)
    scene.finish(run, UNWRITABLE)
    scene.expect("cannot be written" in run.said, "it does not say that the state cannot be written")
    scene.expect(not scene.log.read().attempts, "jobs were handled")
    disk.free()
    run = scene.run(1, *DISK)
    scene.complete(run)


def _full_midway(scene: Scene) -> None:
    scene.work()
    disk = Disk(scene)
    run = scene.run(2, *DISK)
    scene.at_work(300)
    scene.blow("disk")
    disk.fill()
    _stalls(scene)
    disk.free()
    scene.expect_in(scene.until(lambda: not _stands_still(scene), "it resumes"), 8.0, "to resume when there was room")
    scene.complete(run)


def _stalls(scene: Scene) -> None:
    took = scene.until(lambda: _stands_still(scene), "the run stands still, since nothing can be saved")
    scene.expect_in(took, STALL_SECONDS + 3, "until nothing more was handed out")


def _stands_still(scene: Scene) -> bool:
    before = scene.done()
    time.sleep(1.0)
    return scene.done() == before


def read_only_midway(act: Act) -> None:
    """Then the run is killed: what was settled in vain is repeated, and no more."""
    scene = act.scene().work()
    master, spawn = scene.master(), scene.spawn(2)
    scene.await_slaves([spawn])
    scene.at_work(600)
    scene.on_close(lambda: set_read_only(scene.state, False))
    at = time.monotonic()
    set_read_only(scene.state, True)
    scene.blow("disk")
    _stalls(scene)
    blow = kill_master(scene, master)
    blow.bound += scene.log.settled_between(at - SAVED_SECONDS, blow.at)
    scene.finish(_another_master(scene), UNWRITABLE)
    set_read_only(scene.state, False)
    scene.complete(scene.master(), spawn)


def slow_disk(act: Act) -> None:
    """An fsync takes 100 ms: it saves more slowly, and that is all."""
    scene = act.scene().work()
    scene.shim = {"fsync": 0.1, "only": ["master"]}
    master, spawn = scene.master(), scene.spawn(2)
    scene.await_slaves([spawn])
    scene.at_work(2000)
    blow = kill_master(scene, master)
    blow.bound += scene.log.settled_between(blow.at - SAVED_SECONDS - 0.5, blow.at)
    master = scene.master()
    scene.at_work(500)
    scene.complete(master, spawn)


# -- damage

_EVERY_BYTE = '''
import sys
from pathlib import Path
from taskmaster.errors import StateMismatch
from taskmaster.master.state.folder import StateFolder
folder, flip = Path("state"), sys.argv[1] == "flip"
main, previous = folder / "checkpoint.json", folder / "checkpoint.prev.json"
whole, before = main.read_bytes(), previous.read_bytes()
def outcome(with_previous):
    previous.write_bytes(before) if with_previous else previous.unlink(missing_ok=True)
    try:
        found = StateFolder(folder).load()
    except StateMismatch:
        return "refused"
    return found and found.offset
seen = {}
for at in range(len(whole)):
    for with_previous in (True, False):
        changed = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1:] if flip else whole[:at]
        main.write_bytes(changed)
        seen.setdefault(f"{with_previous} {outcome(with_previous)}", at)
main.write_bytes(whole)
previous.write_bytes(before)
print(sorted(seen))
'''


def damaged_state(act: Act) -> None:
    """Cut at every byte, and with a flipped bit in every byte: the one before is used, or it is refused."""
    scene = act.scene().work(jobs=3000)
    scene.finishes = False
    run = scene.run(2, "--limit", 2500)
    scene.finish(run)
    saved = read_checkpoint(scene.state / "checkpoint.json")
    before = read_checkpoint(scene.state / "checkpoint.prev.json")
    if not scene.expect(saved and before, "there are no two checkpoints"):
        return
    assert before is not None
    for how in ("cut", "flip"):
        found = _load_damaged(scene, how)
        wanted = str(sorted([f"True {before['offset']}", "False refused"]))
        scene.expect(found == wanted, f"{how} at every byte: {found}")
    for _ in range(3):
        _resume_from_damage(act, scene)


def _load_damaged(scene: Scene, how: str) -> str:
    made = subprocess.run([sys.executable, "-c", _EVERY_BYTE, how], cwd=scene.folder, env=environment(scene.folder),
                          capture_output=True, text=True)
    return made.stdout.strip() or made.stderr


def _resume_from_damage(act: Act, scene: Scene) -> None:
    """The command itself, with both files cut somewhere: it must refuse."""
    whole = {path: path.read_bytes() for path in scene.state.glob("checkpoint*.json")}
    began = len(scene.log.read().attempts)
    for path, data in whole.items():
        path.write_bytes(data[:act.chance.randrange(len(data))])
    run = scene.run(1)
    scene.finish(run, MISMATCH)
    scene.expect("--reset" in run.said, "it does not name --reset")
    scene.expect(len(scene.log.read().attempts) == began, "jobs were handled from a damaged state")
    for path, data in whole.items():
        path.write_bytes(data)


def another_workload(act: Act) -> None:
    """Another target, other arguments, a newer format: refused with the difference."""
    scene = act.scene().work()
    scene.finishes = False
    scene.finish(scene.run(1, "n=50"))
    (scene.folder / "other.py").write_text((scene.folder / "work.py").read_text())
    cases = [("other.py", "n=50", "other.py:get_jobs"), ("work.py", "n=60", "argument n was '50' and is now '60'")]
    for target, argument, words in cases:
        scene.target = target
        run = scene.run(1, argument)
        scene.finish(run, MISMATCH)
        scene.expect(words in run.said, f"it does not say what differs: {run.said[-300:]}")
    scene.target = "work.py"
    _newer_format(scene)
    scene.expect(scene.log.read().times(10) == 1, "jobs were handled all the same")


def _newer_format(scene: Scene) -> None:
    saved = read_checkpoint(scene.state / "checkpoint.json") or {}
    line = json.dumps({**saved, "format": saved["format"] + 1}).encode()
    (scene.state / "checkpoint.json").write_bytes(line + b"\n%08x\n" % zlib.crc32(line))
    run = scene.run(1, "n=50")
    scene.finish(run, MISMATCH)
    scene.expect(f"format {saved['format'] + 1}" in run.said, "it does not name the format")


def two_masters(act: Act) -> None:
    """On one state, or at one ipc path: the second is refused, and the first does not notice."""
    scene = act.scene().work()
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(100)
    same_state = _another_master(scene, address=f"ipc://{scene.folder}/two")
    same_path = _another_master(scene, state="two")
    scene.finish(same_state, UNWRITABLE)
    scene.finish(same_path, USAGE)
    scene.expect("in use by another master" in same_state.said, "the second master does not say why it is refused")
    scene.expect("is in use" in same_path.said, "it does not say that the address is in use")
    scene.at_work(200)
    scene.complete(master, spawn)


def _another_master(scene: Scene, *, address: str = "", state: str = "state") -> Actor:
    return scene.start("master", "work.py", "--address", address or scene.address, "--state", state)


def changed_source(act: Act) -> None:
    """Between two masters the source's jobs change: no acknowledgement of an old job settles a new one."""
    scene = act.scene().work('''
from taskmaster import Job
def get_jobs(last=-1):
    row, end = last + 1, 6000
    while row < end:
        if row % 2 == 0 or os.path.exists("changed"):
            yield Job(f"row-{row}", cursor=row)
        row += 1
''')
    scene.dense = False
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(500)
    blow = kill_master(scene, master)
    blow.watermark = 0  # rows are not offsets
    saved = scene.checkpoint() or {}
    (scene.folder / "changed").touch()
    master = scene.master()
    after = saved["cursor"]["json"] if saved.get("cursor") else -1  # it may be killed before its first checkpoint
    scene.expected = [f"row-{row}" for row in range(6000) if row % 2 == 0 or row > after]
    scene.complete(master, spawn)


def reset_run(act: Act) -> None:
    """Slaves of an old run meet a master that starts over: none of their old work counts for it."""
    scene = act.scene().work(seconds=0.02)
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(300)
    scene.await_slaves([spawn])
    blow = kill_master(scene, master)
    scene.masters = 0
    at = time.monotonic()
    master = scene.master("--reset")
    scene.at_work(700)
    scene.complete(master, spawn)
    since = {one.job for one in scene.log.read().attempts if one.how == "end" and one.start >= at}
    missing = [job for job in range(scene.log.exhausted or 0) if str(job) not in since]
    scene.expect(not missing, f"{len(missing)} jobs were not run for the new run, such as {missing[:3]}")
    blow.watermark, blow.bound = 0, len(scene.log.attempts)  # everything is repeated, as requested


def jumping_clock(act: Act) -> None:
    """The wall clock of all processes jumps by an hour, back and forth: nothing happens."""
    scene = act.scene().work(seconds=0.01)
    clock = scene.folder / "clock"
    scene.shim = {"clock": str(clock)}
    master, spawn = scene.master(), scene.spawn(2)
    scene.await_slaves([spawn])
    scene.at_work(300)
    scene.blow("clock")
    for step in (3600, -3600, 0):
        _write_whole(clock, str(step))
        scene.at_work(300)
    scene.complete(master, spawn)


def _write_whole(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
