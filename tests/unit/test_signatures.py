"""Which functions can be handlers and sources, and what the state of a workload is called."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from taskmaster import defaults
from taskmaster.errors import TargetError, UsageError
from taskmaster.targets.load import parse_target, state_name
from taskmaster.targets.pool_choice import ASYNCIO, GREENLETS, THREADS, PoolChoice, check_handler, choose_pool
from taskmaster.targets.signature import accepts_last, check_arity, first_offset


class Handlers:
    def method(self, job): ...

    @classmethod
    def of_class(cls, job): ...

    def __call__(self, job): ...


@pytest.mark.parametrize("handler", [
    lambda job: None, lambda job, retries=3: None, lambda *jobs: None, lambda job, **options: None,
    lambda job, /, *, loud=False: None, partial(lambda table, job: None, "t"),
    Handlers(), Handlers().method, Handlers.of_class, print, len, int, max,
])
def test_what_can_be_called_with_one_job_is_a_handler(handler):
    check_arity(handler)


@pytest.mark.parametrize("handler, shown", [
    (lambda: None, "<lambda>()"),
    (lambda job, table: None, "<lambda>(job, table)"),
    (lambda job, *, table: None, "<lambda>(job, *, table)"),
    (lambda *, job: None, "<lambda>(*, job)"),
    (Handlers.method, "method(self, job)"),
    (Handlers, "Handlers()"),
])
def test_what_cannot_be_called_with_one_job_is_no_handler(handler, shown):
    with pytest.raises(TargetError) as caught:
        check_arity(handler)

    assert f"{shown} does not accept that" in str(caught.value)
    assert "def handle_job(job)" in str(caught.value)


async def in_the_background(job): ...


def in_steps(job):
    yield job


async def in_steps_in_the_background(job):
    yield job


class InSteps:
    def __call__(self, job):
        yield job


@pytest.mark.parametrize("handler", [in_steps, in_steps_in_the_background, InSteps(), partial(in_steps)])
def test_a_handler_whose_call_does_not_run_it_is_refused(handler):
    with pytest.raises(TargetError, match="yields, so calling it does not run it"):
        check_arity(handler)


class InTheBackground:
    async def __call__(self, job): ...


@pytest.mark.parametrize("handler", [in_the_background, InTheBackground(), partial(in_the_background)])
def test_async_handlers_run_in_a_loop_unless_another_pool_is_asked_for(handler):
    check_handler(handler)
    assert choose_pool(handler) == PoolChoice(ASYNCIO, defaults.CONCURRENCY_ASYNC)
    assert choose_pool(handler, ASYNCIO, 7) == PoolChoice(ASYNCIO, 7)
    for pool in (THREADS, GREENLETS):
        with pytest.raises(UsageError, match=f"async, which --pool {pool} cannot run"):
            check_handler(handler, pool)


def test_other_handlers_run_in_threads_unless_another_pool_is_asked_for():
    assert choose_pool(print) == PoolChoice(THREADS, defaults.CONCURRENCY)
    assert choose_pool(print, GREENLETS) == PoolChoice(GREENLETS, defaults.CONCURRENCY_ASYNC)
    assert choose_pool(print, None, 64) == PoolChoice(THREADS, 64)


@pytest.mark.parametrize("function, accepts, offset", [
    (lambda: 0, False, 0),
    (lambda last: 0, True, 0),
    (lambda last=0: 0, True, 0),
    (lambda last=100: 0, True, 100),
    (lambda *, last=7: 0, True, 7),
    (lambda last=None: 0, True, 0),
    (lambda last=True: 0, True, 0),
    (lambda last="a": 0, True, 0),
    (lambda last=5, /: 0, False, 0),
    (lambda **options: 0, False, 0),
    (partial(lambda last=3, table="t": 0, table="u"), True, 3),
])
def test_a_source_tells_whether_it_takes_last_and_where_offsets_start(function, accepts, offset):
    assert accepts_last(function) is accepts
    assert first_offset(function) == offset


# --- State


def name_of(text: str, **given: Any) -> str:
    return state_name(parse_target(text, "get_jobs"), given)


@pytest.mark.parametrize("text, label", [
    ("migrate.py", "migrate.get_jobs"),
    ("a/b/migrate.py:rows", "migrate.rows"),
    ("pkg.migrate", "pkg.migrate.get_jobs"),
    ("mein größter/käse 1.py", "k_se_1.get_jobs"),
    ("-.py", "get_jobs"),
    (".hidden.py", "hidden.get_jobs"),
    ("con.py", "_con.get_jobs"),
    ("C:\\x.py", "C__x.get_jobs"),
    (f"{'long' * 99}.py", "long" * 15),
])
def test_the_state_has_a_name_any_filesystem_takes(text, label):
    name, _, digest = name_of(text).rpartition("-")

    assert name == label
    assert len(digest) == 12 and int(digest, 16) >= 0


def test_the_name_of_the_state_stays_from_version_to_version():
    assert name_of("migrate.py", table="t", size=5) == "migrate.get_jobs-baafa9c6d169"


def test_the_order_of_arguments_and_a_dot_in_the_path_do_not_change_the_state():
    assert name_of("./x.py", a=1, b=2) == name_of("x.py:get_jobs", b=2, a=1)


def test_each_target_and_each_set_of_arguments_has_a_state_of_its_own():
    names = [
        name_of("x.py"), name_of("a/x.py"), name_of("b/x.py"), name_of("X.py"), name_of("x.py:rows"),
        name_of("x"), name_of("x.py", a=1), name_of("x.py", a=2), name_of("x.py", b=1),
        name_of("x.py", a=1, b=1), name_of("x.py", a="1\",\"b"),
    ]

    assert len({name.lower() for name in names}) == len(names)
