"""Calibration of a tracked camera, mono or stereo: hand-eye, pattern and rig together, with covariance and verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.calibration.camera_bundle import BundleFit, adjust, covariance_of
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_views import LeftOut, check_view, common_size
from twin_nodes.core.calibration.scope_chain import ChainProblem, ChainState, ChainTies, ScopeFrame, TiePrior
from twin_nodes.core.calibration.scope_figures import FrameFigures, frame_figures, mean_px
from twin_nodes.core.calibration.scope_start import LEAST_FOR_OUTLIERS, start_chain, strays
from twin_nodes.core.calibration.scope_verdict import ScopeLimits, judge_scope
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, check_transform, rotation_exp, rotation_log

REFUSED = 'CALIBRATION_REFUSED'
_SCALE_ROUNDS = 6
_CHANCE = 27.86  # 99.99 % of χ² with six degrees of freedom
_NO_NOISE = 1e-6  # m and rad: far below what a pixel tells


@dataclass(frozen=True)
class ScopeConfig:
    """How the chain of a tracked camera is calibrated."""

    position_sigma: float = setting(
        'Noise of each coordinate of a tracked marker; raised when the data say so.',
        1e-4,
        unit='m',
        minimum=1e-7,
        maximum=0.1,
    )
    rotation_sigma: float = setting(
        'Noise of its turn about each axis; raised when the data say so.', 5e-4, unit='rad', minimum=1e-7, maximum=0.5
    )
    pixels_only: bool = setting(
        'Fit the pixels of the chain alone, as if the tracker had no noise: least pixels, worse ties.', False
    )
    min_pixel_sigma: float = setting('Noise of a pixel coordinate is not taken for less [px].', 0.05, minimum=1e-6)
    min_span: float = setting(
        'Turn about the second axis below which hand-eye and pattern cannot be told apart.', 0.05, unit='rad',
        minimum=0.0, maximum=3.1,
    )  # fmt: skip
    held_out: int = setting('Pictures that are left out one by one to test the rest.', 30, minimum=0, maximum=1000)
    limits: ScopeLimits = group(ScopeLimits)


@dataclass(frozen=True, eq=False)
class ScopeResult:
    """The chain of a tracked camera and how far it can be trusted.

    Args:
        ties: Hand-eye, pattern and rig.
        hand_eye_covariance: Of scope_T_left, shape (6, 6).
        pattern_covariance: Of marker_T_pattern, shape (6, 6).
        rig_covariance: Of right_T_left, shape (6, 6); zero with one camera.
        figures: Each picture used, by the whole chain.
        held_out: The same with ties from the other pictures; empty where those do not determine them.
        held_out_reason: Why it is empty, or ''.
        pixel_sigma: Standard deviation of a pixel coordinate.
        position_sigma: Of each coordinate of a tracked marker, as the data gave it [m].
        rotation_sigma: Of its turn about each axis, as the data gave it [rad].
        noise_factor: By how much these are above what was configured.
        turn: Peak turn of the pattern in the scope about the axis turned most [rad].
        span: The same about the axis turned second most.
        left_out: Pictures that were not used, and why.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
    """

    ties: ChainTies
    hand_eye_covariance: Array
    pattern_covariance: Array
    rig_covariance: Array
    figures: tuple[FrameFigures, ...]
    held_out: tuple[FrameFigures, ...]
    held_out_reason: str
    pixel_sigma: float
    position_sigma: float
    rotation_sigma: float
    noise_factor: float
    turn: float
    span: float
    left_out: tuple[LeftOut, ...]
    verdict: Verdict
    reasons: tuple[str, ...]


def calibrate_scope(
    frames: Sequence[ScopeFrame],
    cameras: Sequence[CameraModel],
    config: ScopeConfig | None = None,
    *,
    pattern: TiePrior | None = None,
) -> ScopeResult:
    """Find the ties of a tracked camera.

    Args:
        frames: Pictures with the poses of both markers.
        cameras: Left, or left and right; their intrinsics are held.
        config: Noise and limits.
        pattern: What is known of marker_T_pattern; without it the pattern must be turned about two axes.

    Raises:
        InputError: NaN, no rotation, corners outside the image, or frames that lack a camera.
        DegenerateGeometryError: Too few pictures, or turned too little.
    """
    config = config or ScopeConfig()
    frames = [checked_frame(frame, cameras) for frame in frames]
    _need_enough(frames, pattern, config)
    state, pixel_sigma, boards = start_chain(frames, cameras, pattern, config.min_pixel_sigma)
    keep, left_before = strays(frames, state, boards)
    frames = [frame for frame, kept in zip(frames, keep, strict=True) if kept]
    state = ChainState(state.ties, state.scope_T_markers[keep])
    _need_enough(frames, pattern, config)
    noise = (_NO_NOISE, _NO_NOISE) if config.pixels_only else (config.position_sigma, config.rotation_sigma)
    problem = ChainProblem(frames, tuple(cameras), pixel_sigma, *noise, pattern)
    problem, state, fit, left_out = _fit(problem, state, config)
    left_out = [*left_before, *left_out]
    covariance = covariance_of(fit.information, what='the hand-eye and the pattern')
    figures = tuple(frame_figures(frame, cameras, state.ties) for frame in problem.frames)
    held_out, reason = leave_one_out(problem, state, config)
    turn, span = turns([frame.scope_T_marker for frame in problem.frames])
    factor = problem.position_sigma / noise[0]
    verdict, reasons = judge_scope(
        mean_px(figures), mean_px(held_out) if held_out else None, reason, covariance[:6, :6], factor,
        len(problem.frames), left_out, config.limits,
        lever=_lever(problem.frames, state.ties), shift=_shift(state.ties),
    )  # fmt: skip
    return ScopeResult(
        ties=state.ties,
        hand_eye_covariance=covariance[:6, :6],
        pattern_covariance=covariance[6:12, 6:12],
        rig_covariance=covariance[12:, 12:] if len(cameras) > 1 else np.zeros((6, 6)),
        figures=figures,
        held_out=held_out,
        held_out_reason=reason,
        pixel_sigma=pixel_sigma,
        position_sigma=problem.position_sigma,
        rotation_sigma=problem.rotation_sigma,
        noise_factor=factor,
        turn=turn,
        span=span,
        left_out=tuple(left_out),
        verdict=verdict,
        reasons=reasons,
    )


def _lever(frames: Sequence[ScopeFrame], ties: ChainTies) -> float:
    """Return how far the left camera stands from its marker [m]; 0 for a camera that the tracker does not follow."""
    followed = any((frame.tracker_T_scope != np.eye(4)).any() for frame in frames)
    return float(np.linalg.norm(ties.scope_T_left[:3, 3])) if followed else 0.0


def _shift(ties: ChainTies) -> float:
    """Return where the left camera stands in the right one along x [m], where they stand side by side, else 0."""
    half = rotation_exp(-0.5 * rotation_log(ties.right_T_left[:3, :3]))
    across = half @ ties.right_T_left[:3, 3]
    return float(across[0]) if abs(across[0]) > abs(across[1]) else 0.0


def checked_frame(frame: ScopeFrame, cameras: Sequence[CameraModel]) -> ScopeFrame:
    """Return a picture that can be used.

    Raises:
        InputError: naming the picture and what is wrong.
    """
    if len(frame.views) != len(cameras) or len(cameras) not in (1, 2):
        raise InputError(f'picture {frame.name}: {len(frame.views)} views for {len(cameras)} cameras', code=REFUSED)
    views = [None if view is None else check_view(view) for view in frame.views]
    for camera, view in zip(cameras, views, strict=True):
        if view is not None:
            common_size([view], (camera.width, camera.height))
    if all(view is None for view in views):
        raise InputError(f'picture {frame.name}: no camera saw the pattern', code=REFUSED)
    return replace(
        frame,
        tracker_T_scope=check_transform(frame.tracker_T_scope, name=f'picture {frame.name}: pose of the scope'),
        tracker_T_marker=check_transform(frame.tracker_T_marker, name=f'picture {frame.name}: pose of the pattern'),
        views=tuple(views),
    )


def turns(poses: Sequence[Array]) -> tuple[float, float]:
    """Return the largest turn [rad] about the axis turned most and about the one turned second most."""
    rotations = np.array(poses)[:, :3, :3]
    vectors = np.concatenate([rotation_log(one.T @ rotations) for one in rotations])
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    along = np.abs(vectors @ axes).max(axis=0)
    return float(along[2]), float(along[1])


def leave_one_out(
    problem: ChainProblem, state: ChainState, config: ScopeConfig
) -> tuple[tuple[FrameFigures, ...], str]:
    """Measure pictures against ties from all the others; nothing, and why, where those do not determine the ties."""
    frames = list(problem.frames)
    if config.held_out == 0:
        return (), 'not asked for'
    if len(frames) < 3:
        return (), f'{len(frames)} pictures are too few to leave one out'
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(config.held_out, len(frames))).round().astype(int))
    found = []
    for index in chosen:
        rest = [frame for other, frame in enumerate(frames) if other != index]
        if problem.pattern is None:
            span = turns([frame.scope_T_marker for frame in rest])[1]
            if span < config.min_span:
                return (), f'without {frames[index].name} the pattern turns about one axis only, or there is one turn'
        part = replace(problem, frames=rest)
        start = ChainState(state.ties, np.delete(state.scope_T_markers, index, axis=0))
        moved, _ = adjust(start, part.blocks, part.moved, prior=part.prior)
        found.append(frame_figures(frames[index], problem.cameras, moved.ties))
    return tuple(found), ''


def _need_enough(frames: Sequence[ScopeFrame], pattern: TiePrior | None, config: ScopeConfig) -> None:
    least = 3 if pattern is None else 1
    if len(frames) < least:
        raise DegenerateGeometryError(
            f'{len(frames)} pictures, at least {least} are needed'
            + ('' if pattern is not None else ' when the pattern on its marker is not known'),
            code=REFUSED,
        )
    if pattern is None:
        turn, span = turns([frame.scope_T_marker for frame in frames])
        if span < config.min_span:
            raise DegenerateGeometryError(
                f'the pattern turned by {np.degrees(turn):.1f}° about one axis and {np.degrees(span):.1f}° about the '
                f'second, {np.degrees(config.min_span):.1f}° is the least: turn it about another axis too, or give its '
                'place on its marker',
                code=REFUSED,
            )


def _fit(
    problem: ChainProblem, state: ChainState, config: ScopeConfig
) -> tuple[ChainProblem, ChainState, BundleFit, list[LeftOut]]:
    """Adjust; raise the tracker's noise to what the data show; leave out pictures that do not belong."""
    left, first = list[LeftOut](), problem
    while True:
        problem, state, fit = _scaled_fit(problem, state, config)
        distances = problem.tracker_distances(state)
        worst = int(np.argmax(distances))
        typical = float(np.median(distances)) * 6.0 / 5.35  # the median of χ² with six degrees is 5.35
        if len(problem.frames) < LEAST_FOR_OUTLIERS or distances[worst] < _CHANCE * max(typical / 6.0, 1e-9):
            return problem, state, fit, left
        if len(left) > 0.4 * (len(left) + len(problem.frames)):
            raise DegenerateGeometryError(
                'the pictures do not agree on one chain: do stamps of tracker and camera belong together?', code=REFUSED
            )
        left.append(LeftOut(problem.frames[worst].name, 'the tracked poses do not belong to this picture'))
        keep = [index for index in range(len(problem.frames)) if index != worst]
        problem = replace(
            problem,
            frames=[problem.frames[index] for index in keep],
            position_sigma=first.position_sigma,
            rotation_sigma=first.rotation_sigma,
        )
        state = ChainState(state.ties, state.scope_T_markers[keep])
        _need_enough(problem.frames, problem.pattern, config)


def _scaled_fit(
    problem: ChainProblem, state: ChainState, config: ScopeConfig
) -> tuple[ChainProblem, ChainState, BundleFit]:
    """Adjust with the tracker's noise raised until what is left over is what that noise makes."""
    try:
        state, fit = adjust(state, problem.blocks, problem.moved, prior=problem.prior)
        freedom = 6.0 * len(problem.frames) - (12.0 if problem.pattern is None else 6.0)
        for _ in range(0 if config.pixels_only else _SCALE_ROUNDS):
            ratio = float(problem.tracker_distances(state).sum()) / max(freedom, 1.0)
            if ratio < 1.0 + np.sqrt(2.0 / max(freedom, 1.0)):
                break
            problem = problem.scaled(float(np.sqrt(ratio)))
            state, fit = adjust(state, problem.blocks, problem.moved, prior=problem.prior)
    except InputError as error:
        raise DegenerateGeometryError(
            f'the chain brings the pattern out of sight ({error}): are the poses tracker_T_marker, not their inverses?',
            code=REFUSED,
        ) from None
    return problem, state, fit
