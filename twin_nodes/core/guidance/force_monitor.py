"""The force at the tip beside a measured profile: what is expected, what is felt, and when the two part."""

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, rotation_exp, rotation_log
from twin_nodes.core.guidance.force_profile import ForceConfig, ForcePhase, ForceProfile, ForceWatch
from twin_nodes.core.stamps import NANOSECONDS

OFF_PROFILE, TOO_HIGH = 'FORCE_OFF_PROFILE', 'FORCE_HIGH'
_KEPT = 128  # places of the tip
_GAP_NS = NANOSECONDS // 5  # between two places, over which nothing is interpolated
_SIGMAS = 3.0  # of the table, that a force may be off
_BACK = 0.8  # of what it may be off, at which it is back


@dataclass(frozen=True, eq=False)
class TipDepth:
    """How the tip stands in the tissue at one instant.

    Args:
        stamp_ns: The instant.
        depth: Of the deepest point of the ball at the tip below the surface as it was [m]; negative outside.
        speed: With which the depth grows [m/s].
        normal: Unit vector out of the tissue, in the anatomy frame, shape (3,).
        anatomy_R_tip: Rotation of the tip, shape (3, 3).
    """

    stamp_ns: int
    depth: float
    speed: float
    normal: Array
    anatomy_R_tip: Array


@dataclass(frozen=True, eq=False)
class ForceReading:
    """A measured force beside the profile.

    Args:
        place: Where the tip was when it was measured.
        measured: Force on the tip out of the tissue [N].
        expected: What the profile has for that depth and speed [N].
        allowed: By how much the two may differ [N].
        phase: Of the stroke.
        is_known: Whether the profile goes as deep as this.
        codes: What is wrong now: none, OFF_PROFILE, TOO_HIGH or both.
        changed: Those codes that began or ended with this reading.
    """

    place: TipDepth
    measured: float
    expected: float
    allowed: float
    phase: ForcePhase
    is_known: bool
    codes: tuple[str, ...]
    changed: tuple[str, ...]


class ForceMonitor:
    """Pairs measured forces with the depth of the tip at their instants, and watches the difference.

    Args:
        config: Limits.
        profile: The measured table.
    """

    def __init__(self, config: ForceConfig, profile: ForceProfile) -> None:
        self._config, self._profile = config, profile
        self.reset()

    def reset(self) -> None:
        """Forget the stroke, after a jump of the clock."""
        self._places: deque[TipDepth] = deque(maxlen=_KEPT)
        self._watch = ForceWatch(self._config)
        self._on: dict[str, bool] = {OFF_PROFILE: False, TOO_HIGH: False}
        self._since: dict[str, int] = {}
        self._last_ns = 0

    def expect(self, place: TipDepth) -> Array:
        """Take where the tip is now; return the force on it that the profile has there [N], shape (3,).

        Raises:
            InputError: STAMP_BACKWARD.
        """
        if self._places and place.stamp_ns <= self._places[-1].stamp_ns:
            raise InputError('the place of the tip does not come after the last one', code='STAMP_BACKWARD')
        self._places.append(place)
        return self._profile.force(place.depth, place.speed) * place.normal

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest place; 0 for none."""
        return self._places[-1].stamp_ns if self._places else 0

    def compare(self, stamp_ns: int, force: Array, *, in_tip: bool) -> ForceReading:
        """Compare a measured force with the profile.

        Args:
            stamp_ns: When it was measured; not after the newest place.
            force: On the tip [N], shape (3,).
            in_tip: Whether it is in the axes of the tip, else in those of the anatomy.

        Raises:
            InputError: STAMP_BACKWARD; NO_TRANSFORM when the tip was not known around that instant; NOT_FINITE.
        """
        if stamp_ns <= self._last_ns:
            raise InputError('the force does not come after the last one', code='STAMP_BACKWARD')
        place = self._place_at(stamp_ns)
        self._last_ns = stamp_ns
        in_anatomy = place.anatomy_R_tip @ force if in_tip else force
        measured = float(in_anatomy @ place.normal)
        phase, high = self._watch.update(place.depth, place.speed, measured)
        expected = self._profile.force(place.depth, place.speed)
        config = self._config
        allowed = max(config.tolerance + config.share * expected, _SIGMAS * self._profile.sigma)
        known = place.depth <= float(self._profile.depths[-1])
        off = abs(measured - expected)
        wrong = {OFF_PROFILE: known and off > (_BACK if self._on[OFF_PROFILE] else 1.0) * allowed, TOO_HIGH: high}
        changed = tuple(code for code, on in wrong.items() if self._turn(code, stamp_ns, on=on))
        codes = tuple(code for code, on in self._on.items() if on)
        return ForceReading(place, measured, expected, allowed, phase, known, codes, changed)

    def _turn(self, code: str, stamp_ns: int, *, on: bool) -> bool:
        """Switch a code once it has been so for `dwell`, one for too much force at once; True when it switched."""
        if on is self._on[code]:
            self._since.pop(code, None)
            return False
        began = self._since.setdefault(code, stamp_ns)
        if not (code == TOO_HIGH and on) and stamp_ns - began < self._config.dwell * NANOSECONDS:
            return False
        del self._since[code]
        self._on[code] = on
        return True

    def _place_at(self, stamp_ns: int) -> TipDepth:
        places = self._places
        after = bisect_left(places, stamp_ns, key=lambda place: place.stamp_ns)
        if after < len(places) and places[after].stamp_ns == stamp_ns:
            return places[after]
        if after in (0, len(places)) or places[after].stamp_ns - places[after - 1].stamp_ns > _GAP_NS:
            raise InputError(f'the depth of the tip is not known at {stamp_ns}', code='NO_TRANSFORM')
        return _between(places[after - 1], places[after], stamp_ns)


def _between(first: TipDepth, second: TipDepth, stamp_ns: int) -> TipDepth:
    """Interpolate: numbers and normal linearly, the rotation along the shortest turn."""
    share = (stamp_ns - first.stamp_ns) / (second.stamp_ns - first.stamp_ns)
    normal = (1.0 - share) * first.normal + share * second.normal
    length = math.sqrt(float(normal @ normal))
    turn = rotation_log(first.anatomy_R_tip.T @ second.anatomy_R_tip)
    return TipDepth(
        stamp_ns,
        (1.0 - share) * first.depth + share * second.depth,
        (1.0 - share) * first.speed + share * second.speed,
        normal / length if length > 0.0 else normal,
        first.anatomy_R_tip @ rotation_exp(share * turn),
    )
