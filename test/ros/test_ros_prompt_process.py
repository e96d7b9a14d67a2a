"""A prompt process takes its turn as any other while it does long work, and any thread goes first for short work."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from twin_nodes.ros.prompt_process import hurried, unhurried

FIFO = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK


def policies(first: int) -> list[int]:
    """Policies before, within and after long work that fails, of a thread that asks for one of its own."""
    try:
        os.sched_setscheduler(0, first, os.sched_param(1 if first == FIFO else 0))
    except PermissionError:
        first = os.SCHED_OTHER
    found = [os.sched_getscheduler(0)]
    with pytest.raises(ValueError, match='long work'), unhurried():
        found.append(os.sched_getscheduler(0))
        raise ValueError('long work')
    return [*found, os.sched_getscheduler(0), first]


def test_long_work_of_a_prompt_thread_takes_its_turn_and_promptness_comes_back() -> None:
    with ThreadPoolExecutor(1) as thread:  # a thread of its own: its policy ends with it
        before, within, after, asked = thread.submit(policies, FIFO).result(30.0)
    assert before == after == asked
    assert within & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER


def test_a_thread_that_is_not_prompt_stays_as_it_is() -> None:
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(policies, os.SCHED_BATCH).result(30.0) == [os.SCHED_BATCH] * 4


def hurry(first: int) -> list[int]:
    """Policies before, within and after short work that fails, and of a thread that it starts; 1 where it may hurry."""
    os.sched_setscheduler(0, first, os.sched_param(0))
    found = [os.sched_getscheduler(0)]
    with pytest.raises(ValueError, match='short work'), hurried() as may:
        found += [os.sched_getscheduler(0), int(may)]
        with ThreadPoolExecutor(1) as another:
            found.append(another.submit(os.sched_getscheduler, 0).result(30.0))
        raise ValueError('short work')
    return [*found, os.sched_getscheduler(0)]


def test_short_work_goes_first_where_that_is_allowed_and_what_it_starts_does_not() -> None:
    with ThreadPoolExecutor(1) as thread:
        before, within, may, started, after = thread.submit(hurry, os.SCHED_BATCH).result(30.0)
    assert within == (FIFO if may else os.SCHED_BATCH)
    flag = ~os.SCHED_RESET_ON_FORK
    assert started & flag == (os.SCHED_OTHER if may else os.SCHED_BATCH)
    assert before & flag == after & flag == os.SCHED_BATCH


def test_one_that_may_not_hurry_does_its_work_as_it_is(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'sched_setscheduler', refuse)
    with hurried() as may:
        assert not may


def test_who_may_not_take_the_flag_back_still_takes_turns(monkeypatch) -> None:
    """As with `ulimit -r 1`: the kernel refuses any policy without the flag to a thread that has it."""
    policy = FIFO

    def change(_: int, wanted: int, param: os.sched_param) -> None:
        nonlocal policy
        if policy & os.SCHED_RESET_ON_FORK and not wanted & os.SCHED_RESET_ON_FORK:
            raise PermissionError(1, 'Operation not permitted')
        policy = wanted

    monkeypatch.setattr(os, 'sched_setscheduler', change)
    monkeypatch.setattr(os, 'sched_getscheduler', lambda _: policy)
    with unhurried():
        assert policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
        with hurried():
            assert policy == FIFO
        assert policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
    assert policy == FIFO
