"""A second interrupt just as the run comes to its end, played by the simulation's cluster."""

from __future__ import annotations

import pytest
from simulation.network import FAIR
from simulation.scenario import Fates, Scenario
from simulation.world import World

from taskmaster.errors import EXIT_DONE, EXIT_STATE_UNWRITABLE

PLAIN = Scenario(
    seed=1, jobs=10, size=4, attempts=2, slaves=2, threads=1, speed="quick", fates=Fates(), weather=FAIR, faults=(),
    many=0, gap=1, cursors=0, bad=0, takes_last=True, source_seconds=0.0, source_raises=False, changes=False,
    crew=False, local=True, job_timeout=None)


class InterruptedAtTheEnd(World):
    """The user loses patience at the moment at which the last checkpoint is offered."""

    fills_disk = False

    def __init__(self) -> None:
        super().__init__(PLAIN)
        self.codes: list[int] = []
        offers = self.watch.offers
        self.watch.offers = lambda: (offers(), self._at_the_end())  # type: ignore[method-assign, assignment]

    def _at_the_end(self) -> None:
        assert self.master is not None and self.master.server is not None
        ending = self.master.server.ending
        if ending is not None and ending.finished and not self.codes:
            self.disk.full = self.fills_disk
            self.master.interrupt()
            self.master.interrupt()

    def _ended(self, process, code, finished):
        self.codes.append(code)
        self.disk.mend()
        super()._ended(process, code, finished)


class InterruptedAtTheEndOnAFullDisk(InterruptedAtTheEnd):
    fills_disk = True


@pytest.mark.parametrize("world, codes", [
    (InterruptedAtTheEnd, [EXIT_DONE]),
    (InterruptedAtTheEndOnAFullDisk, [EXIT_STATE_UNWRITABLE, EXIT_DONE]),
])
def test_what_is_finished_is_not_saved_as_unfinished_and_what_is_not_saved_is_not_called_done(world, codes):
    played = world()
    result = played.play()

    assert result.broken is None
    assert played.codes == codes
