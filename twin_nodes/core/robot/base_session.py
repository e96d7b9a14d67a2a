"""Where the base of an arm stands, found while it moves: collects, says what is missing, ends, and watches the result.

The joints of the arm and the poses of a body on its tip come on two streams whose clocks may disagree. Their offset is
found from the speeds of the tip and of the body, the base with the joint offsets by `register_base`. A tie that holds
is then held against every further pose: a base that was pushed, or a body that was knocked, is seen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin_nodes.core.calibration.temporal import estimate_offset
from twin_nodes.core.calibration.temporal_stream import MIN_SAMPLES, pose_stream
from twin_nodes.core.calibration.tie_session import StreamWindow, TieSessionConfig, turned
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, check_transform, inverse
from twin_nodes.core.robot.base_pairing import MAX_GAP_NS, pair_joints
from twin_nodes.core.robot.base_registration import BaseRegistration, BaseRegistrationConfig, register_base
from twin_nodes.core.stamps import NANOSECONDS

if TYPE_CHECKING:  # the compiled kinematics take 0.2 s to load, the settings need none of them
    from twin_nodes.core.robot.chain import SerialChain

MOST = 600  # pairs that are solved for: 0.2 s
WATCHED = 60  # poses whose median is held against the tie
WATCHED_LEAST = 20


@dataclass(frozen=True, eq=False)
class BaseUpdate:
    """How a live registration of a base stands.

    Args:
        message: What is missing, or how good the result is.
        turn: Peak-to-peak turn about the axis turned most, of the stream that turned less [rad].
        span: The same about the axis turned second most [rad].
        duration: Time that the shorter stream covers [s].
        samples: Joint states and poses that are kept.
        offset_ns: What brings the stamps of the body onto the clock of the joints.
        offset_sigma: Its standard deviation [s]; 0 where it was not sought.
        result: The registration, usable or not; None before there is one.
        usable: Whether it is good enough.
        done: Whether no further sample is needed for it.
    """

    message: str
    turn: float = 0.0
    span: float = 0.0
    duration: float = 0.0
    samples: tuple[int, int] = (0, 0)
    offset_ns: int = 0
    offset_sigma: float = 0.0
    result: BaseRegistration | None = None
    usable: bool = False
    done: bool = False


_EMPTY = BaseUpdate('waiting for the joints and the body')


class BaseSession:
    """Collects both streams and solves for the base.

    Args:
        chain: The arm, up to the link that the body is fixed to.
        config: How long, how often, clocks, and the errors (of `hand_eye`) below which a result is used.
        registration: When a result is refused, and when an offset is named.
    """

    def __init__(self, chain: SerialChain, config: TieSessionConfig, registration: BaseRegistrationConfig) -> None:
        self._chain, self._config, self._registration = chain, config, registration
        self.reset()

    def reset(self, why: str = '') -> None:
        """Start again; `why` is said until there is more to say."""
        self._joints, self._body = StreamWindow(self._config), StreamWindow(self._config)
        self._assessed_ns: int | None = None
        self._ready_ns: int | None = None
        self._misses: deque[float] = deque(maxlen=WATCHED)
        self._why = f'{why}; ' if why else ''
        self.update = replace(_EMPTY, message=f'{self._why}{_EMPTY.message}')

    def data(self) -> bytes:
        """Return what the result rests on as bytes, for its fingerprint."""
        return b''.join(sample.tobytes() for window in (self._joints, self._body) for _, sample in window.samples)

    def add_joints(self, stamp_ns: int, positions: Array) -> None:
        """Take checked joint positions [rad or m], shape (m,)."""
        if not self._joints.add(stamp_ns, np.array(positions, float)):
            self.reset('a clock jumped back: started anew')

    def add_body(self, stamp_ns: int, reference_T_body: Array) -> BaseUpdate:
        """Take a pose of the body in the tracker or camera [m], shape (4, 4), and say how the registration stands.

        Raises:
            InputError: The pose is no rigid transform.
        """
        pose = check_transform(reference_T_body, name='pose of the body')
        if not self._body.add(stamp_ns, pose):
            self.reset('a clock jumped back: started anew')
        elif self.update.done:
            self._watch(stamp_ns, pose)
        elif self._assessed_ns is None or stamp_ns - self._assessed_ns >= self._config.assess * NANOSECONDS:
            self._assessed_ns = stamp_ns
            self.update = self._assess(stamp_ns)
        return self.update

    def _assess(self, stamp_ns: int) -> BaseUpdate:
        counts = (len(self._joints.samples), len(self._body.samples))
        duration = min(self._joints.duration, self._body.duration)
        here = replace(_EMPTY, samples=counts, duration=duration)
        if min(counts) < MIN_SAMPLES:
            silent = 'joints' if counts[0] < MIN_SAMPLES else 'body'
            return replace(here, message=f'{self._why}waiting for the {silent}: {min(counts)} samples so far')
        if duration < self._config.least:
            words = 'move all joints, the wrist about two axes, without a rhythm, with the body in view'
            return replace(here, message=f'{self._why}{duration:.0f} of {self._config.least:.0f} s: {words}')
        try:
            return self._solve(here, stamp_ns)
        except (DegenerateGeometryError, InputError) as error:
            self._ready_ns = None
            return replace(here, message=str(error))

    def _solve(self, here: BaseUpdate, stamp_ns: int) -> BaseUpdate:
        stamps, positions = self._joints.arrays()
        stamps, first = np.unique(stamps, return_index=True)
        positions = positions[first]
        hand, body = pose_stream(stamps, self._chain.forward(positions)), self._body.stream()
        turn, span = turned(hand, body)
        here = replace(here, turn=turn, span=span)
        if span < self._config.hand_eye.good_span:
            self._ready_ns = None
            return replace(
                here,
                message=f'turn the wrist about another axis: {np.degrees(span):.0f}° of '
                f'{np.degrees(self._config.hand_eye.good_span):.0f}°',
            )
        if not self._config.clocks_agree:
            offset = estimate_offset(hand, body, self._config.temporal)
            if offset.verdict is Verdict.REFUSE:
                raise DegenerateGeometryError('; '.join(offset.reasons), code='CALIBRATION_REFUSED')
            here = replace(here, offset_ns=offset.offset_ns, offset_sigma=offset.sigma)
        q, seen = pair_joints(stamps, positions, body.stamps_ns + here.offset_ns, body.poses, most=MOST)
        result = register_base(self._chain, q, seen, self._registration, hand_eye=self._config.hand_eye)
        return self._judged(replace(here, result=result), result, stamp_ns)

    def _judged(self, here: BaseUpdate, result: BaseRegistration, stamp_ns: int) -> BaseUpdate:
        limits = self._config.hand_eye
        position, rotation = sigmas(result)
        known = f'base known to {position * 1e3:.2f} mm and {np.degrees(rotation):.2f}°'
        message = '; '.join([known, *result.reasons])
        good = result.verdict is not Verdict.REFUSE and result.position_rms <= self._registration.warn_residual
        if good and (position > limits.warn_position_sigma or rotation > limits.warn_rotation_sigma):
            good, message = False, f'{message}; move through more of the range'
        if not good:
            self._ready_ns = None
            return replace(here, message=message)
        if self._ready_ns is None:
            self._ready_ns = stamp_ns
        done = stamp_ns - self._ready_ns >= self._config.improve * NANOSECONDS
        return replace(here, message=message, usable=True, done=done)

    def _watch(self, stamp_ns: int, reference_T_body: Array) -> None:
        """Hold the tie against a pose; where it no longer holds, begin anew."""
        result = self.update.result
        assert result is not None
        positions = self._positions_at(stamp_ns + self.update.offset_ns)
        if positions is None:
            return
        corrected = positions.copy()
        for offset in result.offsets:
            corrected[offset.joint] += offset.value
        expected = result.reference_T_base @ self._chain.forward(corrected[None])[0] @ result.tip_T_marker
        self._misses.append(float(np.linalg.norm(reference_T_body[:3, 3] - expected[:3, 3])))
        if len(self._misses) < WATCHED_LEAST:
            return
        miss = float(np.median(self._misses))
        if miss > self._registration.warn_residual + 3.0 * result.position_rms:
            self.reset(f'the base or the body has moved by {miss * 1e3:.1f} mm')

    def _positions_at(self, stamp_ns: int) -> Array | None:
        """Joint positions at an instant, interpolated; None where there are none near."""
        later = None
        for stamp, positions in reversed(self._joints.samples):
            if stamp <= stamp_ns:
                if later is None:
                    return positions if stamp == stamp_ns else None
                if later[0] - stamp > MAX_GAP_NS:
                    return None
                share = (stamp_ns - stamp) / (later[0] - stamp)
                between: Array = (1.0 - share) * positions + share * later[1]
                return between
            later = (stamp, positions)
        return None


def sigmas(result: BaseRegistration) -> tuple[float, float]:
    """Standard deviation of the position [m] and of the rotation [rad] of a base."""
    return (
        float(np.sqrt(np.trace(result.covariance[:3, :3]))),
        float(np.sqrt(np.trace(result.covariance[3:, 3:]))),
    )


def body_T_tip(result: BaseRegistration) -> tuple[Array, Array]:
    """Return the tip in the body on it [m], shape (4, 4), and its covariance, shape (6, 6)."""
    from twin_nodes.core.geometry.covariance import inverse_covariance

    covariance = inverse_covariance(result.tip_T_marker, result.marker_covariance)
    return inverse(result.tip_T_marker), 0.5 * (covariance + covariance.T)
