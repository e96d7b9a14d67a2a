"""Spin calibration: the axis of a tool from poses in which it turns about its own shaft.

Every pose obeys R_i a = b, with a the axis in the tool and b the same axis at rest in the tracker: the idea of Slicer
IGT's spin calibration, the common direction of all screw axes. For isotropic errors of the shaft's direction, maximum
likelihood is the pair of unit vectors that maximises b · R̄ a: the first singular vectors of the mean rotation R̄ (the
orthogonal Procrustes argument of Mardia and Jupp 2000, "Directional statistics", section 10.3, for one axis).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.robot_world_model import NormalEquations, inflated_by_memory
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array

REFUSED = 'CALIBRATION_REFUSED'
# 99.73 % point of the χ distribution with 2 degrees of freedom, and its median.
THREE_SIGMA = 3.4394
CHI2_MEDIAN = 1.1774
_TRIMMED_SHARE = 0.6
_HYPOTHESES, _SUBSET, _SEARCHED = 100, 4, 200
_SEED = 20190311


@dataclass(frozen=True)
class SpinConfig:
    """When a spin calibration is good enough."""

    min_poses: int = setting('Fewer poses are refused.', 12, minimum=5, maximum=10000)
    good_spin: float = setting('Spin below which the result is doubtful.', 2.1, unit='rad', minimum=0.1, maximum=6.2)
    min_spin: float = setting('Spin below which it is refused.', 0.52, unit='rad', minimum=0.02, maximum=6.2)
    still: float = setting('Turns below this count as none.', 0.035, unit='rad', minimum=0.0, maximum=1.0)
    warn_wander: float = setting(
        'RMS angle by which the shaft leaves its direction, above which it is doubtful.', 0.035, unit='rad',
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    refuse_wander: float = setting('The same above which it is refused.', 0.09, unit='rad', minimum=0.0, maximum=1.0)
    warn_sigma: float = setting('Uncertainty of the axis above which it is doubtful.', 0.01, unit='rad', minimum=0.0)
    warn_off_tip: float = setting(
        'Angle between the axis and the line from tip to marker above which it is doubtful.', 0.7, unit='rad',
        minimum=0.0, maximum=1.58,
    )  # fmt: skip
    refuse_off_tip: float = setting(
        'The same above which the tool was swung and not spun.', 1.05, unit='rad', minimum=0.0, maximum=1.58
    )
    warn_lever: float = setting(
        'Distance of the marker from the axis above which it is doubtful that this is the shaft.', 0.1, unit='m',
        minimum=0.0, maximum=10.0,
    )  # fmt: skip
    max_outliers: float = setting('Share of outliers above which it is refused.', 0.4, minimum=0.0, maximum=0.5)

    def __post_init__(self) -> None:
        for low, high in (
            ('min_spin', 'good_spin'), ('warn_wander', 'refuse_wander'), ('warn_off_tip', 'refuse_off_tip')
        ):  # fmt: skip
            if getattr(self, high) < getattr(self, low):
                raise ConfigError(f'{high}={getattr(self, high)} rad must not be below {low}={getattr(self, low)} rad')


@dataclass(frozen=True, eq=False)
class SpinResult:
    """The axis of a tool and how far it can be trusted.

    Args:
        axis_tool: Unit vector along the shaft in the tool's marker, from the tip towards the marker where the tip is
            known, shape (3,).
        axis_tracker: The same at rest in the tracker frame, shape (3,).
        covariance: Of axis_tool, shape (3, 3); zero along it.
        spin: Part of a turn that the poses cover [rad], 0 … 2π.
        residuals: Angle between the axis and its mean direction in each pose given [rad], shape (n,), outliers too.
        wander: Root mean square of those of the poses used [rad].
        lever: Distance of the marker from the axis [m].
        off_tip: Angle between the axis and the line from tip to marker [rad]; None without a tip.
        outliers: Indices of the poses that were left out.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
    """

    axis_tool: Array
    axis_tracker: Array
    covariance: Array
    spin: float
    residuals: Array
    wander: float
    lever: float
    off_tip: float | None
    outliers: tuple[int, ...]
    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def axis_sigma(self) -> float:
        """Uncertainty of the axis, root mean square of its angle [rad]."""
        return float(np.sqrt(np.trace(self.covariance)))


def solve_spin(
    tracker_T_tool: Array, config: SpinConfig | None = None, *, tip_tool: Array | None = None, robust: bool = True
) -> SpinResult:
    """Find the axis about which a tool spins; where it stands meanwhile does not matter.

    Args:
        tracker_T_tool: Poses in the order of time [m], shape (n, 4, 4).
        config: Limits.
        tip_tool: The tip in the marker [m], shape (3,): it orients the axis, and tells a swing from a spin.
        robust: Whether to leave out poses that do not fit; they are named in the result.

    Raises:
        InputError: Wrong shape, NaN, or matrices that are no rotations.
        DegenerateGeometryError: Too few poses, too little spin, or a shaft that swung.
    """
    config = config or SpinConfig()
    rotations, positions = _checked(tracker_T_tool, config)
    keep = _consensus(rotations, config) if robust else np.ones(len(rotations), dtype=bool)
    axis, direction = _first_axes(rotations[keep].mean(axis=0)[None])
    axis, direction = axis[0], direction[0]
    spin = _covered(rotations[keep], axis, direction)
    residuals = _angles(rotations @ axis, direction)
    wander = float(np.sqrt((residuals[keep] ** 2).mean()))
    _refuse(spin, wander, config)
    sign, off_tip = _orient(axis, tip_tool, config)
    covariance = _covariance(rotations[keep], axis, direction)
    lever = _lever(rotations[keep], positions[keep], axis, direction)
    outliers = tuple(np.nonzero(~keep)[0].tolist())
    sigma = float(np.sqrt(np.trace(covariance)))
    verdict, reasons = _judge(spin, wander, sigma, lever, off_tip, len(outliers) / len(keep), config)
    return SpinResult(
        sign * axis, sign * direction, covariance, spin, residuals, wander, lever, off_tip, outliers, verdict, reasons
    )


def spin_advice(spin: float, wanted: float) -> str:
    """Return what to do to reach a spin [rad], such as 'turn it further about its shaft: 40° of 120°'."""
    return f'turn the tool further about its shaft: {np.degrees(spin):.0f}° of {np.degrees(wanted):.0f}°'


def _checked(tracker_T_tool: Array, config: SpinConfig) -> tuple[Array, Array]:
    poses = np.asarray(tracker_T_tool, float)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise InputError(f'poses need shape (n, 4, 4), got {poses.shape}')
    if not np.isfinite(poses).all():
        raise InputError('poses have NaN or Inf', code='NOT_FINITE')
    rotations = poses[:, :3, :3]
    if len(poses) and (
        np.abs(np.swapaxes(rotations, 1, 2) @ rotations - np.eye(3)).max() > 1e-3 or np.linalg.det(rotations).min() < 0
    ):
        raise InputError('poses hold matrices that are no rotations', code='NOT_A_ROTATION')
    if len(poses) < config.min_poses:
        raise DegenerateGeometryError(f'{len(poses)} of {config.min_poses} poses: spin for longer', code=REFUSED)
    cosines = 0.5 * (np.einsum('nij,ij->n', rotations, rotations[0]) - 1.0)
    turn = float(np.arccos(np.clip(cosines.min(), -1.0, 1.0)))
    if turn < config.still:
        raise DegenerateGeometryError(
            f'the tool does not move: it turned by {np.degrees(turn):.1f}°, turn it about its shaft', code=REFUSED
        )
    return rotations, poses[:, :3, 3]


def _first_axes(mean_rotations: Array) -> tuple[Array, Array]:
    """Return the axes in the tool (b, 3) and in the tracker (b, 3) of mean rotations (b, 3, 3)."""
    u, _, vt = np.linalg.svd(mean_rotations)
    return vt[:, 0, :], u[:, :, 0]


def _angles(vectors: Array, direction: Array) -> Array:
    # |a - b| = 2 sin(θ/2) keeps the digits of small angles that arccos loses.
    chords = np.linalg.norm(vectors - direction, axis=-1)
    return np.asarray(2.0 * np.arcsin(np.minimum(chords / 2.0, 1.0)))


def _across(axis: Array) -> Array:
    """Return two unit vectors (3, 2) square to an axis and to one another."""
    return np.asarray(np.linalg.svd(axis[None])[2][1:].T)


def _covered(rotations: Array, axis: Array, direction: Array) -> float:
    """Arc [rad] that the turns about the axis cover: a whole turn less its greatest gap."""
    start, plane = _across(axis)[:, 0], _across(direction)
    seen = rotations @ start @ plane
    angles = np.sort(np.arctan2(seen[:, 1], seen[:, 0]))
    gaps = np.diff(np.append(angles, angles[0] + 2.0 * np.pi))
    return float(2.0 * np.pi - gaps.max())


def _consensus(rotations: Array, config: SpinConfig) -> NDArray[np.bool_]:
    """Least trimmed squares from seeded subsets (Rousseeuw and Van Driessen 2006), then re-selection within 3 sigma."""
    searched = rotations[:: -(-len(rotations) // _SEARCHED)]
    count = len(searched)
    half = min(max(int(np.ceil(_TRIMMED_SHARE * count)), _SUBSET), count)
    rng = np.random.default_rng(_SEED)
    chosen = rng.random((_HYPOTHESES, count)).argpartition(_SUBSET - 1, axis=1)[:, :_SUBSET]
    for _ in range(6):
        axes, directions = _first_axes(searched[chosen].mean(axis=1))
        misfits = np.linalg.norm(np.einsum('nij,bj->bni', searched, axes) - directions[:, None], axis=2)
        chosen = np.argpartition(misfits, half - 1, axis=1)[:, :half]
    best = int((np.take_along_axis(misfits, chosen, axis=1) ** 2).sum(axis=1).argmin())
    axis, direction = axes[best], directions[best]
    keep = np.zeros(len(rotations), dtype=bool)
    for _ in range(50):
        misfit = _angles(rotations @ axis, direction)
        scale = max(float(np.median(misfit)) / CHI2_MEDIAN, 1e-9)
        updated = misfit <= THREE_SIGMA * scale
        if (updated == keep).all():
            break
        keep = updated
        axis, direction = (found[0] for found in _first_axes(rotations[keep].mean(axis=0)[None]))
    share = 1.0 - float(keep.mean())
    if keep.sum() < config.min_poses or share > config.max_outliers:
        raise DegenerateGeometryError(
            f'{share * 100.0:.0f} % of the poses do not turn about one axis, limit {config.max_outliers * 100.0:.0f} %:'
            ' hold the shaft still while it turns',
            code=REFUSED,
        )
    return keep


def _refuse(spin: float, wander: float, config: SpinConfig) -> None:
    if spin < config.min_spin:
        raise DegenerateGeometryError(spin_advice(spin, config.good_spin), code=REFUSED)
    if wander > config.refuse_wander:
        raise DegenerateGeometryError(
            f'the tool was swung, not spun: its axis wandered by {np.degrees(wander):.1f}° RMS, limit '
            f'{np.degrees(config.refuse_wander):.1f}°; turn it about its shaft and keep the shaft where it points',
            code=REFUSED,
        )


def _orient(axis: Array, tip_tool: Array | None, config: SpinConfig) -> tuple[float, float | None]:
    """Return the sign that makes the axis point from tip to marker, and its angle to that line [rad]."""
    if tip_tool is None:
        return (1.0 if axis[np.abs(axis).argmax()] > 0.0 else -1.0), None
    tip = np.asarray(tip_tool, float)
    if tip.shape != (3,) or not np.isfinite(tip).all():
        raise InputError(f'tip {tip}: expected 3 finite numbers', code='NOT_FINITE')
    length = float(np.linalg.norm(tip))
    if length < 1e-6:
        raise DegenerateGeometryError(
            'the tip lies in the origin of the marker: it does not tell where the shaft points', code=REFUSED
        )
    cosine = float(axis @ -tip) / length
    off_tip = float(np.arccos(min(abs(cosine), 1.0)))
    if off_tip > config.refuse_off_tip:
        raise DegenerateGeometryError(
            f'the tool was swung, not spun: the axis lies {np.degrees(off_tip):.0f}° off the line from tip to marker, '
            f'limit {np.degrees(config.refuse_off_tip):.0f}°; turn it about its shaft',
            code=REFUSED,
        )
    return (1.0 if cosine >= 0.0 else -1.0), off_tip


def _covariance(rotations: Array, axis: Array, direction: Array) -> Array:
    """Return the covariance (3, 3) of the axis in the tool, from the residuals of each pose (Liang and Zeger 1986).

    A hand lets the shaft wander slowly, so that neighbours err alike: the variance grows by their correlation in time.
    """
    count, in_tool, in_tracker = len(rotations), _across(axis), _across(direction)
    design = np.empty((count, 2, 4))
    design[:, :, :2] = in_tracker.T @ rotations @ in_tool
    design[:, :, 2:] = -np.eye(2)
    flat = design.reshape(-1, 4)
    information = flat.T @ flat
    inverse = np.linalg.pinv(information, hermitian=True)
    scores = np.einsum('nij,ni->nj', design, rotations @ axis @ in_tracker)
    covariance = inverse @ (scores.T @ scores) @ inverse * (count / (count - 2.0))
    unknowns = np.array([0, 1, 3, 4])  # the axis in the tool, and in the tracker
    covariance = inflated_by_memory(NormalEquations(information, scores), covariance, unknowns)
    return np.asarray(in_tool @ covariance[:2, :2] @ in_tool.T)


def _lever(rotations: Array, positions: Array, axis: Array, direction: Array) -> float:
    """Distance [m] of the marker from the axis, by least squares over R_i p + t_i = c across the axis."""
    in_tool, in_tracker = _across(axis), _across(direction)
    design = np.concatenate(
        [in_tracker.T @ rotations @ in_tool, np.broadcast_to(-np.eye(2), (len(rotations), 2, 2))], axis=2
    )
    solution = np.linalg.lstsq(design.reshape(-1, 4), -(positions @ in_tracker).reshape(-1), rcond=None)[0]
    return float(np.linalg.norm(solution[:2]))


def _judge(
    spin: float, wander: float, sigma: float, lever: float, off_tip: float | None, outliers: float, config: SpinConfig
) -> tuple[Verdict, tuple[str, ...]]:
    reasons = []
    if spin < config.good_spin:
        reasons.append(spin_advice(spin, config.good_spin))
    if wander > config.warn_wander:
        reasons.append(
            f'the shaft wandered by {np.degrees(wander):.1f}° RMS, limit {np.degrees(config.warn_wander):.1f}°: hold '
            'it in a sleeve or a dimple'
        )
    if sigma > config.warn_sigma:
        reasons.append(
            f'the axis is known to {np.degrees(sigma):.2f}° only, limit {np.degrees(config.warn_sigma):.2f}°: spin more'
        )
    if off_tip is not None and off_tip > config.warn_off_tip:
        reasons.append(f'the axis lies {np.degrees(off_tip):.0f}° off the line from tip to marker: is it the shaft?')
    if off_tip is None and lever > config.warn_lever:
        reasons.append(
            f'the marker turns at {lever * 1e3:.0f} mm from the axis, limit {config.warn_lever * 1e3:g} mm: is it the '
            'shaft? Give the tip'
        )
    if outliers > 0.2:
        reasons.append(f'{outliers * 100.0:.0f} % of the poses were outliers')
    return (Verdict.WARN if reasons else Verdict.ACCEPT), tuple(reasons)
