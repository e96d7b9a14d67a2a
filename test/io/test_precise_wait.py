"""A thread is sharpened where the system allows it, and is as before afterwards."""

import os
import time

import pytest

from twin_nodes.io import precise_wait
from twin_nodes.io.precise_wait import sharpened, wait_until


def test_the_thread_is_as_before_afterwards():
    before = os.sched_getscheduler(0)
    with sharpened() as got:
        inside = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        assert got == ('fifo' if inside == os.SCHED_FIFO else 'fair')
    assert os.sched_getscheduler(0) == before


def test_it_is_so_after_an_error_too():
    before = os.sched_getscheduler(0)
    with pytest.raises(KeyError), sharpened():
        raise KeyError
    assert os.sched_getscheduler(0) == before


def test_where_it_is_not_allowed_the_thread_stays_fair(monkeypatch):
    def refused(*_):
        raise PermissionError

    before = os.sched_getscheduler(0)
    monkeypatch.setattr(precise_wait.os, 'sched_setscheduler', refused)
    with sharpened() as got:
        assert got == 'fair'
        assert os.sched_getscheduler(0) == before


def test_children_are_fair():
    with sharpened():
        pid = os.fork()
        if pid == 0:
            os._exit(int(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER))
        assert os.waitpid(pid, 0)[1] == 0


def test_it_waits_for_the_instant_and_not_less():
    end = time.monotonic_ns() + 2_000_000
    with sharpened():
        assert not wait_until([], end)
    assert time.monotonic_ns() >= end
