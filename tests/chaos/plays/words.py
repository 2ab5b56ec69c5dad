"""Exit codes and last sentences, exactly as the README and the design give them."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

from chaos.act import Act
from chaos.commands import Actor
from chaos.scene import Scene
from support.processes import free_port


def sentences(act: Act) -> None:
    """Every exit code, and what leads to it."""
    for code, play, words in CASES:
        scene = act.scene(f"exit {code}, {words!r}")
        scene.finishes, scene.may_show_tracebacks = False, True
        actor = play(scene)
        scene.finish(actor, code)
        scene.expect(re.search(words, actor.said), f"it does not say so, but: {actor.said[-400:]}")


def _done(scene: Scene) -> Actor:
    return scene.work(jobs=50).run(1)


def _nothing_new(scene: Scene) -> Actor:
    scene.finish(_done(scene))
    return scene.run(1)


def _limited(scene: Scene) -> Actor:
    return scene.work(jobs=50).run(1, "--limit", 20)


def _cannot_pickle(scene: Scene) -> Actor:
    return scene.work("\ndef get_jobs(): yield lambda: 1\n").run(1)


def _slaves_crash(scene: Scene) -> Actor:
    return scene.work("\nif 'slave' in ' '.join(sys.orig_argv): os._exit(11)\n", jobs=50).run(1)


def _usage(scene: Scene) -> Actor:
    return scene.work().run(0)


def _failed(scene: Scene) -> Actor:
    return scene.work("\ndef deed(job): 1 / (job - 7)\n", jobs=50).run(1, "--attempts", 1)


def _source(scene: Scene) -> Actor:
    return scene.work("\ndef get_jobs(last=0):\n    yield 1\n    raise OSError('gone')\n").run(1)


def _too_many(scene: Scene) -> Actor:
    return scene.work("\ndef deed(job): 1 / 0\n", jobs=5000).run(1, "--attempts", 1, "--max-failures", 20)


def _master_gone(scene: Scene) -> Actor:
    return scene.work().slave("--timeout", 100, "--retries", 5, address=f"tcp://127.0.0.1:{free_port()}")


def _unwritable(scene: Scene) -> Actor:
    (scene.folder / "way").touch()
    return scene.work().run(1, "--state", "way/state")


def _in_use(scene: Scene) -> Actor:
    scene.work().master()
    return scene.run(1)


def _interrupted(scene: Scene) -> Actor:
    run = scene.work().run(2)
    scene.at_work(50)
    run.signal(signal.SIGINT)
    return run


def _mismatch(scene: Scene) -> Actor:
    scene.finish(scene.work().run(1, "n=20"))
    return scene.run(1, "n=30")


def _damaged(scene: Scene) -> Actor:
    scene.finish(_done(scene))
    for path in scene.state.glob("checkpoint*.json"):
        path.write_text("x")
    return scene.run(1)


def _changed(scene: Scene) -> Actor:
    run = scene.work("\n_plain = get_jobs\ndef get_jobs(last=0):\n"
                     "    return (job + 1000 * os.path.exists('changed') for job in _plain(last))\n").run(1)
    scene.at_work(100)
    run.signal(signal.SIGTERM)
    scene.finish(run, 75)
    (scene.folder / "changed").touch()
    return scene.run(1)


CASES: tuple[tuple[int, Callable[[Scene], Actor], str], ...] = (
    (0, _done, r"(?m)^Done: 50 jobs handled in [\d.]+ s, [\d.]+( k)?/s\."),
    (0, _nothing_new, r"(?m)^Nothing new: 50 jobs settled by earlier runs\.$"),
    (0, _limited, r"(?m)^  settled: +every job below offset 20\n  resume with:  tm-run work\.py 1 "),
    (1, _cannot_pickle, r"(?m)^Error: The very first job cannot be encoded"),
    (1, _slaves_crash, r"(?m)^Error: All slaves have ended; .*\n[^\0]*^  resume with:"),
    (2, _usage, r"(?m)^Error: Invalid value for 'PROCS'"),
    (3, _failed, r"(?m)^  failed: +1, see state/failures\.jsonl$"),
    (4, _source, r"OSError: gone\n[^\0]*Error: get_jobs raised this exception\. The jobs that it had yielded are "),
    (5, _too_many, r"(?m)^  most common errors: +[\d,]+ x ZeroDivisionError: division by zero$"),
    (69, _master_gone, r"(?m)^Error: No master at tcp://127\.0\.0\.1:\d+ for \d+ s\. Start one there"),
    (74, _unwritable, r"(?m)^Error: The state folder \S+/way/state cannot be written: "),
    (74, _in_use, r"(?m)^Error: The state folder \S+/state is in use by another master \(process \d+\)\. "),
    (75, _interrupted, r"(?m)^Stopped: \d+ jobs handled [^\0]*^  resume with: +tm-run work\.py 2 "),
    (78, _mismatch, r"(?m)^Error: .* belongs to another workload: argument n was '20' and is now '30'\. "),
    (78, _damaged, r"(?m)^Error: The state in \S+/state cannot be used: .*--reset"),
    (78, _changed, r"(?m)^Error: The source has changed: job \d+ is not the one it was .*--force-resume"),
)
