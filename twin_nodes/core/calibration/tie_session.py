"""Hand-eye ties and clock offsets while the streams run: it keeps both, says what to move, and ends by itself.

Two streams of one rigid body, each with stamps of its own clock; both may come out of order and repeat. The window of
either is bounded, so that a person may fumble for as long as they like.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.hand_eye import HandEyeConfig, HandEyeResult, turns_about_mean
from twin_nodes.core.calibration.robot_world import calibrate_streams
from twin_nodes.core.calibration.temporal import OffsetResult, TemporalConfig, estimate_offset
from twin_nodes.core.calibration.temporal_stream import MIN_SAMPLES, PoseStream, pose_stream
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, check_transform
from twin_nodes.core.stamps import NANOSECONDS

_PEAK_TO_PEAK = 2.0 * np.sqrt(2.0)


@dataclass(frozen=True)
class TieSessionConfig:
    """Settings of a live hand-eye or clock calibration."""

    hand_eye: HandEyeConfig = group(HandEyeConfig)
    temporal: TemporalConfig = group(TemporalConfig)
    clocks_agree: bool = setting('Whether both streams are on one clock: the offset is then not sought.', False)
    window: float = setting('Samples older than this are forgotten.', 60.0, unit='s', minimum=5.0, maximum=600.0)
    least: float = setting('Shortest recording that is looked at.', 8.0, unit='s', minimum=1.0, maximum=600.0)
    assess: float = setting('The ties are solved for once in this time.', 2.0, unit='s', minimum=0.1, maximum=60.0)
    improve: float = setting('How long an accepted result is improved.', 4.0, unit='s', minimum=0.0, maximum=120.0)
    max_rate: float = setting('Samples above this rate are thinned.', 60.0, unit='Hz', minimum=1.0, maximum=1000.0)
    jump: float = setting('Stamps going back further than this start anew.', 2.0, unit='s', minimum=0.1)

    def __post_init__(self) -> None:
        if self.least > self.window:
            raise ConfigError(f'least={self.least} s must not be above window={self.window} s')


@dataclass(frozen=True, eq=False)
class TieUpdate:
    """How a live calibration stands.

    Args:
        message: What is missing, or how good the result is.
        turn: Peak-to-peak turn about the axis turned most, of the stream that turned less [rad].
        span: The same about the axis turned second most [rad].
        duration: Time that the shorter stream covers [s].
        samples: Of the hand and of the eye that are kept.
        ties: Hand-eye result, usable or not; None before there is one, or where only the offset is sought.
        offset: Offset result; None before there is one, or where the ties are sought.
        usable: Whether the result was accepted, by its limits or by a person.
        done: Whether no further sample is needed.
    """

    message: str
    turn: float
    span: float
    duration: float
    samples: tuple[int, int]
    ties: HandEyeResult | None
    offset: OffsetResult | None
    usable: bool
    done: bool


_EMPTY = TieUpdate('waiting for both streams', 0.0, 0.0, 0.0, (0, 0), None, None, False, False)


class StreamWindow:
    """The last samples of one stream, in the order of arrival: poses, or whatever else is an array."""

    def __init__(self, config: TieSessionConfig) -> None:
        self._window_ns = round(config.window * NANOSECONDS)
        self._least_ns = round(0.9 * NANOSECONDS / config.max_rate)
        self._jump_ns = round(config.jump * NANOSECONDS)
        self.samples: deque[tuple[int, Array]] = deque()
        self._newest_ns: int | None = None

    def add(self, stamp_ns: int, pose: Array) -> bool:
        """Take a sample; False when its stamp jumped back, and all before it was forgotten."""
        newest = self._newest_ns
        whole = newest is None or stamp_ns > newest - self._jump_ns
        if not whole:
            self.samples.clear()
            newest = None
        if newest is None or stamp_ns < newest or stamp_ns - newest >= self._least_ns:
            self.samples.append((stamp_ns, pose))
            self._newest_ns = stamp_ns if newest is None else max(newest, stamp_ns)
            while self.samples[0][0] < self._newest_ns - self._window_ns:
                self.samples.popleft()
        return whole

    @property
    def duration(self) -> float:
        """Time between the first and the last sample [s]."""
        return (self.samples[-1][0] - self.samples[0][0]) / NANOSECONDS if self.samples else 0.0

    def arrays(self) -> tuple[NDArray[np.int64], Array]:
        """Return stamps (n,) and samples (n, …)."""
        stamps = np.array([stamp for stamp, _ in self.samples], dtype=np.int64)
        return stamps, np.array([sample for _, sample in self.samples])

    def stream(self) -> PoseStream:
        """Return a window of poses in the order of its stamps."""
        return pose_stream(*self.arrays())


class TieSession:
    """Collects two streams and solves for their ties, or for the offset of their clocks alone.

    Args:
        config: Limits.
        ties: Whether hand_T_eye and base_T_target are sought, and not the offset alone.
    """

    def __init__(self, config: TieSessionConfig, *, ties: bool) -> None:
        self._config = config
        self._seeks_ties = ties
        self.reset()

    def reset(self) -> None:
        """Start again."""
        self._hand, self._eye = StreamWindow(self._config), StreamWindow(self._config)
        self._assessed_ns: int | None = None
        self._ready_ns: int | None = None
        self._update = _EMPTY

    @property
    def update(self) -> TieUpdate:
        """How the calibration stands."""
        return self._update

    def data(self) -> bytes:
        """Return what the result rests on as bytes, for its fingerprint."""
        return b''.join(pose.tobytes() for window in (self._hand, self._eye) for _, pose in window.samples)

    def add_hand(self, stamp_ns: int, base_T_hand: Array) -> TieUpdate:
        """Take a pose of the hand [m], shape (4, 4), and say how the calibration stands.

        Raises:
            InputError: The pose is no rigid transform.
        """
        self._take(self._hand, stamp_ns, check_transform(base_T_hand, name='pose of the hand'))
        if self._update.done:
            return self._update
        elapsed = None if self._assessed_ns is None else stamp_ns - self._assessed_ns
        if elapsed is None or elapsed >= self._config.assess * NANOSECONDS:
            self._assessed_ns = stamp_ns
            self._update = self._assess(stamp_ns)
        return self._update

    def add_eye(self, stamp_ns: int, target_T_eye: Array) -> None:
        """Take a pose of the eye in the frame of what it sees [m], shape (4, 4).

        Raises:
            InputError: The pose is no rigid transform.
        """
        self._take(self._eye, stamp_ns, check_transform(target_T_eye, name='pose of the eye'))

    def accept(self) -> TieUpdate:
        """Take a doubtful result as it is; a person decides so.

        Raises:
            DegenerateGeometryError: There is none, or it is refused.
        """
        found = self._update.ties or self._update.offset
        if found is None or found.verdict is Verdict.REFUSE:
            raise DegenerateGeometryError(
                f'there is no usable result: {self._update.message}', code='CALIBRATION_REFUSED'
            )
        self._update = replace(self._update, usable=True, done=True)
        return self._update

    def _take(self, window: StreamWindow, stamp_ns: int, pose: Array) -> None:
        if self._update.done:
            return
        if not window.add(stamp_ns, pose):
            other = self._eye if window is self._hand else self._hand
            other.samples.clear()
            self._assessed_ns = self._ready_ns = None
            self._update = replace(_EMPTY, message='a clock jumped back: started anew')

    def _assess(self, stamp_ns: int) -> TieUpdate:
        counts = (len(self._hand.samples), len(self._eye.samples))
        duration = min(self._hand.duration, self._eye.duration)
        here = replace(_EMPTY, samples=counts, duration=duration)
        if min(counts) < MIN_SAMPLES:
            silent = 'hand' if counts[0] < MIN_SAMPLES else 'eye'
            return replace(here, message=f'waiting for the {silent}: {min(counts)} samples so far')
        if duration < self._config.least:
            return replace(here, message=f'{duration:.0f} of {self._config.least:.0f} s: {self._motion_words()}')
        try:
            hand, eye = self._hand.stream(), self._eye.stream()
            turn, span = turned(hand, eye)
            here = replace(here, turn=turn, span=span)
            return self._solve(here, hand, eye, stamp_ns)
        except (DegenerateGeometryError, InputError) as error:
            self._ready_ns = None
            return replace(here, message=str(error))

    def _motion_words(self) -> str:
        if self._seeks_ties:
            return 'turn the hand about two axes, without a rhythm, with the target in view'
        return 'turn the body to and fro, without a rhythm'

    def _solve(self, here: TieUpdate, hand: PoseStream, eye: PoseStream, stamp_ns: int) -> TieUpdate:
        config = self._config
        if self._seeks_ties:
            known = 0 if config.clocks_agree else None
            ties = calibrate_streams(hand, eye, config.hand_eye, temporal=config.temporal, offset_ns=known)
            here = replace(here, ties=ties)
            message = (
                f'known to {ties.position_sigma * 1e3:.2f} mm and {np.degrees(ties.rotation_sigma):.2f}°, clocks '
                f'{ties.offset_ns * 1e-6:.1f} ms apart'
            )
            verdict, reasons = ties.verdict, ties.reasons
        else:
            offset = estimate_offset(hand, eye, config.temporal)
            here = replace(here, offset=offset)
            message = f'offset {offset.offset_ns * 1e-6:.2f} ± {offset.sigma * 1e3:.2f} ms'
            verdict, reasons = offset.verdict, offset.reasons
        if verdict is not Verdict.ACCEPT:
            self._ready_ns = None
            return replace(here, message=f'{message}; ' + '; '.join(reasons))
        if self._ready_ns is None:
            self._ready_ns = stamp_ns
        done = stamp_ns - self._ready_ns >= config.improve * NANOSECONDS
        return replace(here, message=message, usable=True, done=done)


def turned(hand: PoseStream, eye: PoseStream) -> tuple[float, float]:
    """Peak-to-peak turn [rad] about the two axes turned most, of the stream that turned less."""
    both = []
    for stream in (hand, eye):
        turns = turns_about_mean(stream.poses[:, :3, :3])
        moments = np.linalg.eigvalsh(turns.T @ turns / len(turns))
        both.append(_PEAK_TO_PEAK * np.sqrt(np.maximum(moments[::-1], 0.0)))
    return float(min(both[0][0], both[1][0])), float(min(both[0][1], both[1][1]))
