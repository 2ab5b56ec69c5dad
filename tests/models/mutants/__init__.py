"""Broken parts, each wrong in one way that a reader might overlook: what the simulation must find."""
