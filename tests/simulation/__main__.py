"""The command: plays seeds, prints their results, and shows the end of any that are broken."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from random import SystemRandom

from models.trace import KEPT
from models.world import Result
from simulation.campaign import Tally, run
from simulation.play import play

SHOWN_SECONDS = 10.0


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 1 when a seed is broken."""
    given = _parser().parse_args(arguments)
    if given.seed is not None and given.seeds is None and given.seconds is None:
        return _show_one(given.seed, given.trace)
    first = given.seed if given.seed is not None else SystemRandom().randrange(10**9)
    seeds = given.seeds if given.seeds is not None or given.seconds is not None else 1000
    print(f"Seeds from {first} on", flush=True)
    tally = _run_all(first, seeds, given.seconds)
    for result in tally.broken:
        _show(result)
    print(tally.line())
    return 1 if tally.broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Plays whole clusters, each from one seed.")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many to play (1000)")
    parser.add_argument("--seed", type=int, metavar="S", help="the first one, random by default; alone, it is shown")
    parser.add_argument("--seconds", type=float, metavar="T", help="for how long to play, instead of how many")
    parser.add_argument("--trace", type=int, metavar="N", default=KEPT, help=f"events of one seed to show ({KEPT})")
    return parser


def _run_all(first: int, seeds: int | None, seconds: float | None) -> Tally:
    tally, shown = Tally(), time.monotonic()
    for tally in run(first, seeds, seconds):
        if time.monotonic() - shown >= SHOWN_SECONDS:
            shown = time.monotonic()
            print(tally.line(), file=sys.stderr, flush=True)
    return tally


def _show_one(seed: int, kept: int) -> int:
    result = play(seed, kept=kept)
    tally = Tally()
    tally.add(result)
    _show(result)
    print(tally.line())
    return 1 if result.broken is not None else 0


def _show(result: Result) -> None:
    print(f"\nSeed {result.seed}: {result.scenario}\nThe last events:")
    print("\n".join(result.trace))
    if result.broken is not None:
        print(f"Seed {result.seed} is broken: {result.broken}\nReplay it with: scripts/simulate --seed {result.seed}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
