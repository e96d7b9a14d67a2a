"""Bench `time`: how well two clocks are tied by motion, whether the error is known, and what interpolation costs.

Offset: two trackers at 60 Hz with 0.11 mm and 0.6 mrad per axis see one hand-held body, their clocks 37 ms apart; each
run draws motion, ties and phases anew. The peer is the correlation of the speeds alone. Interpolation: a sample falls
between two references of a body that moves at 100 mm/s RMS; the peer takes the nearest reference instead.
"""

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.calibration.robot_world import calibrate_streams
from twin_nodes.core.calibration.temporal import OffsetResult, estimate_offset
from twin_nodes.core.calibration.temporal_trial import EPOCH_NS, RigidMotion, RigidTrial, StreamNoise, rigid_trial
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.pairing import Pair, PairingConfig, StampedCovariance, StreamPairing
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

OFFSET_S = 0.037
RATE_HZ = 60.0
SPEED = 0.1
CORRELATION = 'speed correlation alone'
NEAREST = 'nearest sample'
CAMERA = StreamNoise(1e-3, 3e-3)


def run(quick: bool = False) -> list[dict[str, object]]:
    """Measure the ties between clocks.

    Args:
        quick: Smaller samples, the same figures.

    Returns:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    figures = [
        *_offset(40 if quick else 200),
        *_interpolation(10.0 if quick else 60.0),
        *_hand_eye(40 if quick else 200),
    ]
    return [vars(figure) for figure in figures]


def _offset(runs: int) -> list[Figure]:
    """Largest error over all runs, how often the 95 % interval holds the truth, and the seconds of stamps it took."""
    trials = [rigid_trial(np.random.default_rng(seed), offset=OFFSET_S) for seed in range(runs)]
    results = [estimate_offset(trial.first, trial.second) for trial in trials]
    worst, coarse = _worst_ms(trials, results), _worst_ms(trials, results, coarse=True)
    inside = [
        result.interval_ns[0] <= trial.offset_ns <= result.interval_ns[1]
        for trial, result in zip(trials, results, strict=True)
    ]
    # three standard deviations of a share of 95 % over this many runs
    least = 95.0 - 300.0 * np.sqrt(0.95 * 0.05 / runs)
    return [
        judge('offset_error_ms', worst, 'ms', at_most=1.0, peer=CORRELATION, ratio=worst / coarse),
        judge('offset_sigma_ms', 1e3 * float(np.median([result.sigma for result in results])), 'ms'),
        judge('offset_interval_coverage_percent', 100.0 * float(np.mean(inside)), '%', at_least=float(least)),
    ]


def _worst_ms(trials: list[RigidTrial], results: list[OffsetResult], *, coarse: bool = False) -> float:
    return max(
        abs((result.coarse_ns if coarse else result.offset_ns) - trial.offset_ns) * 1e-6
        for trial, result in zip(trials, results, strict=True)
    )


def _interpolation(seconds: float) -> list[Figure]:
    """Largest position error of a reference brought to the instants of samples, without noise."""
    rng = np.random.default_rng(0)
    motion = RigidMotion(rng, reach=_reach_for(SPEED))
    own = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    between = own[1:-1] + rng.uniform(0.0, 1.0 / RATE_HZ, len(own) - 2)
    pairing = StreamPairing(PairingConfig(max_wait=1.0), capacity=len(own) + 1)
    nothing = np.zeros((6, 6))
    for instant, pose in zip(own, motion.poses(own), strict=True):
        pairing.add_reference(StampedCovariance(_stamp(instant), pose, nothing))
    truth = motion.poses(between)
    errors = []
    for instant, pose in zip(between, truth, strict=True):
        for pair in pairing.add_sample(StampedCovariance(_stamp(instant), pose, nothing)):
            assert isinstance(pair, Pair)
            errors.append(np.linalg.norm(pair.reference.pose[:3, 3] - pose[:3, 3]))
    nearest = motion.poses(np.round(between * RATE_HZ) / RATE_HZ)
    peer = float(np.linalg.norm(nearest[:, :3, 3] - truth[:, :3, 3], axis=1).max())
    worst = float(max(errors))
    return [
        judge('interpolation_error_mm', 1e3 * worst, 'mm', at_most=0.1, peer=NEAREST, ratio=worst / peer),
        judge('interpolation_speed_mm_s', 1e3 * _speed(motion, between), 'mm/s', at_least=80.0),
    ]


def _hand_eye(runs: int) -> list[Figure]:
    """Error and consistency of hand-eye calibration of a tracked camera at 30 Hz, with the offset found on the way."""
    errors, nees, offsets = [], [], []
    for seed in range(runs):
        trial = rigid_trial(
            np.random.default_rng(seed), seconds=20.0, offset=OFFSET_S, rates_hz=(60.0, 30.0),
            noises=(StreamNoise(), CAMERA),
        )  # fmt: skip
        result = calibrate_streams(trial.first, trial.second)
        error = pose_error(result.hand_T_eye, trial.hand_T_eye)
        errors.append(float(np.linalg.norm(error[:3])))
        nees.append(float(error @ np.linalg.solve(result.covariance, error)))
        offsets.append(abs(result.offset_ns - trial.offset_ns) * 1e-6)
    from scipy.stats import chi2

    low, high = np.array(chi2.interval(0.95, 6 * runs)) / runs
    mean = float(np.mean(nees))
    return [
        judge('hand_eye_error_mm', 1e3 * float(np.mean(errors)), 'mm', at_most=0.5),
        judge('hand_eye_offset_error_ms', max(offsets), 'ms', at_most=1.0),
        judge('hand_eye_nees_mean', mean, ''),
        judge('hand_eye_nees_consistent', float(low < mean < high), '', at_least=1.0),
    ]


def _stamp(seconds: float) -> int:
    return EPOCH_NS + round(seconds * NANOSECONDS)


def _speed(motion: RigidMotion, instants: Array) -> float:
    step = 1e-3
    change = motion.poses(instants + step)[:, :3, 3] - motion.poses(instants)[:, :3, 3]
    return float(np.sqrt(np.mean(np.sum(change**2, axis=1)))) / step


def _reach_for(speed: float) -> float:
    """Reach that gives an RMS speed, from that of a motion of 0.1 m drawn the same way."""
    trial = RigidMotion(np.random.default_rng(0), reach=0.1)
    return 0.1 * speed / _speed(trial, np.arange(6000) / 100.0)
