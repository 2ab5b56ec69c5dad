"""How a play may end before its end."""

from __future__ import annotations


class Unplayable(Exception):
    """This fault cannot be played here; the text says why."""


class Broken(Exception):
    """The play cannot continue; the text is a violation."""
