"""Camera calibration: error and honesty on simulated views, and the chain of a published tracked laparoscope.

The truth is simulated: a 1920 × 1080 endoscope of 1,400 px focal length, a stereo base of 4.8 mm, corners with
0.2 px of noise, a tracker with 0.1 mm and 0.03° of it. OpenCV's solver on the same views is the peer.
"""

from dataclasses import replace

import numpy as np

from twin_nodes.app.bench.recordings import recordings
from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.calibration.camera_intrinsics import CameraConfig, calibrate_camera
from twin_nodes.core.calibration.camera_rig import parameters_of
from twin_nodes.core.calibration.camera_start import start_camera
from twin_nodes.core.calibration.scope_calibration import ScopeConfig, calibrate_scope
from twin_nodes.core.calibration.scope_figures import mean_px
from twin_nodes.core.calibration.stereo_pair import calibrate_stereo
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.camera_views import (
    ENDOSCOPE,
    RIGHT_T_LEFT,
    simulate_pairs,
    simulate_scope,
    simulate_views,
)

OPENCV = 'OpenCV calibrateCamera'
PUBLISHED = 'published ties'
_RIGHT = replace(ENDOSCOPE, name='right', projection=np.zeros((3, 4)))
_BAD_CORNERS = 3  # in each of a third of the views, for the figure with outliers


def run(quick: bool = False) -> list[dict[str, object]]:
    """Measure camera calibration.

    Args:
        quick: Smaller samples, the same figures.

    Returns:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    figures = [
        *_intrinsics(20 if quick else 200),
        *_stereo(8 if quick else 60),
        *_scope(8 if quick else 60),
        *_published(),
    ]
    return [vars(figure) for figure in figures]


def _intrinsics(runs: int) -> list[Figure]:
    errors, nees, rms, spoilt, spoilt_peer = [], [], [], [], []
    truth = parameters_of(ENDOSCOPE)
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        views = simulate_views(rng)
        result = calibrate_camera(views)
        error = parameters_of(result.camera) - truth
        errors.append(error)
        nees.append(float(error @ np.linalg.solve(result.covariance, error)))
        rms.append(result.rms)
        bad = []
        for index, view in enumerate(views):
            pixels = view.pixels.copy()
            if index % 3 == 0:
                pixels[rng.choice(len(view), _BAD_CORNERS, replace=False)] += rng.normal(0.0, 15.0, (_BAD_CORNERS, 2))
            bad.append(replace(view, pixels=np.clip(pixels, 0.0, [1919.0, 1079.0])))
        spoilt.append(abs(calibrate_camera(bad).camera.focal[0] / truth[0] - 1.0))
        peer = start_camera(bad, (1920, 1080), CameraConfig()).cameras[0]
        spoilt_peer.append(abs(peer.focal[0] / truth[0] - 1.0))
    error = np.abs(errors)
    with_outliers, peer = 100.0 * float(np.mean(spoilt)), 100.0 * float(np.mean(spoilt_peer))
    return [
        judge('focal_error_percent', 100.0 * float((error[:, :2] / truth[:2]).mean()), '%', at_most=0.2),
        judge('principal_point_error_px', float(np.hypot(error[:, 2], error[:, 3]).mean()), 'px', at_most=3.0),
        judge('reprojection_px', float(np.mean(rms)), 'px', at_most=0.3),
        judge(
            'focal_error_with_outliers_percent',
            with_outliers,
            '%',
            at_most=0.2,
            peer=OPENCV,
            ratio=with_outliers / peer,
        ),
        *_consistent('camera', nees, len(truth)),
    ]


def _stereo(runs: int) -> list[Figure]:
    errors, nees = [], []
    base = float(np.linalg.norm(RIGHT_T_LEFT[:3, 3]))
    for seed in range(runs):
        result = calibrate_stereo(simulate_pairs(np.random.default_rng(seed), (ENDOSCOPE, _RIGHT)))
        errors.append(abs(result.baseline - base))
        nees.append(_nees(result.right_T_left, RIGHT_T_LEFT, result.covariance))
    return [
        judge('baseline_error_mm', 1e3 * float(np.mean(errors)), 'mm', at_most=0.01),
        *_consistent('stereo', nees, 6),
    ]


def _scope(runs: int) -> list[Figure]:
    errors, nees, chain = [], [], []
    for seed in range(runs):
        frames, ties = simulate_scope(np.random.default_rng(seed), (ENDOSCOPE, _RIGHT))
        result = calibrate_scope(frames, (ENDOSCOPE, _RIGHT), ScopeConfig(held_out=0))
        errors.append(pose_error(result.ties.scope_T_left, ties.scope_T_left))
        nees.append(_nees(result.ties.scope_T_left, ties.scope_T_left, result.hand_eye_covariance))
        chain.append(mean_px(result.figures))
    error = np.array(errors)
    return [
        judge('scope_hand_eye_error_mm', 1e3 * float(np.linalg.norm(error[:, :3], axis=1).mean()), 'mm', at_most=1.0),
        judge('scope_hand_eye_error_deg', float(np.degrees(np.linalg.norm(error[:, 3:], axis=1)).mean()), 'deg'),
        judge('scope_chain_reprojection_px', float(np.mean(chain)), 'px'),
        *_consistent('scope', nees, 6),
    ]


def _published() -> list[Figure]:
    """Return the chain of the published laparoscope, picture by picture; nothing without the recording."""
    folder = recordings('stereo_scope_handeye')
    if folder is None:
        return []
    from twin_nodes.app.offline_camera import calibrate_stereo_files
    from twin_nodes.app.offline_scope import calibrate_scope_files
    from twin_nodes.app.offline_views import ViewSource

    report = calibrate_scope_files(folder / 'precalib' / 'precalib_base_data', ViewSource())
    found = []
    for ours, held, theirs in zip(report.result.figures, report.result.held_out, report.published, strict=True):
        for side, mine, left_out, limit in zip(
            ('left', 'right'), ours.chain_px, held.chain_px, theirs.chain_px, strict=True
        ):
            if mine is None or limit is None:
                continue
            name = f'scope_frame{ours.name}_{side}'
            found.append(judge(f'{name}_chain_px', mine, 'px', at_most=limit, peer=PUBLISHED, ratio=mine / limit))
            found.append(judge(f'{name}_left_out_px', left_out, 'px', peer=PUBLISHED))
    pair = calibrate_stereo_files(folder / 'laparoscope_calibration', None, ViewSource(size=(1920, 1080))).result
    assert pair.left_result is not None and pair.right_result is not None
    return [
        *found,
        judge('laparoscope_left_px', pair.left_result.rms, 'px', at_most=0.585, peer='published 0.58'),
        judge('laparoscope_right_px', pair.right_result.rms, 'px', at_most=0.615, peer='published 0.61'),
        judge('laparoscope_stereo_px', pair.rms, 'px', at_most=0.885, peer='published 0.88'),
        judge('laparoscope_baseline_mm', 1e3 * pair.baseline, 'mm', peer='published 4.80'),
    ]


def _nees(found: Array, true: Array, covariance: Array) -> float:
    error = pose_error(found, true)
    return float(error @ np.linalg.solve(covariance, error))


def _consistent(name: str, nees: list[float], freedom: int) -> list[Figure]:
    from scipy.stats import chi2

    runs = len(nees)
    low, high = np.array(chi2.interval(0.95, freedom * runs)) / (freedom * runs)
    mean = float(np.mean(nees)) / freedom
    return [
        judge(f'{name}_nees_ratio', mean, ''),
        judge(f'{name}_nees_consistent', float(low < mean < high), '', at_least=1.0),
    ]
