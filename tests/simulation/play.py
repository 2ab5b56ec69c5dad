"""Plays one seed."""

from __future__ import annotations

from models.parts import SHIPPED, Parts
from models.trace import KEPT
from models.world import Result, World
from simulation.draw import draw
from simulation.faults import Faults


def play(seed: int, parts: Parts = SHIPPED, kept: int | None = KEPT) -> Result:
    """The world of this seed, from beginning to end."""
    return World(draw(seed), parts, kept, Faults).play()
