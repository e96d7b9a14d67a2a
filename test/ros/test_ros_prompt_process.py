"""A prompt process takes its turn as any other while it does long work."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from twin_nodes.ros.prompt_process import unhurried

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
    assert within == os.SCHED_OTHER


def test_a_thread_that_is_not_prompt_stays_as_it_is() -> None:
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(policies, os.SCHED_BATCH).result(30.0) == [os.SCHED_BATCH] * 4
