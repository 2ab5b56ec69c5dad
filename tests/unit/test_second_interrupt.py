"""A second interrupt at the very moment at which a run ends, in a simulated world."""

from __future__ import annotations

import pytest
from models.scenario import Scenario
from models.world import World
from support.interrupting import interrupt

from taskmaster.errors import EXIT_DONE, EXIT_STATE_UNWRITABLE


class InterruptedAtTheEnd(World):
    """The user loses patience while the last checkpoint is being offered to the writer."""

    fills_disk = False

    def __init__(self) -> None:
        super().__init__(Scenario())
        watch = self.masters.watch
        offers = watch.offers
        watch.offers = lambda: (offers(), self._interrupt_at_the_end())  # type: ignore[method-assign, assignment]

    def _interrupt_at_the_end(self) -> None:
        master = self.masters.current
        assert master is not None and master.server is not None
        ending = master.server.ending
        if ending is not None and ending.finished and not self.exit_codes:
            self.disk.full = self.fills_disk
            interrupt(master.interrupts, times=2, now=self.scheduler.now)

    def master_ended(self, code: int) -> None:
        super().master_ended(code)
        self.disk.heal()


class InterruptedAtTheEndOnAFullDisk(InterruptedAtTheEnd):
    fills_disk = True


@pytest.mark.parametrize("kind, codes", [
    (InterruptedAtTheEnd, [EXIT_DONE]),
    (InterruptedAtTheEndOnAFullDisk, [EXIT_STATE_UNWRITABLE, EXIT_DONE]),
])
def test_what_is_finished_is_not_saved_as_unfinished_and_what_is_not_saved_is_not_called_done(
        kind: type[InterruptedAtTheEnd], codes: list[int]) -> None:
    world = kind()
    result = world.play()

    assert result.broken is None
    assert world.exit_codes == codes
