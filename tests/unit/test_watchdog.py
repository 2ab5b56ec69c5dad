"""A slave that is silent is killed, one whose fleet stood still is not."""

from __future__ import annotations

from taskmaster import defaults
from taskmaster.fleet.stacks import handler_stacks
from taskmaster.fleet.watchdog import Verdict, Watchdog, silence_limit

LIMIT = 5.0


def verdicts(dog: Watchdog, beats: int, start: float, seconds: float, step: float = 0.1) -> list[Verdict]:
    """What it decides in so many seconds without a further beat, leaving out FINE."""
    found = [dog.look(beats, start + step * number) for number in range(round(seconds / step) + 1)]
    return [one for one in found if one is not Verdict.FINE]


def test_a_silent_slave_is_asked_for_its_stacks_then_killed_each_once() -> None:
    assert verdicts(Watchdog(LIMIT), 1, 0.0, 60.0) == [Verdict.ASK, Verdict.KILL]


def test_a_slave_that_beats_is_left_alone() -> None:
    dog = Watchdog(LIMIT)
    assert {dog.look(beats, beats * (LIMIT - 0.1)) for beats in range(100)} == {Verdict.FINE}


def test_silence_begins_anew_with_each_beat() -> None:
    dog = Watchdog(LIMIT)
    assert verdicts(dog, 1, 0.0, LIMIT + 0.1) == [Verdict.ASK]
    assert verdicts(dog, 2, 10.0, LIMIT - 0.2) == []
    assert not dog.killed


def test_a_slave_may_import_for_as_long_as_it_likes() -> None:
    assert verdicts(Watchdog(LIMIT), 0, 0.0, 1000.0, step=1.0) == []


def test_a_fleet_that_stood_still_blames_nobody() -> None:
    """Ctrl-Z or `docker pause`: the clock went on, but nobody listened."""
    dog = Watchdog(LIMIT)
    assert verdicts(dog, 1, 0.0, 1.0) == []
    assert dog.look(1, 3600.0) is Verdict.FINE
    assert dog.look(2, 3600.1) is Verdict.FINE
    assert dog.silence == 0.0


def test_a_job_may_hold_the_interpreter_for_as_long_as_its_timeout() -> None:
    assert silence_limit(2.0) == 2.0 + defaults.SILENCE_MARGIN_SECONDS
    assert silence_limit(3600.0) > 3600.0


def test_without_a_timeout_a_silent_slave_is_killed_while_the_master_still_counts_on_it() -> None:
    """After the life of a lease, the report of its death would find no job to count against."""
    killed_after = defaults.HEARTBEAT_SECONDS + silence_limit(None) + defaults.STACK_SECONDS
    assert killed_after + defaults.DEATH_REPORT_SECONDS < defaults.LEASE_LIFE_SECONDS


DUMP = '''Thread 0x00007f1 (most recent call first):
  File "/usr/lib/python3.11/re/__init__.py", line 166 in match
  File "/home/me/jobs.py", line 12 in handle_job
  File "/opt/site-packages/taskmaster/slave/pools/sequential.py", line 70 in run
  File "/opt/site-packages/taskmaster/slave/pools/threads.py", line 128 in _run

Thread 0x00007f2 (most recent call first):
  File "/opt/site-packages/taskmaster/slave/pools/threads.py", line 111 in _loop

Current thread 0x00007f3 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 1116 in join
'''


def test_of_a_dump_the_handlers_stacks_are_shown() -> None:
    assert handler_stacks(DUMP).splitlines() == [
        '  File "/usr/lib/python3.11/re/__init__.py", line 166 in match',
        '  File "/home/me/jobs.py", line 12 in handle_job']


def test_a_dump_without_a_handler_is_shown_whole() -> None:
    idle = DUMP.split("\n\n", 1)[1]
    assert handler_stacks(idle) == idle.strip() and handler_stacks("") == ""
