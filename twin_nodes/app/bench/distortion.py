"""Bench `distortion`: electromagnetic tracking beside metal before and after the correction, with known truth.

Three pieces of metal stand around a cube of 200 mm; a sensor with 0.4 mm and 3 mrad of noise per axis is swept through
it together with an optical marker of 0.11 mm. Fields are fitted to that and held against fresh places without noise,
within the volume that the field itself allows. Peers fit the very same pairs: scipy's thin-plate splines,
their smoothing chosen by the same five folds of space, and a polynomial of fourth degree by plain least squares.
"""

import time

import numpy as np

from twin_nodes.core.calibration.distortion_fit import DistortionConfig, DistortionResult, fit_distortion
from twin_nodes.core.calibration.distortion_folds import folds_of
from twin_nodes.core.calibration.distortion_ties import corrected_poses, fit_tied
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, random_transform, rotation_exp, rotation_log
from twin_nodes.core.simulate.distortion import MetalField, draw_metal, sweep

CENTRE, REACH = np.array([0.0, 0.0, -0.25]), 0.1
POSITION, ROTATION, OPTICAL = 0.4e-3, 3e-3, 0.11e-3 / np.sqrt(3.0)
SMOOTHING = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
THIN_PLATE = 'scipy RBFInterpolator, thin plate'


def run(quick: bool = False) -> list[dict[str, object]]:
    """Correct a distorted tracker.

    Args:
        quick: Fewer rooms, the same figures.

    Returns:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    rooms = [_room(np.random.default_rng(seed), 600 if quick else 1200) for seed in range(3 if quick else 12)]
    mean = {key: float(np.sqrt(np.mean([room[key] ** 2 for room in rooms]))) for key in rooms[0]}
    nees = float(np.mean([room['nees'] for room in rooms]))
    ratio = mean['after'] / mean['thin_plate']
    return [
        _figure('distortion_before_mm', mean['before'] * 1e3, 'mm'),
        _figure('distortion_after_mm', mean['after'] * 1e3, 'mm', 0.2 * mean['before'] * 1e3)
        | {'peer': THIN_PLATE, 'ratio': ratio},
        _figure('distortion_after_ratio_to_thin_plate', ratio, '', 1.0) | {'peer': THIN_PLATE, 'ratio': ratio},
        _figure('distortion_thin_plate_mm', mean['thin_plate'] * 1e3, 'mm'),
        _figure('distortion_polynomial_mm', mean['polynomial'] * 1e3, 'mm'),
        _figure('distortion_bernstein_mm', mean['bernstein'] * 1e3, 'mm'),
        _figure('distortion_tied_after_mm', mean['tied'] * 1e3, 'mm'),
        _figure('distortion_held_out_mm', mean['held_out'] * 1e3, 'mm'),
        _figure('distortion_rotation_before_deg', float(np.degrees(mean['turn_before'])), 'deg'),
        _figure('distortion_rotation_after_deg', float(np.degrees(mean['turn_after'])), 'deg'),
        # of 6; the stated covariance holds the noise of the reference too, so that a little less is right
        _figure('distortion_nees_mean', nees, '', 6.5),
        _figure('distortion_correct_us', _time_us(), 'us'),
    ]


def _figure(name: str, value: float, unit: str, limit: float | None = None) -> dict[str, object]:
    goal = {} if limit is None else {'goal': f'<= {limit:.4g}'}
    return {'figure': name, 'value': value, 'unit': unit, 'ok': limit is None or value <= limit} | goal


def _room(rng: np.random.Generator, count: int) -> dict[str, float]:
    """Fit one room and return what is left of its distortion, RMS [m] and [rad]."""
    metal, truth = draw_metal(rng, CENTRE, REACH), sweep(rng, CENTRE, REACH, count)
    measured = metal.measure(rng, truth, POSITION, ROTATION)
    reference = truth.copy()
    reference[:, :3, 3] += rng.normal(0.0, OPTICAL, (count, 3))
    result = fit_distortion(measured, reference)
    bernstein = fit_distortion(measured, reference, DistortionConfig(model='bernstein'))
    fresh = sweep(rng, CENTRE, REACH, 1000)
    clean = metal.measure(rng, fresh, 0.0, 0.0)
    inside = result.field.inside(clean[:, :3, 3])
    fresh, clean = fresh[inside], clean[inside]
    wanted = fresh[:, :3, 3] - clean[:, :3, 3]
    corrected = corrected_poses(result.field, clean)
    peers = _peers(measured[:, :3, 3], reference[:, :3, 3] - measured[:, :3, 3], clean[:, :3, 3])
    return {
        'before': _rms(wanted),
        'after': _rms(fresh[:, :3, 3] - corrected[:, :3, 3]),
        'bernstein': _rms(fresh[:, :3, 3] - corrected_poses(bernstein.field, clean)[:, :3, 3]),
        'held_out': result.held_out,
        'turn_before': _turn(fresh, clean),
        'turn_after': _turn(fresh, corrected),
        'thin_plate': _rms(wanted - peers[0]),
        'polynomial': _rms(wanted - peers[1]),
        'tied': _tied(rng, measured, truth, fresh, clean),
        'nees': _nees(rng, metal, result, fresh),
    }


def _tied(rng: np.random.Generator, measured: Array, truth: Array, fresh: Array, clean: Array) -> float:
    """What is left when the optical marker sits beside the sensor and the frames are not known to one another."""
    marker_T_sensor = make_transform(random_transform(rng)[:3, :3], rng.normal(0.0, 0.04, 3))
    optical_T_em = random_transform(rng)
    seen = optical_T_em @ truth @ inverse(marker_T_sensor)
    noise = rotation_exp(rng.normal(0.0, 6e-4, (len(seen), 3)))
    seen = make_transform(noise @ seen[:, :3, :3], seen[:, :3, 3] + rng.normal(0.0, OPTICAL, (len(seen), 3)))
    tied = fit_tied(measured, seen)
    there = inverse(tied.reference_T_tracker) @ optical_T_em @ fresh
    inside = tied.result.field.inside(clean[:, :3, 3])
    return _rms((there - corrected_poses(tied.result.field, clean))[inside, :3, 3])


def _nees(rng: np.random.Generator, metal: MetalField, result: DistortionResult, fresh: Array) -> float:
    """Mean normalised error squared of corrected noisy poses, of 6."""
    noisy = metal.measure(rng, fresh, POSITION, ROTATION)
    keep = result.field.inside(noisy[:, :3, 3])
    found = [result.field.correct(pose) for pose in noisy[keep]]
    errors = [pose_error(one.pose, truth) for one, truth in zip(found, fresh[keep], strict=True)]
    return float(
        np.mean([error @ np.linalg.solve(one.covariance, error) for one, error in zip(found, errors, strict=True)])
    )


def _peers(points: Array, wanted: Array, places: Array) -> tuple[Array, Array]:
    """Corrections (n, 3) at places by scipy's thin-plate splines and by a plain polynomial."""
    from scipy.interpolate import RBFInterpolator

    scale = 1.0 / REACH  # its smoothing is in units of the kernel
    folds = folds_of(points)

    def left(smoothing: float) -> float:
        errors = []
        for fold in np.unique(folds):
            inside = folds == fold
            spline = RBFInterpolator(scale * points[~inside], wanted[~inside], smoothing=smoothing)
            errors.append(wanted[inside] - spline(scale * points[inside]))
        return _rms(np.concatenate(errors))

    best = min(SMOOTHING, key=left)
    thin = RBFInterpolator(scale * points, wanted, smoothing=best)(scale * places)
    powers = [(i, j, k) for i in range(5) for j in range(5 - i) for k in range(5 - i - j)]

    def monomials(at: Array) -> Array:
        unit = (at - CENTRE) * scale
        return np.stack([unit[:, 0] ** i * unit[:, 1] ** j * unit[:, 2] ** k for i, j, k in powers], axis=1)

    coefficients = np.linalg.lstsq(monomials(points), wanted, rcond=None)[0]
    return thin, monomials(places) @ coefficients


def _time_us() -> float:
    """Median time of one correction [µs]."""
    rng = np.random.default_rng(0)
    truth = sweep(rng, CENTRE, REACH, 600)
    field = fit_distortion(draw_metal(rng, CENTRE, REACH).measure(rng, truth, POSITION, ROTATION), truth).field
    pose, spent = make_transform(np.eye(3), CENTRE), []
    for _ in range(500):
        start = time.perf_counter()
        field.correct(pose)
        spent.append(time.perf_counter() - start)
    return 1e6 * float(np.median(spent))


def _turn(first: Array, second: Array) -> float:
    return _rms(rotation_log(first[:, :3, :3] @ np.swapaxes(second[:, :3, :3], 1, 2)))


def _rms(vectors: Array) -> float:
    return float(np.sqrt((vectors**2).sum(axis=1).mean()))
