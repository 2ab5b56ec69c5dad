"""Taskmaster at its defaults beside its peers at their best, in turns on one machine: `scripts/bench`."""
