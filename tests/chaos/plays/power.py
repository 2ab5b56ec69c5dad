"""Power loss at any call of a run: what a strict file system may keep of the state is resumed, by the commands."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaos.act import Act
from chaos.handlers import LOG
from chaos.scene import Scene
from chaos.strict_filesystem import StrictFilesystem, Tree
from chaos.traced_run import TracedRun, bound, paced, resume, traced_run

DRAWN = 10  # of about 300; each takes a second
PACE = 0.02  # seconds from one job to the next: three seconds of a run, with fifteen checkpoints
SLACK_SECONDS = 0.005  # between the clocks of strace and of the handlers' notes


@dataclass
class PowerLoss:
    """What is left of the state folder when the power fails between `first` and `last`, on the monotonic clock.

    At `first` the least was handled, so a job can be lost; at `last` the most, so that most would be repeated.
    """

    name: str
    tree: Tree
    first: float
    last: float


def power_loss(act: Act, **shim: object) -> None:
    """Each job was handled before the power loss or is handled after it, or is in the failures file, once."""
    run = traced_run(act, PACE, **shim)
    losses = _losses(run)
    drawn = act.draw(losses, DRAWN)
    act.remarks.append(f"resumed from {len(drawn)} of the {len(losses)} states that a power loss may leave")
    for loss in drawn:
        with act.case(loss.name) as scene:
            _resume(scene, run, loss)


def _losses(run: TracedRun) -> list[PowerLoss]:
    """One for each different tree. What a file holds that is never fsynced is no difference: nothing can rely on it."""
    found: dict[bytes, PowerLoss] = {}
    filesystem, volatile = StrictFilesystem(), _never_synced(run)
    for number, (name, at) in enumerate(_changes(run, filesystem), 1):
        for tree in filesystem.after_power_loss():
            told = {path: b"" if path in volatile else data for path, data in tree.items()}
            key = hashlib.sha1(repr(sorted(told.items())).encode()).digest()
            loss = PowerLoss(f"power loss {len(found) + 1}, at change {number}, {name}", tree, at, at)
            found.setdefault(key, loss).last = at
    return list(found.values())


def _never_synced(run: TracedRun) -> set[str]:
    filesystem, synced, names = StrictFilesystem(), set[str](), set[str]()
    for _ in _changes(run, filesystem):
        synced.update(path for path, node in filesystem.names.items() if node.ever_synced or node.is_folder)
        names.update(filesystem.names)
    return names - synced


def _changes(run: TracedRun, filesystem: StrictFilesystem) -> Iterator[tuple[str, float]]:
    """Each call behind which a power loss may leave something else, and when it was made.

    The second master finds the file system as the first left it when it was killed: that made nothing durable.
    """
    at = 0.0
    for master, files, call in run.followed(filesystem):
        paths = files.paths(call)
        if files.take(call):
            at = max(at, call.entered - run.ahead)
            yield f"{call.name} of {paths[-1] or 'the working folder'} by master {master + 1}", at


def _resume(scene: Scene, run: TracedRun, loss: PowerLoss) -> None:
    """As if the power had failed just now: all that was before is so much later."""
    paced(scene)
    now = time.monotonic()
    later = now - loss.first
    _restore(scene.folder, loss.tree)
    _restore_notes(scene.folder / LOG, run.scene.folder / LOG, loss.first + SLACK_SECONDS, later)
    scene.blows += [dataclasses.replace(blow, at=blow.at + later, until=blow.until + later, kills=0)
                    for blow in run.scene.blows if blow.at <= loss.first]
    scene.blow("power loss", at=now, bound=bound(scene, now), kills=1)
    resume(scene)
    _expect_few_repeated(scene, run.scene, now, loss.last)


def _expect_few_repeated(scene: Scene, traced: Scene, resumed_at: float, last: float) -> None:
    """Had the power failed at `last`, the same jobs would have run after it."""
    ran = {one.job for one in scene.log.read().attempts if one.start >= resumed_at}
    handled = {one.job for one in traced.log.attempts if one.how == "end" and one.end is not None and one.end <= last}
    repeated, most = len(ran & handled), bound(traced, last)
    scene.expect(repeated <= most, f"{repeated} jobs would be repeated, of at most {most}")


def _restore(folder: Path, tree: Tree) -> None:
    for path, data in sorted(tree.items()):
        if data is None:
            (folder / path).mkdir(mode=0o700)
        else:
            (folder / path).write_bytes(data)


def _restore_notes(path: Path, whole: Path, until: float, later: float) -> None:
    """What the handlers had noted `until` then, so much `later`. Their notes are on a disk that loses nothing."""
    with open(path, "w") as file:
        for note in whole.read_text().splitlines():
            words, at = note.rsplit(" ", 1)
            if float(at) <= until:
                file.write(f"{words} {float(at) + later:.6f}\n")
