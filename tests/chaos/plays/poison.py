"""Jobs that harm whoever runs them: they raise, hang, exit, crash, use up the memory, or cannot even be sent."""

from __future__ import annotations

import time

from chaos.act import Act
from chaos.bounds import held_by_slave
from chaos.commands import Actor
from chaos.handlers import ENOUGH
from chaos.scene import Scene

FAILURES, USAGE = 3, 2
ATTEMPTS = 3
BAD = 300
# Deeds that kill a slave, and how the failures file must say that it died.
DEATHS = {
    "__import__('ctypes').string_at(0)": "killed by SIGSEGV",
    "os._exit(9)": "exit 9",
    "os._exit(0)": "exit 0",
    "os.abort()": "killed by SIGABRT",
}
SEARCH = 3  # deaths until one job of 64 is alone
INNOCENT = 10  # deaths by SIGKILL, as of a preempted slave, before jobs run alone, and as many before one is charged


def raises(act: Act) -> None:
    """Always: failed after three attempts; once: tried again."""
    scene = act.scene().work(f'''
def deed(job):
    time.sleep(SECONDS)
    if job == {BAD}:
        raise ValueError("always")
    if job % 200 == 7 and not os.path.exists(f"once-{{job}}"):
        open(f"once-{{job}}", "w").close()
        raise OSError("once")
''', jobs=1000)
    run = scene.run(2)
    scene.complete(run, code=FAILURES)
    scene.expect(scene.log.read().times(BAD) == ATTEMPTS, f"job {BAD} ran {scene.log.times(BAD)} times")
    _only_failure(scene, "raised", "always")
    scene.expect(scene.summary()["retried"] == 5 + ATTEMPTS - 1, f"{scene.summary()['retried']} retries are reported")


def _only_failure(scene: Scene, kind: str, *words: str) -> None:
    scene.expect_failed((BAD, kind))
    text = " ".join(str(line["message"]) + str(line["traceback"]) for line in scene.failures())
    scene.expect(all(word in text for word in words), f"the failure does not say {words}: {text[:300]}")


def hangs(act: Act) -> None:
    """For ever, with --job-timeout: failed with the stack of where it hung, and nothing else is repeated."""
    scene = act.scene().work(f"\ndef deed(job): time.sleep(1000 if job == {BAD} else 0.2)\n", jobs=400)
    scene.excused = {BAD}
    scene.seconds = 0.2
    run = scene.run(2, "--job-timeout", 1, "--concurrency", 32)
    scene.complete(run, code=FAILURES)
    _only_failure(scene, "timeout", "in deed", "time.sleep(1000")
    times = scene.log.read().times(BAD)  # the first attempt may be backed up
    scene.expect(ATTEMPTS <= times <= ATTEMPTS + 1, f"the job that hangs ran {times} times")


def hangs_under_spawn(act: Act) -> None:
    """The same under tm-spawn: the slave finishes what else it runs, and is replaced."""
    seconds = f"1000 if job == {BAD} else 0.8 if job > {BAD} - 20 else 0.05"
    scene = act.scene().work(f"\ndef deed(job): time.sleep({seconds})\n", jobs=350)
    scene.excused = {BAD}
    master = scene.master("--attempts", 2)
    spawn = scene.spawn(2, "--job-timeout", 1)
    scene.complete(master, spawn, code=FAILURES)
    _only_failure(scene, "timeout", "in deed", "time.sleep(1000")


def kills_its_slave(act: Act) -> None:
    """With 64 jobs in flight: found after at most attempts + 3 deaths, with how they died; no other job is charged."""
    deeds = list(DEATHS.items())
    for deed, how in [deeds[0], *act.chance.sample(deeds[1:], 2)]:
        _kills(act.scene(how), deed, how, ATTEMPTS + SEARCH)


def sends_sigkill(act: Act) -> None:
    """What a preemption looks like: found after ten deaths more, and ten alone; no other job is charged."""
    _kills(act.scene("SIGKILL"), "os.kill(os.getpid(), 9)", "killed by SIGKILL", ATTEMPTS + SEARCH + 2 * INNOCENT)


def _kills(scene: Scene, deed: str, how: str, most: int) -> None:
    scene.work(f"\ndef deed(job):\n    if job == {BAD}: {deed}\n    time.sleep(SECONDS)\n", seconds=0.05, jobs=500)
    scene.excused = {BAD}
    run = scene.run(2, "--size", 64, "--concurrency", 16)
    scene.until(lambda: scene.log.read().times(BAD), "the job that kills has begun")
    scene.complete(run, code=FAILURES)
    _only_failure(scene, "killed", how, f"{ATTEMPTS} ")
    deaths = scene.log.read().of(BAD)
    scene.expect(len(deaths) <= most, f"{len(deaths)} slaves died of it, of at most {most}")
    for death in deaths:
        scene.blow("slave", [death.pid], at=death.start, until=death.start + 0.5, bound=held_by_slave(0.05, 16),
                   kills=1)
    scene.expect(scene.summary()["retried"] == 0, f"{scene.summary()['retried']} neighbours were charged an attempt")


def out_of_memory(act: Act) -> None:
    """Where memory is limited, a job that asks for too much fails alone."""
    scene = act.scene("MemoryError").work(
        f"\ndef deed(job):\n    if job == {BAD}: bytearray(8 << 30)\n    time.sleep(SECONDS)\n", jobs=600)
    run = scene.run(2, limits="ulimit -v 4000000")
    scene.complete(run, code=FAILURES)
    _only_failure(scene, "raised", "MemoryError")


def crashes(act: Act) -> None:
    """Segmentation fault, os._exit, SIGKILL, and a memory limit."""
    kills_its_slave(act)
    sends_sigkill(act)
    out_of_memory(act)


def exits(act: Act) -> None:
    """sys.exit, KeyboardInterrupt, GeneratorExit: the job fails, and its slave lives."""
    deeds = ["sys.exit(0)", "sys.exit('bye')", "raise KeyboardInterrupt", "raise GeneratorExit", "raise StopIteration",
             "raise BaseException('mine')"]
    lines = "".join(f"    if job == {BAD + index}: {deed}\n" for index, deed in enumerate(deeds))
    scene = act.scene().work(f"\ndef deed(job):\n{lines}    time.sleep(SECONDS)\n", jobs=600)
    run = scene.run(2, "--attempts", 2)
    scene.complete(run, code=FAILURES)
    scene.expect_failed(*((BAD + index, "raised") for index in range(len(deeds))))
    lived = len(scene.log.read().pids())
    scene.expect(lived == 2, f"{lived} slaves ran, of two that should have lived")


_TRAVEL = '''
class Unmade:
    def __reduce__(self): return (unmake, ())
def unmake(): raise ValueError("cannot be unpickled")
MAKE = {300: lambda: (lambda: 1), 310: Unmade, 320: lambda: bytes(20 << 20)}
def bad(number):
    return MAKE[number]() if number in MAKE else number
_plain = get_jobs
def get_jobs(last=0):
    return map(bad, _plain(last))
'''


def cannot_travel(act: Act) -> None:
    """Unpicklable, undecodable: in the failures file, and the rest of their batch is handled."""
    scene = act.scene().work(_TRAVEL)
    _complete_without(scene, {300: "unpicklable", 310: "undecodable", 320: "too large"})


def _complete_without(scene: Scene, failures: dict[int, str]) -> None:
    """500 jobs, all of which are done but for those that fail, by their kind of failure."""
    scene.expected = [job for job in range(500) if job not in failures]
    (scene.folder / ENOUGH).write_text("500")
    scene.dense = False
    scene.complete(scene.run(2), code=FAILURES)
    scene.expect_failed(*failures.items())


def too_much(act: Act) -> None:
    """A job of 20 MiB is refused, an exception's text of 5 MiB is cut, and memory is bounded."""
    scene = act.scene().work('''
_plain = get_jobs
def get_jobs(last=0):
    return (bytes(20 << 20) if job == 300 else job for job in _plain(last))
def deed(job):
    time.sleep(SECONDS)
    if job == 100: raise ValueError("x" * (5 << 20))
    if job == 200: raise ValueError("\\N{SNOWMAN}\\ud800" * (1 << 20))
''')
    scene.memory_limit = 150.0  # the 20 MiB of a job twice, while it is encoded
    _complete_without(scene, {100: "raised", 200: "raised", 300: "too large"})
    size = (scene.state / "failures.jsonl").stat().st_size
    scene.expect(size < 100_000, f"three failures take {size:,} bytes")


def import_fails(act: Act) -> None:
    """The slaves' module raises when imported: reported once, exit code 2, and no storm of restarts."""
    scene = act.scene().work()
    scene.finishes, scene.may_show_tracebacks = False, True
    text = (scene.folder / "work.py").read_text()
    (scene.folder / "broken.py").write_text(text + "note('imported', 0)\nraise RuntimeError('not today')\n")
    master = scene.master()
    scene.target = "broken.py"
    began = time.monotonic()
    for actor in (scene.spawn(4), scene.slave()):
        scene.finish(actor, USAGE, 20)
        _told_once(scene, actor)
    scene.expect_in(time.monotonic() - began, 10.0, "until slaves that cannot be imported ended")
    imports = sum(note.what == "imported" for note in scene.log.read().other)
    scene.expect(imports <= 3, f"the module was imported {imports} times")
    scene.target = "work.py"
    slave = scene.slave()
    scene.at_work(50)
    scene.finishes = True
    scene.complete(master, slave)


def _told_once(scene: Scene, actor: Actor) -> None:
    told = actor.said.count("Importing broken.py failed")
    scene.expect(told == 1, f"tm-{actor.command} shows {told} times what was raised")
