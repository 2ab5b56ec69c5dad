"""The jobs of noop.py without checkpoints, to see what those cost. No option turns them off, so this file does."""

from __future__ import annotations

from noop import get_jobs, handle_job

from taskmaster import defaults

NEVER = 1e9

for _name in ("CHECKPOINT_SECONDS", "UNSAVED_SECONDS"):
    assert hasattr(defaults, _name), f"what keeps the time between checkpoints is not called {_name} any more"
    setattr(defaults, _name, NEVER)

__all__ = ["get_jobs", "handle_job"]
