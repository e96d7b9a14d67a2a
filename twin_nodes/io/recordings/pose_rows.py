"""What the numbers of a table of poses mean: the unit of the stamps, and rows that hold no pose."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.recordings.recording import MAX_SECONDS

TICKS = {'s': NANOSECONDS, 'ms': 1_000_000, 'us': 1_000, 'ns': 1}
NAMES = {'ms': 'milliseconds', 'us': 'microseconds', 'ns': 'nanoseconds'}
_EPOCHS = (('ns', 1e17), ('us', 1e14), ('ms', 1e11))  # a number above this is no time in the next larger unit
_STEPS = (('ns', 1e6), ('us', 1e3), ('ms', 2.0))  # a median step of whole numbers above this, likewise
_MANY = 20  # stamps whose median step says something
_OPPOSITE, _ZERO = 0.8, 0.15  # neighbours of opposite sign; where w passes zero
_LARGE, _SMALL = 0.9, 0.45  # of w in rotations below 50°; of the others then
_MOST_TURNS, _LATE, _SOON_NS = 8, 50.0, 10**9  # a counter that begins again; its next stamp
_DAY_NS = 86_400 * 10**9
ORDER_GUESSED = 'quaternions taken as x y z w'
_NEAR = 0.02  # m; a motion may begin at the origin, and then goes on near it


def tick_of(times: Sequence[Decimal]) -> tuple[str, str]:
    """Return the unit of stamps that no header names, and what to say of it ('' for seconds)."""
    middle = float(sorted(times)[len(times) // 2])
    tick = next((name for name, above in _EPOCHS if middle > above), '')
    if tick:
        return tick, f'stamps taken as {NAMES[tick]}: they are about {middle:.3g}' if tick != 'ns' else ''
    steps = sorted(step for step in (b - a for a, b in pairwise(times)) if step > 0)
    if len(steps) < _MANY:
        return 's', ''
    step = float(steps[len(steps) // 2])
    if all(time == time.to_integral_value() for time in times):
        tick = next((name for name, above in _STEPS if step > above), 's')
    if tick in NAMES:
        return tick, f'stamps taken as {NAMES[tick]}: whole numbers {step:.4g} apart'
    return 's', f'half of the poses are more than {step:.3g} s apart: are the stamps seconds?' if step > 2.0 else ''


def stamp_of(text: str) -> Decimal:
    """Return the number in a cell.

    Raises:
        InputError: It is none.
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal('nan')
    if not value.is_finite() or abs(value) >= Decimal(MAX_SECONDS) * NANOSECONDS:
        raise InputError(f'time {text.strip()[:40]!r} is no number')
    return value


def nanoseconds_of(times: Sequence[Decimal], tick: str) -> NDArray[np.int64]:
    """Return integer stamps, without passing through binary floating point.

    Raises:
        InputError: A time that does not fit 64 bits.
    """
    stamps = [int((time * TICKS[tick]).to_integral_value()) for time in times]
    beyond = next((time for time, stamp in zip(times, stamps, strict=True) if abs(stamp) >= 2**63), None)
    if beyond is not None:
        raise InputError(f'time {beyond} is no number of {NAMES.get(tick, "seconds")}')
    return np.array(stamps, dtype=np.int64)


def unwrapped(stamps: NDArray[np.int64], tick: str) -> tuple[NDArray[np.int64], str]:
    """Return stamps of a counter that began again, put behind one another, and what to say of it ('' for none).

    A counter of 32 bits, in the unit of the stamps, or a time of day. Only a step back that leaves the next stamp where
    it would have come is one; any other step back stays as it was written.

    Args:
        stamps: [ns], shape (n,).
        tick: Their unit.
    """
    steps = np.diff(stamps)
    forward = steps[steps > 0]
    back = np.flatnonzero(steps < 0)
    if not len(back) or len(back) > _MOST_TURNS or not len(forward):
        return stamps, ''
    near = max(_LATE * float(np.median(forward)), float(_SOON_NS))
    for turn, name in ((2**32 * TICKS[tick], 'a counter of 32 bits'), (_DAY_NS, 'midnight')):
        if turn < 2**62 and all(0 <= steps[at] + turn <= near for at in back):
            turned = np.zeros(len(stamps), np.int64)
            turned[back + 1] = turn
            return stamps + np.cumsum(turned), f'stamps run over at {name}: what follows is put behind it'
    return stamps, ''


def lost_rows(positions: Array, quaternions: Array) -> NDArray[np.bool_]:
    """Where a row holds what trackers write for a tool that is not seen: the origin itself and no rotation.

    Args:
        positions: [m], shape (n, 3).
        quaternions: xyzw, shape (n, 4).

    Returns:
        Shape (n,). A motion that begins at the origin and goes on from there is none of it.
    """
    found: NDArray[np.bool_] = (positions == 0.0).all(axis=1) & (quaternions[:, :3] == 0.0).all(axis=1)
    seen = np.flatnonzero(~found)
    if not found.any() or not len(seen):
        return np.zeros(len(found), bool)
    if seen[0] > 0 and float(np.linalg.norm(positions[seen[0]])) < _NEAR:
        found[: seen[0]] = False
    for row in np.flatnonzero(found):  # as a hand that passes through the very origin
        beside = [positions[row - 1] if row else None, positions[row + 1] if row + 1 < len(found) else None]
        found[row] = found[row] and not any(p is not None and 0.0 < np.linalg.norm(p) < _NEAR for p in beside)
    return found


def in_order(quaternions: Array) -> tuple[Array, str]:
    """Return quaternions of a table without a header as x y z w, and what to say of it.

    A number that is never negative, and passes zero where the quaternion turns over, is w: recorders that choose the
    sign choose that of w. Without such evidence they are x y z w, as in the TUM format, and that is said.

    Args:
        quaternions: Four numbers of norm 1 in the order of the file, shape (n, 4).

    Raises:
        InputError: The first number is near ±1 throughout, as w is of small rotations, and the last is not.
    """
    turned = np.flatnonzero(np.sum(quaternions[1:] * quaternions[:-1], axis=1) < -_OPPOSITE)
    beside = np.minimum(np.abs(quaternions[turned]), np.abs(quaternions[turned + 1]))
    for column, order in ((3, 'x y z w'), (0, 'w x y z')):
        if len(turned) and (quaternions[:, column] >= 0.0).all() and (beside[:, column] < _ZERO).all():
            found = quaternions if column == 3 else quaternions[:, [1, 2, 3, 0]]
            return found, f'no header: quaternions are {order}, by where their signs turn'
    if len(quaternions) and np.abs(quaternions[:, 0]).min() > _LARGE and np.abs(quaternions[:, 3]).max() < _SMALL:
        raise InputError(
            'there is no header, and the quaternions may be w x y z (small rotations) or x y z w (half turns about x): '
            'write `# t x y z qw qx qy qz` or `# t x y z qx qy qz qw` as the first line'
        )
    return quaternions, f'no header: {ORDER_GUESSED}'
