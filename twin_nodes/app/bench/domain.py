"""A DDS domain that no other test or bench on this machine has: two in one domain hear each other's topics."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

DOMAINS = 101  # with greater numbers the ports reach into those that the system gives away (Linux: from 32768)


def take_domain(first: int | None = None) -> tuple[int, IO[bytes] | None]:
    """Return the number of a free domain and the lock that holds it until it is closed, or this process ends.

    Args:
        first: Which to try first, then those after it; by default one that few others try, not that of the environment.
            Where all are taken it is shared, without a lock.
    """
    if first is None:
        first = (int(os.environ.get('ROS_DOMAIN_ID') or 0) + 1 + os.getpid() % (DOMAINS - 2)) % DOMAINS
    for number in range(DOMAINS):
        domain = (first + number) % DOMAINS or 1  # 0 is what everybody has who names none
        with contextlib.suppress(OSError):  # taken, or by another user's file
            lock = (Path(tempfile.gettempdir()) / f'twin_nodes_test_domain_{domain}').open('ab')
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, lock
    return first, None


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """Hold a free domain, as `take_domain`."""
    domain, lock = take_domain()
    with lock or contextlib.nullcontext():
        yield domain
