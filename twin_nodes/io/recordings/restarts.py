"""Tells a recording that was begun anew in the same file from single stamps that are out of order."""

import numpy as np
from numpy.typing import NDArray

RUN = 20  # rows, of which a recording that began anew has more


def begins_anew(stamps: NDArray[np.int64]) -> list[int]:
    """Say where a recording begins anew: a long run of rows whose times are among those before it.

    Args:
        stamps: In the order of the file [ns], shape (n,).
    """
    back = np.flatnonzero(np.diff(stamps) < 0) + 1
    found, last = [], 0
    for at, end in zip(back, [*back, len(stamps)][1:], strict=True):
        before, run = stamps[last:at], stamps[at:end]
        if min(_within(before, run), _within(run, before)) > RUN:
            found.append(int(at))
            last = int(at)
    return found


def _within(stamps: NDArray[np.int64], others: NDArray[np.int64]) -> int:
    """How many stamps lie between the first and the last of others."""
    return int(((stamps >= others.min()) & (stamps <= others.max())).sum())
