"""Lets a process, or a thread for a while, have its turn on a busy machine: SCHED_FIFO, where that is allowed.

Commands pass the threads of DDS as well as our own; one of them that waits for its slice (3 to 5 ms, more with many
processes) delays all. The kernel holds such threads to 95 % of the time in any case; children do not inherit it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FIFO = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
_FAIR = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK  # who may ask for FIFO by `ulimit -r` may not take the flag back
_PROMPT, _FAIR_POLICIES = (os.SCHED_FIFO, os.SCHED_RR), (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE)


def favour_process() -> str:
    """Give each thread that this process has now SCHED_FIFO at the lowest priority.

    Returns:
        'fifo', or 'fair' where it is not allowed (`ulimit -r 1`, or CAP_SYS_NICE).
    """
    got = 'fair'
    for thread in Path('/proc/self/task').iterdir():
        with suppress(OSError):  # not allowed, or the thread is gone
            os.sched_setscheduler(int(thread.name), _FIFO, os.sched_param(1))
            got = 'fifo'
    return got


@contextmanager
def hurried() -> Iterator[bool]:
    """Let this thread go before others for work of milliseconds that is waited for; what it starts is as any other.

    Yields:
        Whether that is allowed.
    """
    policy, limits = os.sched_getscheduler(0), os.sched_getparam(0)
    if policy & ~os.SCHED_RESET_ON_FORK not in _FAIR_POLICIES:  # it goes first as it is
        yield True
        return
    try:
        os.sched_setscheduler(0, _FIFO, os.sched_param(1))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, limits)


@contextmanager
def unhurried() -> Iterator[None]:
    """Let this thread take its turn as any other while it does long work that nobody waits for by the millisecond."""
    policy, limits = os.sched_getscheduler(0), os.sched_getparam(0)
    if policy & ~os.SCHED_RESET_ON_FORK not in _PROMPT:
        yield
        return
    os.sched_setscheduler(0, _FAIR, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):  # not allowed any more: it goes on as it is
            os.sched_setscheduler(0, policy, limits)
