"""Collecting a swab: tip positions while the tip slides over a surface, thinned and gated."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS


@dataclass(frozen=True)
class SwabCollectConfig:
    """Which points of a swab are kept."""

    spacing: float = setting(
        'Samples within a cube of this edge become one point: a hand that rests weighs no more than one that moves.',
        0.001, unit='m', minimum=1e-5, maximum=0.02,
    )  # fmt: skip
    max_speed: float = setting(
        'A tip that moves faster is on its way, not on the surface.', 0.25, unit='m/s', minimum=0.001, maximum=10.0
    )
    max_sigma: float = setting(
        'A tip that the tracker knows worse than this is left out (root of the trace).', 0.002, unit='m', minimum=1e-5
    )
    max_points: int = setting('Points kept at most; further cubes are left out and counted.', 20_000, minimum=100)


class SwabCloud:
    """The points of one swab.

    Args:
        config: Limits.
    """

    def __init__(self, config: SwabCollectConfig | None = None) -> None:
        self.config = config or SwabCollectConfig()
        self.reset()

    def reset(self) -> None:
        """Begin a new swab."""
        self._cells: dict[tuple[int, int, int], int] = {}
        self._sums: list[Array] = []
        self._counts: list[int] = []
        self._errors: list[Array] = []
        self._last: tuple[int, Array] | None = None
        self.left_out: dict[str, int] = {}

    def __len__(self) -> int:
        """Points so far."""
        return len(self._sums)

    def add(self, stamp_ns: int, tip_patient: Array, tip_error: Array | None = None, sigma: float = 0.0) -> bool:
        """Take one tip position, and say whether it was kept.

        Args:
            stamp_ns: Time of measurement.
            tip_patient: Tip in the patient frame [m], shape (3,).
            tip_error: One sigma of each part of the tip's error in patient axes [m], shape (3, 3); None for exact.
            sigma: What the tracker says of this position, root of the trace [m].
        """
        last, self._last = self._last, (stamp_ns, tip_patient)
        if not np.isfinite(tip_patient).all():
            self._last = last
            return self._leave_out('NaN')
        if sigma > self.config.max_sigma:
            return self._leave_out('tracked too badly')
        if last is not None and stamp_ns > last[0]:
            speed = float(np.linalg.norm(tip_patient - last[1])) / ((stamp_ns - last[0]) / NANOSECONDS)
            if speed > self.config.max_speed:
                return self._leave_out('too fast')
        return self._keep(tip_patient, np.zeros((3, 3)) if tip_error is None else tip_error)

    def add_cloud(self, points_patient: Array) -> int:
        """Take points (n, 3) [m] that another sensor measured, without an error of a tip; return how many were kept."""
        return sum(
            self._keep(point, np.zeros((3, 3))) if np.isfinite(point).all() else self._leave_out('NaN')
            for point in np.asarray(points_patient, float)
        )

    def _keep(self, point: Array, error: Array) -> bool:
        x, y, z = np.floor(point / self.config.spacing).astype(int).tolist()
        index = self._cells.get((x, y, z))
        if index is not None:
            self._sums[index] = self._sums[index] + point
            self._errors[index] = self._errors[index] + error
            self._counts[index] += 1
            return True
        if len(self._sums) >= self.config.max_points:
            return self._leave_out('above max_points')
        self._cells[x, y, z] = len(self._sums)
        self._sums.append(np.array(point, float))
        self._errors.append(np.array(error, float))
        self._counts.append(1)
        return True

    def _leave_out(self, why: str) -> bool:
        self.left_out[why] = self.left_out.get(why, 0) + 1
        return False

    @property
    def points(self) -> Array:
        """The points in the patient frame [m], shape (n, 3)."""
        counts = np.array(self._counts, float).reshape(-1, 1)
        return np.asarray(np.array(self._sums).reshape(-1, 3) / counts)

    @property
    def tip_errors(self) -> Array:
        """One sigma of each part of the tip's error at each point [m], shape (n, 3, 3)."""
        counts = np.array(self._counts, float).reshape(-1, 1, 1)
        return np.asarray(np.array(self._errors).reshape(-1, 3, 3) / counts)
