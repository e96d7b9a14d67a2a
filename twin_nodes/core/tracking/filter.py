"""The pose filter of a tracked tool: gated, smoothed, with a covariance that can be believed.

An error-state Kalman filter on SO(3)×R³ with 24 states: pose, velocity and acceleration driven by white jerk, and a
tremor of the position that rings at 9 Hz. Five modes are mixed as interacting multiple models (Blom and Bar-Shalom
1988): a hand rests, creeps, reaches, jumps and trembles, and no single process noise smooths the one without dragging
behind in the other. A moving hand changes its speed more than its direction, so jerk is weaker across the path than
along it. Samples are placed by their stamp within a fixed lag, so the order of arrival does not matter. Same samples,
same output, to the last bit.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking import filter_layout as layout


@dataclass(frozen=True)
class PoseFilterConfig:
    """Settings of the pose filter; the defaults suit a hand-held instrument and an optical tracker."""

    position_noise: float = setting(
        'RMS error of a measured position over three axes.', 0.00011, unit='m', minimum=1e-7, maximum=0.1
    )
    rotation_noise: float = setting(
        'RMS error of a measured rotation over three axes.', 0.0006, unit='rad', minimum=1e-7, maximum=1.0
    )
    calm_jerk: float = setting(
        'White jerk density of the calmest mode.', 0.004, unit='m/s^2.5', minimum=1e-6, maximum=1e4
    )
    brisk_jerk: float = setting(
        'White jerk density of the briskest mode; two more lie between, evenly on a logarithmic scale.',
        6.0,
        unit='m/s^2.5',
        minimum=1e-6,
        maximum=1e4,
    )
    calm_angular_jerk: float = setting(
        'White angular jerk density of the calmest mode.', 0.05, unit='rad/s^2.5', minimum=1e-6, maximum=1e5
    )
    brisk_angular_jerk: float = setting(
        'White angular jerk density of the briskest mode.', 10.0, unit='rad/s^2.5', minimum=1e-6, maximum=1e5
    )
    across: float = setting(
        'Jerk across the path over jerk along it; 1 where a tool turns as freely as it speeds up.',
        0.3,
        minimum=0.01,
        maximum=1.0,
    )
    path_speed: float = setting(
        'Speed well below which jerk is the same in all directions.', 0.01, unit='m/s', minimum=1e-6, maximum=10.0
    )
    tremor: float = setting(
        'RMS of the tremor of a hand on each axis, in the mode that trembles.',
        6e-05,
        unit='m',
        minimum=0.0,
        maximum=0.01,
    )
    tremor_rate_hz: float = setting('Middle of the band of the tremor.', 9.0, unit='Hz', minimum=1.0, maximum=30.0)
    tremor_width_hz: float = setting(
        'Half the width of the band of the tremor.', 1.0, unit='Hz', minimum=0.05, maximum=10.0
    )
    mode_dwell: float = setting('Mean time between changes of mode.', 1.0, unit='s', minimum=0.01, maximum=100.0)
    gate: float = setting(
        'Chi-square limit, 6 degrees of freedom, on the innovation widened by max_acceleration; 38.3 rejects one good '
        'sample in a million.',
        38.3,
        minimum=12.6,
        maximum=1e4,
    )
    manoeuvre: float = setting(
        'Chi-square limit above which the covariance is widened to follow an abrupt move.', 20.0, minimum=12.6
    )
    max_speed: float = setting('Fastest the tool can move.', 1.0, unit='m/s', minimum=0.001, maximum=100.0)
    max_acceleration: float = setting('Hardest the tool can speed up.', 20.0, unit='m/s²', minimum=0.01, maximum=1e4)
    max_angular_rate: float = setting('Fastest the tool can turn.', 10.0, unit='rad/s', minimum=0.01, maximum=1e3)
    max_angular_acceleration: float = setting(
        'Hardest the tool can start to turn.', 200.0, unit='rad/s²', minimum=0.01, maximum=1e5
    )
    start_speed: float = setting('Prior sigma of the velocity, each axis.', 0.2, unit='m/s', minimum=1e-6)
    start_angular_rate: float = setting(
        'Prior sigma of the angular velocity, each axis.', 1.0, unit='rad/s', minimum=1e-6
    )
    start_acceleration: float = setting('Prior sigma of the acceleration, each axis.', 2.0, unit='m/s²', minimum=1e-6)
    start_angular_acceleration: float = setting(
        'Prior sigma of the angular acceleration, each axis.', 10.0, unit='rad/s²', minimum=1e-6
    )
    max_gap: float = setting('Gap after which the filter starts again.', 0.2, unit='s', minimum=0.001, maximum=60.0)
    regain: int = setting('Gated samples in a row that agree, after which the filter starts again there.', 5, minimum=2)
    lag: float = setting('How late a sample may come and still be placed.', 0.1, unit='s', minimum=0.0, maximum=5.0)
    history: int = setting('Samples kept for the lag, at most.', 64, minimum=2, maximum=4096)

    def __post_init__(self) -> None:
        if self.brisk_jerk < self.calm_jerk:
            raise ConfigError(f'brisk_jerk={self.brisk_jerk} m/s^2.5 must be at least calm_jerk={self.calm_jerk}')
        if self.brisk_angular_jerk < self.calm_angular_jerk:
            raise ConfigError(
                f'brisk_angular_jerk={self.brisk_angular_jerk} rad/s^2.5 must be at least '
                f'calm_angular_jerk={self.calm_angular_jerk}'
            )

    def noise_covariance(self) -> Array:
        """Return the covariance (6, 6) of a measured pose, m² and rad²."""
        position, rotation = self.position_noise**2 / 3.0, self.rotation_noise**2 / 3.0
        return np.diag([position] * 3 + [rotation] * 3)

    def modes(self) -> Array:
        """Return jerk [m/s^2.5], angular jerk [rad/s^2.5] and tremor [m] of each mode, shape (5, 3).

        Four modes from calm to brisk; the fifth trembles and is otherwise the second.
        """
        jerk = np.geomspace(self.calm_jerk, self.brisk_jerk, 4)
        angular_jerk = np.geomspace(self.calm_angular_jerk, self.brisk_angular_jerk, 4)
        steady = np.column_stack([jerk, angular_jerk, np.zeros(4)])
        return np.vstack([steady, [jerk[1], angular_jerk[1], self.tremor]])

    def settings_vector(self) -> Array:
        """Return the settings in the order of the kernels, shape (SETTINGS,)."""
        turn = 2.0 * np.pi
        return np.concatenate(
            [
                [
                    self.mode_dwell, self.gate, self.manoeuvre, self.max_speed, self.max_acceleration,
                    self.max_angular_rate, self.max_angular_acceleration, self.start_speed, self.start_angular_rate,
                    self.start_acceleration, self.start_angular_acceleration, round(self.max_gap * NANOSECONDS),
                    self.regain, round(self.lag * NANOSECONDS), 8.0 * self.position_noise, 8.0 * self.rotation_noise,
                    turn * self.tremor_rate_hz, turn * self.tremor_width_hz, self.across, self.path_speed,
                ],
                *self.modes().T,
            ]
        )  # fmt: skip


class FilterOutcome(StrEnum):
    """What became of a sample."""

    ACCEPTED = 'accepted'
    GATED = 'gated'
    DUPLICATE = 'duplicate'
    TOO_OLD = 'too old'
    REINITIALISED = 'reinitialised'
    INSERTED_LATE = 'inserted late'


_OUTCOMES = (
    FilterOutcome.ACCEPTED, FilterOutcome.GATED, FilterOutcome.DUPLICATE, FilterOutcome.TOO_OLD,
    FilterOutcome.REINITIALISED, FilterOutcome.INSERTED_LATE,
)  # fmt: skip


@dataclass(slots=True)
class FilterResult:
    """What became of a sample, and the newest estimate.

    Not frozen only because a frozen one costs a microsecond more per sample.

    Args:
        outcome: REINITIALISED also for the first sample: the filter begins at it.
        stamp_ns: Time of the estimate: the newest sample that was not refused.
        tracker_T_tool: Filtered pose, shape (4, 4).
        covariance: Of (δp, δφ) in the axes of the tracker, shape (6, 6), m² and rad² (`core.geometry.covariance`).
        velocity: Linear [m/s], without that of the tremor, and angular [rad/s], in the axes of the tracker, shape (6,).
        nis: Normalised innovation squared of this sample in the best mode, 6 degrees of freedom; 0 at a start.
    """

    outcome: FilterOutcome
    stamp_ns: int
    tracker_T_tool: Array
    covariance: Array
    velocity: Array
    nis: float


class PoseFilter:
    """Filter of one tool.

    Args:
        config: Settings.
    """

    def __init__(self, config: PoseFilterConfig) -> None:
        from twin_nodes.core.tracking import filter_kernels  # 0.3 s, not needed for the settings

        self.config = config
        self._kernels = filter_kernels
        slots = config.history
        self._noise = config.noise_covariance()
        self._order = np.arange(slots, dtype=np.int64)
        self._head = np.zeros(2, np.int64)
        self._meta = np.zeros((slots, 4), np.int64)
        self._kept = (
            np.zeros((slots, layout.MODES + 1, layout.NOMINAL)),
            np.zeros((slots, layout.MODES + 1, layout.STATES, layout.STATES)),
            np.zeros((slots, layout.SAMPLE)), np.zeros((slots, layout.MODES + 1)),
            self._meta, self._order, self._head,
            config.settings_vector(),
        )  # fmt: skip

    @property
    def started(self) -> bool:
        """Whether the filter has taken a sample."""
        return bool(self._head[0])

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest sample taken [ns]; 0 before the first."""
        return int(self._meta[self._order[self._head[0] - 1], 0]) if self._head[0] else 0

    def add(self, stamp_ns: int, tracker_T_tool: Array, covariance: Array | None = None) -> FilterResult:
        """Take one measured pose.

        Args:
            stamp_ns: Time of measurement.
            tracker_T_tool: Checked pose (4, 4) in metres.
            covariance: Of this measurement (6, 6); None for that of the settings.

        Raises:
            InputError: NOT_FINITE, for a pose with NaN or Inf; for a covariance that is not positive definite.
        """
        noise = self._noise if covariance is None else np.ascontiguousarray(covariance, np.float64)
        pose = np.ascontiguousarray(tracker_T_tool, np.float64)
        if pose.shape != (4, 4) or noise.shape != (6, 6):
            raise InputError(f'expected a pose (4, 4) and a covariance (6, 6), got {pose.shape} and {noise.shape}')
        out = np.empty(layout.OUT)
        if covariance is not None and not _is_definite(noise):
            raise InputError('measured covariance must be finite, symmetric and positive definite, m² and rad²')
        outcome, newest_ns = self._kernels.feed(*self._kept, stamp_ns, pose, noise, out)
        if outcome == layout.NOT_FINITE:
            raise InputError('measured pose has NaN or Inf', code='NOT_FINITE')
        return self._result(_OUTCOMES[outcome], newest_ns, out)

    def predict(self, stamp_ns: int) -> FilterResult:
        """Return the estimate at a stamp, ahead of the newest sample or within the lag; changes nothing.

        Raises:
            InputError: when no sample was taken yet or the stamp lies before the lag.
        """
        out = np.empty(layout.OUT)
        outcome = self._kernels.look(*self._kept, stamp_ns, out)
        if outcome != layout.ACCEPTED:
            reason = 'no sample yet' if outcome == layout.EMPTY else f'stamp {stamp_ns} ns lies before the lag'
            raise InputError(f'no pose to predict from: {reason}')
        return self._result(FilterOutcome.ACCEPTED, stamp_ns, out)

    def reset(self) -> None:
        """Forget all samples."""
        self._head[:] = 0

    @staticmethod
    def _result(outcome: FilterOutcome, stamp_ns: int, out: Array) -> FilterResult:
        return FilterResult(
            outcome, stamp_ns, out[:16].reshape(4, 4), out[16:52].reshape(6, 6), out[52:58], out.item(58)
        )


def _is_definite(covariance: Array) -> bool:
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return False
    return bool(
        np.isfinite(covariance).all() and np.abs(covariance - covariance.T).max() <= 1e-9 * np.abs(covariance).max()
    )
