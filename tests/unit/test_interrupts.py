"""Interrupts: the first asks to drain, the second to stop; each is passed on once, whenever it comes."""

from __future__ import annotations

from taskmaster import defaults
from taskmaster.core.interrupts import Interrupts

LATER = 2 * defaults.INTERRUPT_SECONDS


def test_the_first_asks_to_drain_and_the_second_to_stop() -> None:
    interrupts = Interrupts()
    seen = [(interrupts.draining, interrupts.stopping)]
    for number in range(3):
        interrupts.add(number * LATER)
        seen.append((interrupts.draining, interrupts.stopping))
    assert seen == [(False, False), (True, False), (True, True), (True, True)]


def test_a_listener_hears_those_before_it_and_those_after_it_once_each() -> None:
    interrupts, heard = Interrupts(), []
    interrupts.add(0.0)
    interrupts.pass_on_to(lambda: heard.append("heard"))
    assert len(heard) == 1
    interrupts.add(LATER)
    assert len(heard) == 2


def test_one_that_comes_while_another_is_passed_on_is_passed_on_once() -> None:
    """Signal handlers run between any two steps of the main thread."""
    interrupts, heard = Interrupts(), []

    def listen() -> None:
        heard.append("heard")
        if len(heard) < 3:
            interrupts.add(len(heard) * LATER)

    interrupts.add(0.0)
    interrupts.pass_on_to(listen)
    assert len(heard) == 2


def test_a_signal_to_a_process_and_then_to_its_group_is_one_wish() -> None:
    interrupts = Interrupts()
    interrupts.add(0.0)
    interrupts.add(0.001)
    assert interrupts.draining and not interrupts.stopping
    interrupts.add(LATER)
    assert interrupts.stopping


def test_hammering_a_key_is_not_taken_for_one_wish_for_ever() -> None:
    interrupts = Interrupts()
    for number in range(10):
        interrupts.add(number * 0.2)
    assert interrupts.stopping


def test_a_warning_asks_for_a_drain_however_often_it_comes() -> None:
    """The kernel repeats SIGXCPU each second; a batch system warns by SIGUSR2 and sends SIGTERM at the time limit."""
    interrupts = Interrupts()
    for number in range(10):
        interrupts.add(number * LATER, warning=True)
    interrupts.add(20 * LATER)
    assert interrupts.draining and not interrupts.stopping
    interrupts.add(21 * LATER)
    assert interrupts.stopping


def test_a_slave_of_a_fleet_is_only_ever_asked_to_drain() -> None:
    """A whole unit is signalled, and its fleet passes the signal on, perhaps much later."""
    interrupts = Interrupts(once=True)
    for number in range(3):
        interrupts.add(number * LATER)
    assert interrupts.draining and not interrupts.stopping
