"""What to mend where poses do not fit as they were read, but do in another way."""

from collections.abc import Callable, Iterator

import numpy as np

from twin_nodes.app.offline_streams import NamedStream, reordered, scaled, turned
from twin_nodes.core.calibration.hand_eye import HandEyeResult
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import TwinError

_RESIDUAL = '{residual}'


def other_way(
    solve: Callable[[NamedStream, NamedStream], HandEyeResult], hand: NamedStream, eye: NamedStream, before: str = ''
) -> str:
    """Return what to mend where the poses fit when they are read in another way, else ''."""
    for other_hand, other_eye, told in _other_ways(hand, eye):
        try:
            result = solve(other_hand, other_eye)
        except TwinError:
            continue
        if result.verdict is not Verdict.REFUSE:
            residual = f'{np.median(result.position_residuals) * 1e3:.1f} mm'
            return before + told.replace(_RESIDUAL, f'a median residual of {residual}')
    return ''


def _other_ways(hand: NamedStream, eye: NamedStream) -> Iterator[tuple[NamedStream, NamedStream, str]]:
    """Yield both streams as they may be meant: poses inverted, quaternions w x y z, positions in another unit."""
    mend = 'leave --invert-eye out' if eye.inverted else 'add --invert-eye'
    yield hand, turned(eye), f'the other way round the poses of {eye.name} fit, with {_RESIDUAL}: {mend}'
    for guessed in ((hand, eye), (hand,), (eye,)):
        if all(one.is_order_guessed for one in guessed):
            names = ' and '.join(one.name for one in guessed)
            meant = [reordered(one) if one in guessed else one for one in (hand, eye)]
            yield (
                meant[0],
                meant[1],
                (
                    f'with quaternions read as w x y z the poses of {names} fit, with {_RESIDUAL}: write '
                    '`# t x y z qw qx qy qz` as the first line'
                ),
            )
    for factor in (1e-1, 1e-2, 1e-3, 1e1, 1e2, 1e3):
        larger, smaller = (hand, eye) if factor < 1.0 else (eye, hand)
        yield (
            scaled(hand, factor),
            eye,
            (
                f'positions of {larger.name} are {max(factor, 1.0 / factor):g} times too large for those of '
                f'{smaller.name}; else they fit, with {_RESIDUAL}: name the unit in the first line, as `x [mm]`'
            ),
        )
