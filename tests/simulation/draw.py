"""Draws a scenario from a seed. Each seed allows other faults than the next."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from models.network import Weather
from models.scenario import FateShares, Scenario

FAULTS = (
    "slave killed", "slave lost", "slave stalled", "slave drained", "slave joins",
    "connection reset", "connection cut", "false hint",
    "master killed", "master killed within", "power cut", "master stalled", "master interrupted", "master aborted",
    "master reset", "disk full", "disk slow", "disk error", "forged report", "garbage",
)


def draw(seed: int) -> Scenario:
    """The scenario of this seed."""
    chance = Random(seed)
    speed = chance.choice(["no-op", "quick", "quick", "plain", "plain", "slow", "mixed"])
    size = chance.choice([1, 2, 4, 6, 8, 12, 20, 40, 100])
    fates = _fates(chance)
    faults = tuple(name for name in FAULTS if chance.random() < 0.4)
    return _tailed(_watched(Scenario(
        seed=seed, jobs=min(_jobs(chance, speed), 30 * size), size=size, attempts=chance.randint(1, 3),
        slaves=chance.randint(1, 4), threads=chance.randint(1, 3), speed=speed,
        fates=fates, weather=_weather(chance), faults=faults,
        many=chance.choice([0, 2, 5, 10, 20]) if faults else 0, gap=chance.choice([1, 3, 8, 20]),
        cursors=chance.choice([0, 1, 3]), bad=chance.choice([0, 0, 7, 11]), takes_last=chance.random() < 0.85,
        source_seconds=chance.choice([0.0, 0.0, 0.0, 0.001, 0.02]), source_raises=chance.random() < 0.1,
        changes=chance.random() < 0.4, crew=chance.random() < 0.1, local=chance.random() < 0.5,
        job_timeout=chance.choice([0.5, 3.0]) if fates.hangs else None,
        rate=chance.choice([20.0, 200.0]) if chance.random() < 0.05 else None,
        limit=chance.randint(1, 30) if chance.random() < 0.05 else None,
        budget=chance.randint(0, 2) if chance.random() < 0.05 else None,
        retries=chance.choice([5, 60]), fleet=chance.random() < 0.7,
        foreigners=_foreigners(seed), batch=_batch(seed),
        breathes=Random(seed ^ 0xB2EA).random() < 0.3, **_results(seed))))


def _tailed(world: Scenario) -> Scenario:
    """How its last jobs are run; by a chance of its own."""
    chance = Random(world.seed ^ 0x7A11)
    return replace(world, backups=chance.random() < 0.8, slow=chance.choice([0, 0, 1]))


def _batch(seed: int) -> int | None:
    """By a chance of its own, too."""
    chance = Random(seed ^ 0xBA7C)
    return chance.choice([1, 2, 3, 8, 50]) if chance.random() < 0.2 else None


def _watched(world: Scenario) -> Scenario:
    """Some of those whose slaves somebody keeps have a watchdog, and some have failed jobs tried again; by a chance of
    its own."""
    chance = Random(world.seed ^ 0xD06)
    world = replace(world, retries_failed=not world.changes and chance.random() < 0.3)
    if not (world.fleet or world.crew) or chance.random() < 0.6:
        return world
    return replace(
        world, watchdog=True, job_timeout=world.job_timeout or chance.choice([None, 0.5, 3.0]),
        fates=replace(world.fates, holders=chance.choice([0, 1, 2])),
        faults=(*world.faults, "fleet stalled") if chance.random() < 0.5 else world.faults)


def _foreigners(seed: int) -> int:
    """By a chance of its own, so that all other worlds stay as they are."""
    chance = Random(seed ^ 0xF0)
    return chance.randint(1, 3) if chance.random() < 0.1 else 0


def _results(seed: int) -> dict[str, bool]:
    chance = Random(seed ^ 0xF1)
    if chance.random() < 0.5:
        return {}
    return {"results": True, "in_order": chance.random() < 0.6, "with_failures": chance.random() < 0.3}


def _jobs(chance: Random, speed: str) -> int:
    if speed in ("slow", "mixed"):
        return chance.randint(1, 30)
    return chance.choice([chance.randint(0, 20), chance.randint(10, 60), chance.randint(50, 200),
                          chance.randint(100, 1000) if speed == "no-op" else 100])


def _fates(chance: Random) -> FateShares:
    def some(share: float, often: float = 0.3) -> float:
        return share if chance.random() < often else 0.0

    return FateShares(
        raises=some(chance.choice([0.05, 0.4])), raises_once=some(0.3), exits=some(0.05, 0.1),
        undecodable=some(0.05, 0.1), holds=some(0.02, 0.1), hangs=some(0.05, 0.2), kills_once=some(0.05, 0.15),
        killers=chance.choice([1, 2]) if chance.random() < 0.15 else 0)


def _weather(chance: Random) -> Weather:
    return Weather(
        delay=chance.choice([1e-4, 1e-3, 0.03]), late=chance.choice([0.0, 0.02, 0.2]),
        lost=chance.choice([0.0, 0.0, 0.02, 0.15]), repeated=chance.choice([0.0, 0.0, 0.1, 0.3]),
        ordered=chance.random() < 0.5, correlated=chance.random() < 0.5)
