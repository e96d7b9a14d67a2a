"""Serial chains: forward kinematics, Jacobian, and inverse kinematics with joint limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.kernel_start import spare_blas_check
from twin_nodes.core.robot.model import RobotModel

spare_blas_check()

from twin_nodes.core.robot import inverse_kernels, kinematics_kernels  # noqa: E402

WIDE_ANGLE = 8.0 * np.pi  # rad between limits, above which they are taken for none
WIDE_LENGTH = 30.0  # m, likewise


@dataclass(frozen=True)
class InverseConfig:
    """How the inverse kinematics searches."""

    position_tolerance: float = setting(
        'Position error at which an answer is taken.', 1e-7, unit='m', minimum=1e-12, maximum=1e-2
    )
    rotation_tolerance: float = setting(
        'Rotation error at which an answer is taken.', 1e-6, unit='rad', minimum=1e-12, maximum=1e-1
    )
    iterations: int = setting('Steps of one descent.', 80, minimum=1, maximum=1000)
    restarts: int = setting('Descents from other places when the first finds no way.', 60, minimum=0, maximum=10000)
    max_step: float = setting('Longest step of a joint.', 0.6, unit='rad or m', minimum=0.01, maximum=10.0)
    lever: float = setting(
        'Distance at which a rotation error weighs as much as a position error.', 0.1, unit='m', minimum=1e-3,
        maximum=10.0,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class InverseResult:
    """Joint positions for a tip pose.

    Args:
        positions: The best positions found [rad or m], shape (m,).
        converged: Whether they reach the pose within the tolerances; otherwise they are only the nearest found.
        position_error: What is left [m].
        rotation_error: What is left [rad].
        iterations: Steps taken in all.
        restarts: Descents from other places.
    """

    positions: Array
    converged: bool
    position_error: float
    rotation_error: float
    iterations: int
    restarts: int


class SerialChain:
    """The joints from a base link out to a tip link, fixed ones merged.

    Args:
        model: The robot.
        tip: The tip link; that of `RobotModel.leaf` by default.
        base: The base link; the root by default.

    Raises:
        InputError: Links that are not there, no moving joint between them, or a mimic joint whose leader is not in
            the chain.
    """

    def __init__(self, model: RobotModel, *, tip: str = '', base: str = '') -> None:
        self.base = base or model.root
        self.tip = tip or model.leaf()
        joints = model.path(self.base, self.tip)
        self.joints = model.chain(self.base, self.tip)
        self.names = tuple(joint.name for joint in self.joints)
        self.lower = np.array([joint.lower for joint in self.joints])
        self.upper = np.array([joint.upper for joint in self.joints])
        self.is_prismatic = np.array([joint.kind == 'prismatic' for joint in self.joints])
        column = {name: index for index, name in enumerate(self.names)}
        origins, axes, kinds, columns, ratios, offsets = [], [], [], [], [], []
        pending = np.eye(4)
        for joint in joints:
            pending = pending @ joint.parent_T_joint
            if joint.kind == 'fixed':
                continue
            origins.append(pending[:3])
            axes.append(joint.axis)
            kinds.append(int(joint.kind == 'prismatic'))
            columns.append(column[joint.mimics or joint.name])
            ratios.append(joint.ratio if joint.mimics else 1.0)
            offsets.append(joint.offset if joint.mimics else 0.0)
            pending = np.eye(4)
        self._kernel = (
            np.ascontiguousarray(origins), np.ascontiguousarray(axes), np.array(kinds, np.int64),
            np.array(columns, np.int64), np.array(ratios), np.array(offsets), np.ascontiguousarray(pending[:3]),
        )  # fmt: skip
        self._low, self._high = _places(self.lower, self.upper, self.is_prismatic)

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def middle(self) -> Array:
        """The positions half-way between the limits, shape (m,)."""
        return np.asarray(0.5 * (self._low + self._high))

    def sample(self, rng: np.random.Generator, count: int) -> Array:
        """Draw positions uniformly within the limits, or near 0 where they bound nothing, shape (count, m)."""
        return rng.uniform(self._low, self._high, (count, len(self)))

    def forward(self, positions: Array) -> Array:
        """Return base_T_tip of one (m,) or many (k, m) positions, shape (4, 4) or (k, 4, 4).

        Raises:
            InputError: Another number of joints.
        """
        q = self._checked(positions)
        out = np.empty((len(q), 4, 4))
        kinematics_kernels.forward_many(*self._kernel, q, out)
        return out if np.ndim(positions) == 2 else out[0]

    def jacobian(self, positions: Array) -> Array:
        """Return the geometric Jacobian of the tip, velocity then rotation, along the axes of the base.

        Args:
            positions: Shape (m,) or (k, m).

        Returns:
            Shape (6, m) or (k, 6, m).
        """
        q = self._checked(positions)
        out = np.empty((len(q), 6, len(self)))
        kinematics_kernels.jacobian_many(*self._kernel, q, out)
        return out if np.ndim(positions) == 2 else out[0]

    def frames(self, positions: Array) -> Array:
        """Return the poses in the base of each moved joint, and of the tip last, shape (n + 1, 4, 4)."""
        q = self._checked(positions)[0]
        frames = np.empty((len(self._kernel[2]) + 1, 3, 4))
        kinematics_kernels.chain_frames(*self._kernel, q, frames)
        return make_transform(frames[:, :, :3], frames[:, :, 3])

    def inverse(
        self, base_T_tip: Array, start: Array | None = None, config: InverseConfig | None = None
    ) -> InverseResult:
        """Seek positions within the limits that reach a tip pose.

        Args:
            base_T_tip: The pose [m], shape (4, 4).
            start: Where to begin, shape (m,); the middle of the limits by default. A pose near that of the start gets
                an answer near it.
            config: Tolerances and effort.

        Raises:
            InputError: NaN, or another number of joints.
        """
        config = config or InverseConfig()
        target = np.ascontiguousarray(np.asarray(base_T_tip, float)[:3])
        if target.shape != (3, 4) or not np.isfinite(target).all():
            raise InputError('the tip pose has NaN or Inf, or is no 4×4 matrix', code='NOT_FINITE')
        q = self._checked(self.middle if start is None else start)[0].copy()
        best = q.copy()
        weights = np.array([1.0 / config.lever**2] * 3 + [1.0] * 3)
        converged, position, rotation, iterations, restarts = inverse_kernels.inverse(
            *self._kernel, self.lower, self.upper, self._low, self._high, target, q, best, weights,
            config.position_tolerance, config.rotation_tolerance, config.iterations, config.restarts, config.max_step,
        )  # fmt: skip
        return InverseResult(best, bool(converged), float(position), float(rotation), int(iterations), int(restarts))

    def _checked(self, positions: Array) -> Array:
        q = np.atleast_2d(np.ascontiguousarray(positions, np.float64))
        if q.ndim != 2 or q.shape[1] != len(self):
            raise InputError(f'{q.shape[-1]} joint positions, the chain has {len(self)}', code='JOINTS_WRONG')
        return q


def _places(lower: Array, upper: Array, is_prismatic: Array) -> tuple[Array, Array]:
    """Return the positions between which to draw: the limits, or ±π about 0 where these bound nothing.

    A mobile base as joints with limits of ±999999 m is common; hardly a pose of it is ever there.
    """
    wide = ~(upper - lower <= np.where(is_prismatic, WIDE_LENGTH, WIDE_ANGLE))
    home = np.clip(0.0, lower, upper)
    return np.where(wide, np.maximum(lower, home - np.pi), lower), np.where(
        wide, np.minimum(upper, home + np.pi), upper
    )


class LinkTree:
    """The edges of a whole robot, for tf: parent_T_child of each joint.

    Args:
        model: The robot.
    """

    def __init__(self, model: RobotModel) -> None:
        self.names = tuple(joint.name for joint in model.moving)
        self.edges = tuple((joint.parent, joint.child) for joint in model.joints)
        self.fixed = np.array([joint.kind == 'fixed' for joint in model.joints])
        column = {name: index for index, name in enumerate(self.names)}
        kinds = {'revolute': 0, 'prismatic': 1, 'fixed': 2}
        self._kernel = (
            np.zeros(len(model.joints), np.int64),
            np.ascontiguousarray([joint.parent_T_joint[:3] for joint in model.joints]),
            np.ascontiguousarray([joint.axis for joint in model.joints]),
            np.array([kinds[joint.kind] for joint in model.joints], np.int64),
            np.array([column.get(joint.mimics or joint.name, 0) for joint in model.joints], np.int64),
            np.array([joint.ratio if joint.mimics else 1.0 for joint in model.joints]),
            np.array([joint.offset if joint.mimics else 0.0 for joint in model.joints]),
        )

    def poses(self, positions: Array) -> Array:
        """Return parent_T_child of each edge for positions in the order of `names`, shape (n, 4, 4).

        Raises:
            InputError: JOINTS_WRONG for another number of positions.
        """
        q = np.ascontiguousarray(positions, np.float64)
        if q.shape != (len(self.names),):
            raise InputError(f'{len(q)} joint positions, the robot has {len(self.names)}', code='JOINTS_WRONG')
        out = np.empty((len(self.edges), 4, 4))
        kinematics_kernels.tree_frames(*self._kernel, q if len(q) else np.zeros(1), out)
        return out
