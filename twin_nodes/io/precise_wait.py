"""Waiting for sockets until an instant, exact to some microseconds: sleep almost until it, then look at the clock.

What is left of lateness on a busy machine is the fair scheduler, which lets others finish their slice of some
milliseconds first. `sharpened` takes the calling thread out of that where the system allows it.
"""

import ctypes
import gc
import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

SPIN_NS = 250_000  # a sleeping thread wakes up to this much late
ALLOW = 'allow it with `ulimit -r 1` (a line `USER - rtprio 1` in /etc/security/limits.conf), or give it CAP_SYS_NICE'
_PR_SET_TIMERSLACK = 29
_SLACK_NS = 1


def wait_until(
    readable: Sequence[int], instant_ns: int | None, *, longest_ns: int = 20_000_000, spin_ns: int = SPIN_NS
) -> bool:
    """Wait until a file descriptor can be read or an instant of the monotonic clock has come.

    Args:
        readable: File descriptors.
        instant_ns: Instant [ns], None for none.
        longest_ns: Return after this in any case.
        spin_ns: Look at the clock without sleeping for this long before the instant; it costs that much of a core.

    Returns:
        Whether something can be read.
    """
    now = time.monotonic_ns()
    end = now + longest_ns if instant_ns is None else min(instant_ns, now + longest_ns)
    spin = spin_ns if end == instant_ns else 0
    if end - spin > now and select.select(readable, (), (), (end - spin - now) * 1e-9)[0]:
        return True
    while time.monotonic_ns() < end:
        if select.select(readable, (), (), 0)[0]:
            return True
    return bool(select.select(readable, (), (), 0)[0])


@contextmanager
def sharpened() -> Iterator[str]:
    """Let the calling thread wake on time while the context lasts; yield what it got.

    Linux's fair scheduler wakes a thread up to a slice (3 to 5 ms) late when the cores are busy; a thread of
    SCHED_FIFO wakes at once. It sleeps but for the last 0.25 ms before an instant, so that it takes nobody's core, and
    the kernel's throttle holds it to 95 % in any case. Children do not inherit it. The timer slack of 50 µs is taken
    away, and what the garbage collector would look through on the way is set aside.

    Yields:
        'fifo', or 'fair' where the system does not allow more (see ALLOW).
    """
    gc.collect()
    gc.freeze()
    _set_slack(_SLACK_NS)
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        got = 'fifo'
    except OSError:
        got = 'fair'
    try:
        yield got
    finally:
        if got == 'fifo':
            os.sched_setscheduler(0, *before)
        _set_slack(0)
        gc.unfreeze()


def _set_slack(nanoseconds: int) -> None:
    """Set the timer slack of the calling thread, 0 for the default of the process; nothing where it has none."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0)
