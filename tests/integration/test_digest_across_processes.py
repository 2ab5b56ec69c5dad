"""A digest written by one process is recognised by the next, whose hash seed is another."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

PROGRAM = """
import collections, dataclasses, datetime, decimal, enum, functools, pathlib
from taskmaster.core.portable import digest

class Tags(set):
    pass

class Colour(enum.Enum):
    RED = "red"

class Plain:
    def __init__(self, **fields):
        self.__dict__.update(fields)

class Slotted:
    __slots__ = ("a", "b")
    def __init__(self, a, b):
        self.a, self.b = a, b

@dataclasses.dataclass(frozen=True)
class Row:
    key: str
    tags: frozenset

names = ["ann", "bob", "cid", "dora", "eve", "fred"]
values = [
    set(names), frozenset(names), Tags(names), {name: set(names) for name in set(names)},
    [set(names), (frozenset(names),)],
    Row("a", frozenset(names)), Plain(names=set(names), other=Row("b", frozenset())), Slotted(set(names), 2),
    Colour.RED, Plain, digest,
    {Row("a", frozenset(names)): 1, Colour.RED: 2},
    collections.defaultdict(set, {name: {name} for name in set(names)}),
    collections.Counter(set(names)), collections.deque(names),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
    decimal.Decimal("1.10"), pathlib.PurePosixPath("/a/b"), functools.partial(int, base=2),
    {1, 2.5, "x", None, (1, "y"), b"z"}, 1.1, -7,
]
for value in values:
    print(digest(value))
"""


def digests(seed: int) -> list[str]:
    environment = dict(os.environ, PYTHONHASHSEED=str(seed), PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_every_process_computes_the_same_digests() -> None:
    first = digests(0)
    assert len(first) == 22 and "None" not in first and len(set(first)) == len(first)
    for seed in range(1, 5):
        assert digests(seed) == first
