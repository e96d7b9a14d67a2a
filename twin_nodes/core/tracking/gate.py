"""The checks that a reading passes before the filter may see it."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, check_transform
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus

UNIT_FACTOR = 1000.0


@dataclass(frozen=True)
class GateConfig:
    """Settings of the checks before the filter."""

    max_distance: float = setting(
        'Farthest that a tool can be from the origin of the tracker.', 5.0, unit='m', minimum=0.01, maximum=1000.0
    )
    min_distance: float = setting(
        'Nearer to the origin for unit_samples in a row: metres sent as millimetres? A warning, nothing is dropped.',
        0.005,
        unit='m',
        minimum=0.0,
        maximum=1.0,
    )
    unit_samples: int = setting('Samples in a row before the warning on tiny positions.', 60, minimum=1)
    stuck_samples: int = setting('Bit-identical poses in a row before a warning.', 5, minimum=1)
    max_ahead: float = setting('How far a stamp may lie ahead of its arrival.', 0.005, unit='s', minimum=0.0)

    def __post_init__(self) -> None:
        if self.min_distance >= self.max_distance:
            raise ConfigError(f'min_distance={self.min_distance} m must be below max_distance={self.max_distance} m')


@dataclass(frozen=True, slots=True)
class GateWarning:
    """Something odd in a sample that is used all the same.

    Args:
        code: Entry of `core.codes.CODES`.
        message: One line for a person.
    """

    code: str
    message: str


class PoseGate:
    """Checks the readings of one tool in order of arrival.

    Args:
        config: Settings.
    """

    def __init__(self, config: GateConfig) -> None:
        from twin_nodes.core.tracking.gate_kernels import orthonormalise  # loads numba, not needed for the settings

        self.config = config
        self._orthonormalise = orthonormalise
        self._last: bytes = b''
        self._repeats = 0
        self._tiny = 0

    @property
    def stuck(self) -> bool:
        """Whether the last poses were the same to the bit."""
        return self._repeats >= self.config.stuck_samples

    def check(self, reading: ToolReading) -> tuple[Array, GateWarning | None]:
        """Return the checked pose (4, 4) [m], with a warning where there is one.

        Raises:
            InputError: TOOL_LOST, NOT_FINITE, NOT_A_ROTATION, UNIT_SUSPECT or OUT_OF_WORKSPACE.
        """
        if reading.status is not ToolStatus.TRACKED or reading.tracker_T_tool is None:
            raise InputError(reading.reason or 'the source says it does not see the tool', code='TOOL_LOST')
        pose, distance = self._checked(reading)
        self._check_workspace(reading.device, distance)
        warning = self._stuck(reading)
        return pose, self._tiny_positions(reading.device, distance) or warning

    def check_stamp(self, stamp_ns: int, arrival_ns: int) -> None:
        """Refuse a stamp that cannot be.

        Raises:
            InputError: STAMP_ZERO or STAMP_FUTURE.
        """
        if stamp_ns <= 0:
            raise InputError(f'stamp {stamp_ns} ns is not a time', code='STAMP_ZERO')
        ahead = (stamp_ns - arrival_ns) / NANOSECONDS
        if ahead > self.config.max_ahead:
            raise InputError(
                f'stamp lies {ahead:.3f} s ahead of its arrival, limit max_ahead={self.config.max_ahead} s; '
                'synchronise the clocks',
                code='STAMP_FUTURE',
            )

    def reset(self) -> None:
        """Forget what was seen."""
        self._last, self._repeats, self._tiny = b'', 0, 0

    def _checked(self, reading: ToolReading) -> tuple[Array, float]:
        """Return the pose with its rotation made orthonormal and its distance [m] from the origin.

        Raises:
            InputError: as `check_transform`, which finds the words for what the kernel refuses.
        """
        given = np.ascontiguousarray(reading.tracker_T_tool, np.float64)
        if given.shape == (4, 4):
            pose = np.empty((4, 4))
            distance: float = self._orthonormalise(given, pose)
            if distance >= 0.0:
                return pose, distance
        pose = check_transform(given, name=reading.device)
        return pose, float(np.abs(pose[:3, 3]).max())

    def _check_workspace(self, device: str, distance: float) -> None:
        limit = self.config.max_distance
        if distance <= limit:
            return
        if distance <= UNIT_FACTOR * limit:
            raise InputError(
                f'{device} is {distance:.4g} m from the tracker, limit max_distance={limit} m; '
                f'{distance / UNIT_FACTOR:.4g} m if these are millimetres: wrong unit?',
                code='UNIT_SUSPECT',
            )
        raise InputError(
            f'{device} is {distance:.4g} m from the tracker, limit max_distance={limit} m', code='OUT_OF_WORKSPACE'
        )

    def _stuck(self, reading: ToolReading) -> GateWarning | None:
        values = np.asarray(reading.tracker_T_tool).tobytes()
        self._repeats = self._repeats + 1 if values == self._last else 0
        self._last = values
        if not self.stuck:
            return None
        return GateWarning(
            'STUCK', f'{reading.device} sent the very same pose {self._repeats + 1} times: tracker frozen?'
        )

    def _tiny_positions(self, device: str, distance: float) -> GateWarning | None:
        self._tiny = self._tiny + 1 if 0.0 < distance < self.config.min_distance else 0
        if self._tiny < self.config.unit_samples:
            return None
        return GateWarning(
            'UNIT_SUSPECT',
            f'{device} stays within {self.config.min_distance} m of the tracker origin '
            f'({self._tiny} samples, now {distance:.2g} m): metres sent as millimetres?',
        )
