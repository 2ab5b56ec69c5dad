"""Interrupts: the first asks to drain, the second to stop; each is passed on once, whenever it comes."""

from __future__ import annotations

from taskmaster.core.interrupts import Interrupts


def test_the_first_asks_to_drain_and_the_second_to_stop() -> None:
    interrupts = Interrupts()
    seen = [(interrupts.draining, interrupts.stopping)]
    for _ in range(3):
        interrupts.add()
        seen.append((interrupts.draining, interrupts.stopping))
    assert seen == [(False, False), (True, False), (True, True), (True, True)]


def test_a_listener_hears_those_before_it_and_those_after_it_once_each() -> None:
    interrupts, heard = Interrupts(), []
    interrupts.add()
    interrupts.pass_on_to(lambda: heard.append("heard"))
    assert len(heard) == 1
    interrupts.add()
    assert len(heard) == 2


def test_one_that_comes_while_another_is_passed_on_is_passed_on_once() -> None:
    """Signal handlers run between any two steps of the main thread."""
    interrupts, heard = Interrupts(), []

    def listen() -> None:
        heard.append("heard")
        if len(heard) < 3:
            interrupts.add()

    interrupts.add()
    interrupts.pass_on_to(listen)
    assert len(heard) == 3
