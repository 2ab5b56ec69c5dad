"""Whole clusters in simulated time, one from each seed: `draw` makes a scenario, `faults` disturb, `play` plays it."""
