"""Broken executions of batches."""

from __future__ import annotations

from typing import Any

from taskmaster.slave import batch_outcome
from taskmaster.slave.pools.batches import BatchExecution


class ForgetsAHalf(BatchExecution):
    """Calls the first half of a batch that raised, and not the second."""

    def end(self, index: int, now: float, error: BaseException | None = None, result: Any = None) -> None:
        left = len(self._halving._left) if self._halving is not None else 0
        super().end(index, now, error, result)
        if self._halving is not None and len(self._halving._left) > left:
            del self._halving._left[-2]


class ChargesTheNeighbours(BatchExecution):
    """All jobs of a call that raised have failed."""

    def _outcome(self, call: Any, error: BaseException | None, result: Any) -> Any:
        if error is not None:
            return batch_outcome.of_error(self._batch, call.jobs, error, self._described)
        return super()._outcome(call, error, result)


class SettlesTheNeighbours(BatchExecution):
    """Of a call that raised, only the job to blame is called again, as if the others had been handled."""

    def _outcome(self, call: Any, error: BaseException | None, result: Any) -> Any:
        if error is not None and not call.alone:
            return batch_outcome.of_result(self._batch, call.jobs, None, self._described)
        return super()._outcome(call, error, result)


class TakesBackWhatRuns(BatchExecution):
    """Gives back the jobs of a call that is not over, and reports them as well."""

    def take_back(self) -> Any:
        call = self._call
        if call is not None and self._halving is not None:
            self._halving._left.append(call.jobs)
        return super().take_back()
