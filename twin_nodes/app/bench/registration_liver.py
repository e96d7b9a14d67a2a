"""Bench `registration`, a real liver: points as a stereo laparoscope sees them, registered against the exact pose.

Of a folder with the liver's mesh, the left camera's matrix and mask, and the exact poses of both (`model_to_world.txt`,
`camera_to_world.txt`). A ray through each mask pixel is followed to the mesh at its true pose; the depth then gets the
noise of stereo at 0.25 px of disparity and a baseline of 10 mm, about 1.3 mm. The pair of images that lies beside it is
not matched: its right image is the left one turned by 1.0° with no baseline (0.2 mm fitted from 475 matches, against
10 mm in the calibration), so that it tells no depth.
"""

from pathlib import Path

import numpy as np

from twin_nodes.app.bench.recordings import recordings
from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, angle_between, inverse, make_transform, rotation_exp, transform_points
from twin_nodes.core.registration.surface import SurfaceResult, register_surface
from twin_nodes.core.registration.surface_target import SurfaceTarget

FOLDER = 'liver_synthetic_stereo'
DISPARITY_SIGMA, BASELINE = 0.25, 0.01  # px, m
_STEP = 8  # px between the rays
_SPACING = 0.0015


def seen_points(grid: DistanceGrid, camera_T_anatomy: Array, matrix: Array, pixels: Array) -> Array:
    """Follow rays to a surface by steps as long as its distance; return where they meet it (n, 3) in the camera [m].

    Args:
        grid: Signed distances to the surface.
        camera_T_anatomy: Pose of the surface, shape (4, 4).
        matrix: Of the camera [px], shape (3, 3).
        pixels: Pixels u v, shape (m, 2); rays that miss the surface are left out.
    """
    rays = np.column_stack([(pixels - matrix[:2, 2]) / np.diag(matrix)[:2], np.ones(len(pixels))])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    middle = transform_points(camera_T_anatomy, grid.bounds.mean(axis=0)[None])[0]
    reach = float(np.linalg.norm(grid.bounds[1] - grid.bounds[0]))
    depth = np.full(len(rays), max(float(np.linalg.norm(middle)) - reach, 0.0))
    anatomy_T_camera = inverse(camera_T_anatomy)
    for _ in range(400):
        distance = grid.query(transform_points(anatomy_T_camera, depth[:, None] * rays)).distances
        depth = depth + 0.9 * distance
    met = np.abs(distance) < 1e-6
    return np.asarray(depth[met, None] * rays[met])


def load(folder: Path) -> tuple[SurfaceTarget, Array, Array, Array]:
    """Return the prepared liver, camera_T_anatomy [m], the left camera's matrix and the mask's pixels (m, 2)."""
    import cv2

    from twin_nodes.io.meshes import read_surface

    inner = next(folder.rglob('model_to_world.txt')).parent
    mesh = max(inner.glob('*.ply'), key=lambda path: path.stat().st_size)
    surface = read_surface(mesh, name='liver', unit='mm')
    world_T_model, world_T_camera = (np.loadtxt(inner / f'{name}_to_world.txt') for name in ('model', 'camera'))
    truth = inverse(world_T_camera) @ world_T_model
    truth[:3, 3] *= 1e-3
    mask = cv2.imread(str(inner / 'mask-left.png'), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InputError(f'{inner / "mask-left.png"} is no image: the mask of the left camera is needed')
    rows, columns = np.nonzero(mask[::_STEP, ::_STEP])
    matrix = np.loadtxt(inner / 'calib' / 'calib.left.intrinsics.txt')
    target = SurfaceTarget.from_surface(surface, spacing=_SPACING)
    return target, truth, matrix, _STEP * np.column_stack([columns, rows]).astype(float)


def stereo_noise(rng: np.random.Generator, points: Array, focal: float) -> Array:
    """Return points (n, 3) [m] whose depth carries the noise of stereo at their distance."""
    sigma = points[:, 2] ** 2 * DISPARITY_SIGMA / (focal * BASELINE)
    return np.asarray(points * (1.0 + rng.normal(0.0, 1.0, len(points)) * sigma / points[:, 2])[:, None])


def run(quick: bool = False) -> list[dict[str, object]]:
    """Register the liver from starts 30° and 30 mm away, and from nowhere; nothing where the recording is not found."""
    folder = recordings(FOLDER)
    if folder is None:
        return []
    target, truth, matrix, pixels = load(folder)
    exact = seen_points(target.grid, truth, matrix, pixels)
    rng = np.random.default_rng(0)
    misses, places, turns, sigmas = [], [], [], []
    for _ in range(6 if quick else 30):
        points = stereo_noise(rng, exact, float(matrix[0, 0]))
        result = register_surface(points, target, start=_start(rng, truth, points))
        place, turn, miss = _errors(result, truth, target)
        places.append(place)
        turns.append(turn)
        misses.append(miss)
        sigmas.append(_sigma(result, target))
    anywhere = _errors(register_surface(points, target), truth, target)
    return [
        _figure('liver_pose_mm', 1e3 * _rms(places), 'mm', goal=1.0),
        _figure('liver_pose_deg', float(np.degrees(_rms(turns))), 'deg', goal=1.0),
        _figure('liver_tre_mm', 1e3 * _rms(misses), 'mm'),
        _figure('liver_predicted_tre_mm', 1e3 * _rms(sigmas), 'mm'),
        _figure('liver_worst_tre_mm', 1e3 * max(misses), 'mm'),
        _figure('liver_from_nowhere_tre_mm', 1e3 * anywhere[2], 'mm', goal=2.0),
        {'figure': 'liver_points', 'value': len(exact), 'unit': '', 'ok': True},
    ]


def _start(rng: np.random.Generator, truth: Array, points: Array) -> Array:
    axis, way = rng.normal(size=(2, 3))
    turn = rotation_exp(np.radians(30.0) * axis / np.linalg.norm(axis))
    middle = points.mean(axis=0)
    return make_transform(turn, middle - turn @ middle + 0.03 * way / np.linalg.norm(way)) @ truth


def _errors(result: SurfaceResult, truth: Array, target: SurfaceTarget) -> tuple[float, float, float]:
    """Return errors of the liver's middle [m], of its rotation [rad], and over all of its vertices, RMS [m]."""
    vertices = target.surface.vertices
    missed = transform_points(result.patient_T_anatomy, vertices) - transform_points(truth, vertices)
    middle = np.linalg.norm(missed.mean(axis=0))
    return float(middle), angle_between(result.patient_T_anatomy, truth), float(_rms(np.linalg.norm(missed, axis=1)))


def _sigma(result: SurfaceResult, target: SurfaceTarget) -> float:
    return _rms([result.target_error(vertex) for vertex in target.surface.vertices[::200]])


def _rms(values: list[float] | Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _figure(name: str, value: float, unit: str, *, goal: float | None = None) -> dict[str, object]:
    if goal is None:
        return {'figure': name, 'value': value, 'unit': unit, 'ok': True}
    return {'figure': name, 'value': value, 'unit': unit, 'goal': f'<= {goal:g}', 'ok': value <= goal}
