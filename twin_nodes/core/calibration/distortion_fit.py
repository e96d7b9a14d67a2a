"""Fitting a distortion field: regularised least squares, its degree and smoothness chosen by cross-validation.

Every pose gets a prediction from a field that knew neither it nor its neighbourhood, and whose degree was chosen
without them (`distortion_folds`): those residuals are what the correction leaves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.distortion import DistortionField
from twin_nodes.core.calibration.distortion_basis import MAX_FUNCTIONS, TensorBasis
from twin_nodes.core.calibration.distortion_folds import (
    MAX_CELLS,
    Candidate,
    Model,
    Trial,
    box,
    cross_validate,
    regularised,
    solve,
)
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, rotation_log

REFUSED = 'CALIBRATION_REFUSED'
MODELS = ('auto', 'bernstein', 'spline')
_SMOOTHNESS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # of the trace of the Gram matrix
_PASSES = 4
_NEIGHBOURS = 12
_CHI3_MEDIAN = 1.5382


@dataclass(frozen=True)
class DistortionConfig:
    """How a distortion field is fitted, and when it is good enough."""

    model: str = setting('Bernstein polynomials, B-splines, or whatever predicts best.', 'auto', choices=MODELS)
    max_degree: int = setting('Highest degree of the Bernstein polynomials that is tried.', 5, minimum=1, maximum=7)
    max_intervals: int = setting('Most intervals of the cubic B-splines that are tried.', 4, minimum=2, maximum=6)
    min_poses: int = setting('Fewer poses are refused.', 40, minimum=20, maximum=100000)
    min_depth: float = setting(
        'Least extent of the volume along any direction.', 0.02, unit='m', minimum=0.001, maximum=10.0
    )
    margin: float = setting(
        'How far outside the volume the field may be used.', 0.005, unit='m', minimum=0.0, maximum=1.0
    )
    outlier_sigma: float = setting(
        'Residuals above so many sigma of their neighbourhood are left out.', 6.0, minimum=3.0, maximum=100.0
    )
    max_outliers: float = setting('Share of outliers above which it is refused.', 0.3, minimum=0.0, maximum=0.5)
    min_gain: float = setting(
        'The held-out residual must be below the raw one times this.', 0.9, minimum=0.01, maximum=1.0
    )
    warn_residual: float = setting(
        'Held-out RMS above which it is doubtful.', 0.002, unit='m', minimum=0.0, maximum=1.0
    )
    refuse_residual: float = setting(
        'Held-out RMS above which it is refused.', 0.02, unit='m', minimum=0.0, maximum=1.0
    )

    def __post_init__(self) -> None:
        if self.refuse_residual < self.warn_residual:
            raise ConfigError(
                f'refuse_residual={self.refuse_residual} m must not be below warn_residual={self.warn_residual} m'
            )


@dataclass(frozen=True, eq=False)
class DistortionResult:
    """A fitted field and how far it can be trusted; residuals are lengths, RMS over the poses used.

    Args:
        field: The correction.
        smoothness: Weight of the second differences.
        raw: Distance between measured and reference position before the correction [m].
        held_out: The same after it, each pose predicted without its neighbourhood [m].
        held_out_p95: 95 % of those lengths [m].
        raw_rotation: Angle before [rad]; 0 without rotations.
        held_out_rotation: Angle after [rad]; 0 without rotations.
        residuals: Held-out lengths of all poses given [m], shape (n,), outliers too.
        candidates: What was tried, best first.
        outliers: Indices of the poses that were left out.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
    """

    field: DistortionField
    smoothness: float
    raw: float
    held_out: float
    held_out_p95: float
    raw_rotation: float
    held_out_rotation: float
    residuals: Array
    candidates: tuple[Candidate, ...]
    outliers: tuple[int, ...]
    verdict: Verdict
    reasons: tuple[str, ...]


def fit_distortion(
    measured: Array,
    reference: Array,
    config: DistortionConfig | None = None,
    *,
    rotations: bool = True,
    known: Candidate | None = None,
) -> DistortionResult:
    """Fit the field that takes measured poses to reference poses of the same sensor in the same frame.

    Args:
        measured: tracker_T_sensor as the distorted tracker says [m], shape (n, 4, 4).
        reference: tracker_T_sensor as it is [m], shape (n, 4, 4).
        config: Limits.
        rotations: Whether the rotations were measured too.
        known: The model, where it was chosen before; the held-out residual then does not know how it was chosen.

    Raises:
        InputError: Wrong shapes, or NaN.
        DegenerateGeometryError: Too few poses, a flat volume, or too many outliers.
    """
    config = config or DistortionConfig()
    points, wanted = _differences(measured, reference, config, rotations=rotations)
    models: list[Model] = [(known.basis, (known.smoothness,))] if known else _models(len(points), config)
    keep = np.ones(len(points), dtype=bool)
    for _ in range(_PASSES):
        trial = cross_validate(points[keep], wanted[keep], models)
        field = _refit(points[keep], wanted[keep], trial, config)
        left = wanted[:, :3] - field.at(points)[:, :3]
        left[keep] = trial.residuals[:, :3]
        updated = _fits(points, left, keep, config)
        if (updated == keep).all():
            break
        keep = updated
        _need(int(keep.sum()), 1.0 - float(keep.mean()), config)
    else:  # who is left out was changed by the last pass
        trial = cross_validate(points[keep], wanted[keep], models)
        field = _refit(points[keep], wanted[keep], trial, config)
    residuals = np.linalg.norm(left, axis=1)
    return _make_result(field, trial, wanted, residuals, keep, config)


def _differences(
    measured: Array, reference: Array, config: DistortionConfig, *, rotations: bool
) -> tuple[Array, Array]:
    a, b = np.asarray(measured, float), np.asarray(reference, float)
    if a.shape != b.shape or a.ndim != 3 or a.shape[1:] != (4, 4):
        raise InputError(f'both need shape (n, 4, 4), got {a.shape} and {b.shape}')
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError('poses have NaN or Inf', code='NOT_FINITE')
    _need(len(a), 0.0, config)
    points = a[:, :3, 3]
    depth = float(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[-1]) * np.sqrt(12.0 / len(a))
    if depth < config.min_depth:
        raise DegenerateGeometryError(
            f'the volume is flat: {depth * 1e3:.0f} mm of {config.min_depth * 1e3:.0f} mm along one direction; move '
            'the sensor through the whole volume',
            code=REFUSED,
        )
    shifts = b[:, :3, 3] - points
    if not rotations:
        return points, shifts
    return points, np.hstack([shifts, rotation_log(b[:, :3, :3] @ np.swapaxes(a[:, :3, :3], 1, 2))])


def _fits(points: Array, left: Array, keep: NDArray[np.bool_], config: DistortionConfig) -> NDArray[np.bool_]:
    """Tell which residuals (n, 3) are like those around them (n,).

    What the field cannot follow, near metal, is shared by the neighbours in space and no fault of a pose.
    """
    from scipy.spatial import cKDTree

    count = min(_NEIGHBOURS, int(keep.sum()) - 1)
    near = cKDTree(points[keep]).query(points, k=count + 1)[1]
    common = np.median(left[keep][near], axis=1)
    apart = np.linalg.norm(left - common, axis=1)
    around = np.median(apart[keep][near], axis=1)
    sigma = np.maximum(around, np.median(apart[keep])) / _CHI3_MEDIAN
    return np.asarray(apart <= config.outlier_sigma * np.maximum(sigma, 1e-7))


def _need(count: int, outliers: float, config: DistortionConfig) -> None:
    if count < config.min_poses:
        raise DegenerateGeometryError(f'{count} of {config.min_poses} poses: record more', code=REFUSED)
    if outliers > config.max_outliers:
        raise DegenerateGeometryError(
            f'{outliers * 100.0:.0f} % of the poses fit no smooth field, limit {config.max_outliers * 100.0:.0f} %: '
            'are both tables of the same motion?',
            code=REFUSED,
        )


def _models(count: int, config: DistortionConfig) -> list[Model]:
    """Return the functions and their smoothness that are to be tried."""
    found = []
    if config.model != 'spline':
        found += [TensorBasis(degree, 1) for degree in range(1, config.max_degree + 1)]
    if config.model != 'bernstein':
        found += [TensorBasis(3, intervals) for intervals in range(2, config.max_intervals + 1)]
    # smoothing ties neighbours together, so that there may be more functions than poses, but not many more
    fitting = [basis for basis in found if basis.size <= min(2 * count, MAX_FUNCTIONS)]
    return [(basis, _SMOOTHNESS) for basis in fitting or found[:1]]


def _refit(points: Array, wanted: Array, trial: Trial, config: DistortionConfig) -> DistortionField:
    """Fit the chosen model to all poses."""
    from scipy.spatial import ConvexHull

    basis, (low, high) = trial.chosen.basis, box(points)
    values = basis.values((points - low) / (high - low))
    penalty = basis.roughness() * trial.chosen.smoothness
    gram = values.T @ values
    solution = solve(gram, values.T @ wanted, penalty)
    spread = np.linalg.inv(regularised(gram, penalty))
    leverage = np.einsum('nk,nk->n', values @ spread, values)
    covariance = np.zeros((6, 6))
    size = wanted.shape[1]
    covariance[:size, :size] = trial.residuals.T @ trial.residuals / len(wanted)
    samples, reach = _thinned(points, float(np.prod(high - low)) ** (1.0 / 3.0) / MAX_CELLS)
    hull = np.unique(np.round(ConvexHull(points).equations, 9), axis=0)
    return DistortionField(
        basis=basis,
        low=low,
        high=high,
        shift=solution[:, :3],
        turn=solution[:, 3:] if size == 6 else None,
        hull=hull,
        covariance=covariance,
        spread=0.5 * (spread + spread.T),
        mean_leverage=float(leverage.mean()),
        samples=samples,
        reach=reach,
        margin=config.margin,
    )


def _thinned(points: Array, cell: float) -> tuple[Array, float]:
    """Return one point of each cell [m], shape (m, 3), and how far from them the field may be used [m].

    That is two cells, an eighth of the volume each, or the spacing of a sparser grid of points.
    """
    from scipy.spatial import cKDTree

    _, first = np.unique(np.floor(points / cell).astype(int), axis=0, return_index=True)
    samples = points[np.sort(first)]
    nearest = np.asarray(cKDTree(points).query(points, k=2)[0])
    spacing = float(np.quantile(nearest[:, 1], 0.95))
    return samples, max(2.0 * cell, 1.2 * spacing)


def _make_result(
    field: DistortionField,
    trial: Trial,
    wanted: Array,
    residuals: Array,
    keep: NDArray[np.bool_],
    config: DistortionConfig,
) -> DistortionResult:
    raw, left = _rms(wanted[keep, :3]), _rms(trial.residuals[:, :3])
    has_turn = wanted.shape[1] == 6
    outliers = tuple(np.nonzero(~keep)[0].tolist())
    verdict, reasons = _judge(raw, left, len(outliers) / len(keep), config)
    return DistortionResult(
        field=field,
        smoothness=trial.chosen.smoothness,
        raw=raw,
        held_out=left,
        held_out_p95=float(np.quantile(np.linalg.norm(trial.residuals[:, :3], axis=1), 0.95)),
        raw_rotation=_rms(wanted[keep, 3:]) if has_turn else 0.0,
        held_out_rotation=_rms(trial.residuals[:, 3:]) if has_turn else 0.0,
        residuals=residuals,
        candidates=trial.candidates,
        outliers=outliers,
        verdict=verdict,
        reasons=reasons,
    )


def _rms(vectors: Array) -> float:
    return float(np.sqrt((vectors**2).sum(axis=1).mean()))


def _judge(raw: float, left: float, outliers: float, config: DistortionConfig) -> tuple[Verdict, tuple[str, ...]]:
    reasons, refused = [], False
    if left >= config.min_gain * raw:
        refused = True
        reasons.append(
            f'the correction gains nothing: {raw * 1e3:.2f} mm before, {left * 1e3:.2f} mm after; leave it off'
        )
    if left > config.warn_residual:
        refused |= left > config.refuse_residual
        reasons.append(
            f'{left * 1e3:.2f} mm are left, limit {config.warn_residual * 1e3:g} mm: measure more densely, or move the '
            'metal away'
        )
    if outliers > 0.1:
        reasons.append(f'{outliers * 100.0:.0f} % of the poses were outliers')
    return (Verdict.REFUSE if refused else Verdict.WARN if reasons else Verdict.ACCEPT), tuple(reasons)
