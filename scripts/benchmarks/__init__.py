"""Compares taskmaster at its defaults with its peers at their best, in turns on one machine: `scripts/bench`."""
