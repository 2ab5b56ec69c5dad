"""Broken slots of slaves."""

from __future__ import annotations

from taskmaster.slave.slots import Slots


class ForgetsASliceWhenThereAreFewer(Slots):
    """What no thread has taken yet, behind the slots that are left, is not put back."""

    def _tell(self, slots: int) -> None:
        if slots < self._slots:
            for work in self._pool.take_back()[:slots]:
                self._pool.put(work)
        super()._tell(slots)
