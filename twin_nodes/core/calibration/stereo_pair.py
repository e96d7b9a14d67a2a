"""Stereo calibration: where the right camera stands to the left one, with covariance, rectification and verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.camera_bundle import adjust, covariance_of, memory_of_views
from twin_nodes.core.calibration.camera_intrinsics import CameraConfig, CameraResult, calibrate_camera, free_parameters
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_rig import Indices, RigProblem, RigState, rms, view_errors
from twin_nodes.core.calibration.camera_start import locate_board
from twin_nodes.core.calibration.camera_views import BoardView, LeftOut, check_view, common_size
from twin_nodes.core.calibration.stereo_geometry import epipolar_distances, rectified, triangulate
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, nearest_rotation

REFUSED = 'CALIBRATION_REFUSED'
Pair = tuple[BoardView, BoardView]
_NO_COLUMNS: Indices = np.arange(0)


@dataclass(frozen=True)
class StereoConfig:
    """How a stereo pair is calibrated, and when that is good enough."""

    camera: CameraConfig = group(CameraConfig)
    refine: bool = setting('Whether the intrinsics are refined together with the pose of the cameras.', True)
    min_pairs: int = setting('Fewer pairs are refused.', 3, minimum=1, maximum=10000)
    warn_rms: float = setting('Reprojection error above which it is doubtful [px].', 1.0, minimum=0.0, maximum=100.0)
    refuse_rms: float = setting('Reprojection error above which it is refused [px].', 5.0, minimum=0.0, maximum=100.0)
    warn_baseline_ratio: float = setting(
        'Uncertainty of the baseline, as a share, above which it is doubtful.', 0.02, minimum=0.0, maximum=1.0
    )
    refuse_baseline_ratio: float = setting(
        'Uncertainty of the baseline, as a share, above which it is refused.', 0.2, minimum=0.0, maximum=1.0
    )
    pair_ratio: float = setting(
        'A pair whose reprojection error is this many times the median is left out.', 3.0, minimum=1.5, maximum=100.0
    )


@dataclass(frozen=True, eq=False)
class StereoResult:
    """A stereo pair and how far it can be trusted.

    Args:
        left: With its rectification.
        right: With its rectification; its P holds the baseline.
        right_T_left: Pose of the left camera in the right one [m], shape (4, 4).
        covariance: Of it, shape (6, 6).
        baseline: Distance of the cameras [m].
        baseline_sigma: Its standard deviation [m].
        rms: Reprojection error over both images [px].
        held_rms: The same with the intrinsics of each camera alone held [px].
        held_right_T_left: The pose found so [m], shape (4, 4).
        pair_rms: Of each pair used [px], shape (n,).
        epipolar_rms: RMS distance from the epipolar line [px].
        reconstruction_rms: RMS distance of triangulated corners from the board laid onto them [m].
        length_ratio: Lengths on the triangulated board over the true ones.
        pairs: Names of those used.
        left_result: Calibration of the left camera alone; None when its intrinsics were given.
        right_result: The same of the right one.
        left_out: What was not used, and why.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
    """

    left: CameraModel
    right: CameraModel
    right_T_left: Array
    covariance: Array
    baseline: float
    baseline_sigma: float
    rms: float
    held_rms: float
    held_right_T_left: Array
    pair_rms: Array
    epipolar_rms: float
    reconstruction_rms: float
    length_ratio: float
    pairs: tuple[str, ...]
    left_result: CameraResult | None
    right_result: CameraResult | None
    left_out: tuple[LeftOut, ...]
    verdict: Verdict
    reasons: tuple[str, ...]


def calibrate_stereo(
    pairs: Sequence[Pair],
    config: StereoConfig | None = None,
    *,
    size: tuple[int, int] | None = None,
    cameras: tuple[CameraModel, CameraModel] | None = None,
    facing: int = 0,
) -> StereoResult:
    """Find the pose of two cameras to one another from pairs of views taken at the same instants.

    Args:
        pairs: What the left and the right camera saw; points in metres.
        config: Limits.
        size: Of the images [px], where the views do not say it.
        cameras: Intrinsics that are known; they are then held.
        facing: See `camera_views.without_mirrored`.

    Raises:
        InputError: NaN, mixed sizes, corners outside the image, the wrong unit.
        DegenerateGeometryError: Too few pairs, frontal views, swapped cameras.
    """
    config = config or StereoConfig()
    pairs = [(check_view(left), check_view(right)) for left, right in pairs]
    if len(pairs) < config.min_pairs:
        raise DegenerateGeometryError(
            f'{len(pairs)} pairs in which both cameras see the board, at least {config.min_pairs} are needed',
            code=REFUSED,
        )
    alone: tuple[CameraResult | None, CameraResult | None] = (None, None)
    if cameras is None:
        left_alone, right_alone = (
            calibrate_camera([pair[i] for pair in pairs], config.camera, size=size, facing=facing, name=name)
            for i, name in enumerate(('left', 'right'))
        )
        alone, cameras = (left_alone, right_alone), (left_alone.camera, right_alone.camera)
        pairs = _both_used(pairs, left_alone, right_alone)
    else:
        for index, camera in enumerate(cameras):
            common_size([pair[index] for pair in pairs], (camera.width, camera.height))
    used, held, left_out = _held_fit(pairs, cameras, config)
    if len(used) < config.min_pairs:
        raise DegenerateGeometryError(
            'the pairs do not agree on one rig: are left and right of one instant? '
            + '; '.join(f'{out.name} {out.reason}' for out in left_out[:3]),
            code=REFUSED,
        )
    refine = config.refine and alone[0] is not None
    free = free_parameters(config.camera) if refine else _NO_COLUMNS
    problem = RigProblem(used, (free, free))
    state, fit = adjust(held, problem.blocks, problem.moved)
    for out in alone:
        left_out += [entry for entry in out.left_out if entry not in left_out] if out is not None else []
    variance = fit.cost / max(2 * sum(len(a) + len(b) for a, b in used) - problem.shared - 6 * len(used), 1)
    memory = memory_of_views(fit.information / variance, fit.scores / variance)
    covariance = covariance_of(fit.information, what='the pose of the cameras')[-6:, -6:] * variance * memory
    return _result(used, state, held, covariance, alone, tuple(left_out), config)


def _both_used(pairs: Sequence[Pair], left: CameraResult, right: CameraResult) -> list[Pair]:
    """Return the pairs of which neither view was left out, without the corners that were."""
    views = [{view.name: view for view in result.views} for result in (left, right)]
    return [(views[0][a.name], views[1][b.name]) for a, b in pairs if a.name in views[0] and b.name in views[1]]


def _held_fit(
    pairs: Sequence[Pair], cameras: tuple[CameraModel, CameraModel], config: StereoConfig
) -> tuple[list[Pair], RigState, list[LeftOut]]:
    """Fit the pose with the intrinsics held, and leave out pairs that do not fit."""
    poses = np.array([[locate_board(c, view) for c, view in zip(cameras, pair, strict=True)] for pair in pairs])
    relative = poses[:, 1] @ inverse(poses[:, 0])
    second_T_first = mean_pose(relative)
    used, left = list(pairs), list[LeftOut]()
    state = RigState(cameras, second_T_first, poses[:, 0])
    while True:
        problem = RigProblem(used, (_NO_COLUMNS, _NO_COLUMNS))
        state, _ = adjust(state, problem.blocks, problem.moved)
        errors = np.array([rms(np.concatenate(error)) for error in _errors(used, state)])
        limit = config.pair_ratio * float(np.median(errors)) + 0.05
        worst = int(np.argmax(errors))
        if errors[worst] <= limit or len(used) <= config.min_pairs:
            return used, state, left
        left.append(LeftOut(used[worst][0].name, f'the pair does not fit the others: {errors[worst]:.2f} px'))
        keep = np.arange(len(used)) != worst
        used = [pair for pair, kept in zip(used, keep, strict=True) if kept]
        state = RigState(state.cameras, state.second_T_first, state.first_T_boards[keep])


def mean_pose(poses: Array) -> Array:
    """Return a middle of poses (n, 4, 4) that one far off does not carry away: median position, mean rotation."""
    position = np.median(poses[:, :3, 3], axis=0)
    nearest = np.argsort(np.linalg.norm(poses[:, :3, 3] - position, axis=1))[: max(1, (len(poses) + 1) // 2)]
    return make_transform(nearest_rotation(poses[nearest, :3, :3].sum(axis=0)), position)


def _errors(pairs: Sequence[Pair], state: RigState) -> list[tuple[Array, Array]]:
    return [
        (
            view_errors(state.cameras[0], left, pose),
            view_errors(state.cameras[1], right, state.second_T_first @ pose),
        )
        for (left, right), pose in zip(pairs, state.first_T_boards, strict=True)
    ]


def matched(pair: Pair) -> tuple[Array, Array, Array]:
    """Return board points (n, 3) [m] and pixels (n, 2) left and right of the corners that both images show."""
    _, first, second = np.intersect1d(pair[0].ids, pair[1].ids, return_indices=True)
    return pair[0].points_board[first], pair[0].pixels[first], pair[1].pixels[second]


def board_fit(points: Array, board: Array) -> tuple[Array, float]:
    """Lay a board (n, 3) onto points (n, 3) [m]: distances (n,) [m], and their size over that of the board."""
    a, b = points - points.mean(axis=0), board - board.mean(axis=0)
    rotation = nearest_rotation(a.T @ b)
    return np.linalg.norm(a - b @ rotation.T, axis=1), float(np.sqrt((a**2).sum() / (b**2).sum()))


def _result(
    used: list[Pair],
    state: RigState,
    held: RigState,
    covariance: Array,
    alone: tuple[CameraResult | None, CameraResult | None],
    left_out: tuple[LeftOut, ...],
    config: StereoConfig,
) -> StereoResult:
    left, right = rectified(state.cameras[0], state.cameras[1], state.second_T_first)
    errors = _errors(used, state)
    epipolar, distances, ratios = [], [], []
    for pair in used:
        board, *seen = matched(pair)
        if len(board) < 4:
            continue
        both = seen[0], seen[1]
        epipolar.append(epipolar_distances(left, right, state.second_T_first, both).ravel())
        lengths, ratio = board_fit(triangulate(left, right, state.second_T_first, both), board)
        distances.append(lengths)
        ratios.append(ratio)
    if not epipolar:
        raise InputError('no pair shares four corners: are the ids of left and right the same?', code=REFUSED)
    shift = state.second_T_first[:3, 3]
    baseline = float(np.linalg.norm(shift))
    sigma = float(np.sqrt(shift @ covariance[:3, :3] @ shift)) / baseline
    total = rms(np.concatenate([part for error in errors for part in error]))
    reconstruction = float(np.sqrt(np.mean(np.concatenate(distances) ** 2)))
    verdict, reasons = _judge(total, sigma / baseline, alone, left_out, config)
    return StereoResult(
        left=left,
        right=right,
        right_T_left=state.second_T_first,
        covariance=covariance,
        baseline=baseline,
        baseline_sigma=sigma,
        rms=total,
        held_rms=rms(np.concatenate([part for error in _errors(used, held) for part in error])),
        held_right_T_left=held.second_T_first,
        pair_rms=np.array([rms(np.concatenate(error)) for error in errors]),
        epipolar_rms=float(np.sqrt(np.mean(np.concatenate(epipolar) ** 2))),
        reconstruction_rms=reconstruction,
        length_ratio=float(np.mean(ratios)),
        pairs=tuple(pair[0].name for pair in used),
        left_result=alone[0],
        right_result=alone[1],
        left_out=left_out,
        verdict=verdict,
        reasons=reasons,
    )


def _judge(
    total: float,
    share: float,
    alone: tuple[CameraResult | None, CameraResult | None],
    left_out: Sequence[LeftOut],
    config: StereoConfig,
) -> tuple[Verdict, tuple[str, ...]]:
    refusals, doubts = list[str](), list[str]()
    for name, result in zip(('left', 'right'), alone, strict=True):
        if result is not None:
            said = [f'{name} camera: {reason}' for reason in result.reasons]
            (refusals if result.verdict == Verdict.REFUSE else doubts).extend(said)
    if total > config.refuse_rms:
        refusals.append(f'reprojection error {total:.2f} px is above {config.refuse_rms:g} px')
    elif total > config.warn_rms:
        doubts.append(f'reprojection error {total:.2f} px is above {config.warn_rms:g} px')
    if share > config.refuse_baseline_ratio:
        refusals.append(f'the baseline is known to {share:.0%} only')
    elif share > config.warn_baseline_ratio:
        doubts.append(f'the baseline is known to {share:.1%} only: show the board nearer, and tilted')
    named = {reason for reason in doubts}
    doubts += [
        f'{out.name}: {out.reason}'
        for out in left_out
        if out.whole and not any(out.reason in reason for reason in named)
    ]
    if refusals:
        return Verdict.REFUSE, tuple(refusals)
    return (Verdict.WARN if doubts else Verdict.ACCEPT), tuple(doubts)
