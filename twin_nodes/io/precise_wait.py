"""Waiting for sockets until an instant, exact to some microseconds: sleep almost until it, then look at the clock."""

import select
import time
from collections.abc import Sequence

SPIN_NS = 250_000  # a sleeping thread wakes up to this much late


def wait_until(readable: Sequence[int], instant_ns: int | None, *, longest_ns: int = 20_000_000) -> bool:
    """Wait until a file descriptor can be read or an instant of the monotonic clock has come.

    Args:
        readable: File descriptors.
        instant_ns: Instant [ns], None for none.
        longest_ns: Return after this in any case.

    Returns:
        Whether something can be read.
    """
    now = time.monotonic_ns()
    end = now + longest_ns if instant_ns is None else min(instant_ns, now + longest_ns)
    spin = SPIN_NS if end == instant_ns else 0
    if end - spin > now and select.select(readable, (), (), (end - spin - now) * 1e-9)[0]:
        return True
    while time.monotonic_ns() < end:
        if select.select(readable, (), (), 0)[0]:
            return True
    return bool(select.select(readable, (), (), 0)[0])
