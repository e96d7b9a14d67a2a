"""Lets a whole process wake on time on a busy machine: SCHED_FIFO for each of its threads, where that is allowed.

Commands pass the threads of DDS as well as our own; one of them that waits for its slice (3 to 5 ms, more with many
processes) delays all. The kernel holds such threads to 95 % of the time in any case; children do not inherit it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def favour_process() -> str:
    """Give each thread that this process has now SCHED_FIFO at the lowest priority.

    Returns:
        'fifo', or 'fair' where it is not allowed (`ulimit -r 1`, or CAP_SYS_NICE).
    """
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    got = 'fair'
    for thread in Path('/proc/self/task').iterdir():
        with suppress(OSError):  # not allowed, or the thread is gone
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(1))
            got = 'fifo'
    return got


@contextmanager
def unhurried() -> Iterator[None]:
    """Let this thread take its turn as any other while it does long work that nobody waits for by the millisecond."""
    policy, limits = os.sched_getscheduler(0), os.sched_getparam(0)
    if policy & ~os.SCHED_RESET_ON_FORK not in (os.SCHED_FIFO, os.SCHED_RR):
        yield
        return
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):  # not allowed any more: it goes on as it is
            os.sched_setscheduler(0, policy, limits)
