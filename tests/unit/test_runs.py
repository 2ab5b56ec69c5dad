"""Runs behave as a set of integers does, and stay sorted, disjoint and merged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskmaster.core.runs import Runs, pieces

RUN = st.tuples(st.integers(0, 40), st.integers(1, 12))


def members(runs: Runs) -> set[int]:
    return {offset for first, count in runs for offset in range(first, first + count)}


@given(st.lists(st.tuples(st.sampled_from(["add", "remove"]), RUN), max_size=25), RUN)
def test_every_history_agrees_with_a_plain_set(history: list, probe: tuple[int, int]) -> None:
    runs, model = Runs(), set()
    for verb, (first, count) in history:
        these = set(range(first, first + count))
        changed = getattr(runs, verb)(first, count)
        assert changed == len(these - model if verb == "add" else these & model)
        model = model | these if verb == "add" else model - these
        assert members(runs) == model and len(runs) == len(model)
        listed = list(runs)
        assert all(a + n < b for (a, n), (b, _) in zip(listed, listed[1:])), "sorted, disjoint, merged"
    these = set(range(probe[0], probe[0] + probe[1]))
    assert members(Runs(runs.inside(*probe))) == model & these
    assert members(Runs(runs.outside(*probe))) == these - model
    assert all((offset in runs) == (offset in model) for offset in range(60))


def test_a_million_neighbours_are_one_run() -> None:
    runs = Runs()
    for first in range(0, 1_000_000, 1000):
        runs.add(first, 1000)
    assert list(runs) == [(0, 1_000_000)] and runs.first == 0


def test_a_run_is_cut_into_pieces_of_one_length() -> None:
    assert pieces((10, 20), 8) == [(10, 3), (13, 3), (16, 3), (19, 3), (22, 3), (25, 3), (28, 2)]
    assert pieces((10, 3), 8) == [(10, 1), (11, 1), (12, 1)] and pieces((10, 3), 1) == [(10, 3)]
