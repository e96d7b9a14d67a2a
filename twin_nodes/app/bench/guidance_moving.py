"""Part of bench `guidance`: structures that deform, and the peers for which each motion is a new start.

A surface of 100,000 triangles moves; then 1,000 points are asked for distance and gradient. Ours is a refit and the
queries, open3d's a new `RaycastingScene` and its queries, trimesh's its search without a tree (on a few points). One
thread each, in turns, medians of the same run.
"""

import time
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.anatomy.distance_grid import DistanceGrid, exact_distances
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp
from twin_nodes.core.guidance.clearance import ClearanceMonitor, Structure
from twin_nodes.core.guidance.config import GuidanceConfig, ToolShapeConfig
from twin_nodes.core.guidance.moving_surface import MovingSurface

CARVED, DEFORMING = 5, 5
POSES_A_MOTION = 100  # at 1 kHz the surfaces come ten times a second
_FEW = 20
_REACH = 0.04  # m, of the path about the middle


def bent(vertices: Array, phase: float) -> Array:
    """Deform a surface smoothly by some millimetres, shape (n, 3) [m]."""
    return np.ascontiguousarray(vertices + 0.004 * np.sin(25.0 * vertices[:, [1, 2, 0]] + phase))


def motions(surface: Surface, points: Array, open3d: ModuleType | None, quick: bool) -> Iterator[Figure]:
    """Move, and ask for distances near the surface."""
    moving = MovingSurface(surface)
    places = [bent(surface.vertices, phase) for phase in (0.0, 1.0)]
    moving.move(places[1])
    moved = Surface('moved', places[1], surface.triangles, surface.report)
    chosen = np.random.default_rng(3).integers(len(surface.triangles), size=200)
    close = places[1][surface.triangles[chosen]].mean(axis=1) + 4e-4 * moved.face_normals[chosen]
    error = np.abs(moving.query(close).distances - exact_distances(moved, close)).max()
    yield judge('deforming_distance_error_near_um', 1e6 * float(error), 'µm', at_most=25.0, peer='exact distances')
    calls: dict[str, Callable[[int], object]] = {
        'move': lambda turn: moving.move(places[turn % 2]),
        'own': lambda _: moving.query(points),
    }
    if open3d is not None:
        calls['open3d'] = _open3d_anew(open3d, surface, places, points)
    spent = _medians(calls, 6 if quick else 20)
    yield judge('deforming_refit_ms', 1e3 * spent['move'], 'ms')
    yield judge('deforming_1000_points_us', 1e6 * spent['own'], 'µs')
    if open3d is not None:
        ratio = (spent['move'] + spent['own']) / spent['open3d']
        yield judge('deforming_time_ratio_to_open3d', ratio, '', at_most=1.0 / 5.0, peer='open3d, a new scene',
                    ratio=ratio)  # fmt: skip
    yield from _trimesh(surface, places, points, spent)


def _open3d_anew(
    open3d: ModuleType, surface: Surface, places: list[Array], points: Array
) -> Callable[[int], object]:  # fmt: skip
    triangles = open3d.core.Tensor(surface.triangles.astype(np.uint32))
    asked = open3d.core.Tensor(points.astype(np.float32))

    def call(turn: int) -> object:
        scene = open3d.t.geometry.RaycastingScene(nthreads=1)
        scene.add_triangles(open3d.core.Tensor(places[turn % 2].astype(np.float32)), triangles)
        scene.compute_signed_distance(asked, nthreads=1)
        return scene.compute_closest_points(asked, nthreads=1)

    return call


def _trimesh(surface: Surface, places: list[Array], points: Array, spent: dict[str, float]) -> Iterator[Figure]:
    name = 'deforming_time_ratio_to_trimesh'
    try:
        import trimesh

        mesh = trimesh.Trimesh(places[0], surface.triangles, process=False)
        begin = time.perf_counter()
        trimesh.proximity.closest_point_naive(mesh, points[:_FEW])  # type: ignore[no-untyped-call]
        peer = (time.perf_counter() - begin) * len(points) / _FEW
    except ImportError as error:
        yield judge(name, None, '', peer=f'trimesh or what it needs is not installed: {error}')
        return
    ratio = (spent['move'] + spent['own']) / peer
    yield judge(name, ratio, '', peer='trimesh closest_point_naive, by the first 20 points, unsigned', ratio=ratio)


def carved_and_deforming(grid: DistanceGrid, surface: Surface, quick: bool) -> Iterator[Figure]:
    """Ten structures of 100,000 triangles round a tool, five with grids and five that deform ten times a second."""
    rng = np.random.default_rng(5)
    structures, places = [], []
    for index in range(CARVED + DEFORMING):
        away = rng.normal(size=3)
        away *= (0.5 * surface.diagonal + rng.uniform(0.0, 0.05)) / np.linalg.norm(away)
        if index < CARVED:
            moved = DistanceGrid(f'g{index}', grid.origin + away, grid.spacing, grid.values.copy(), grid.near_error,
                                 grid.far_error, grid.near_sigma, grid.far_sigma)  # fmt: skip
            structures.append(Structure(moved.name, moved))
            continue
        shifted = make_surface(f'd{index}', surface.vertices + away, surface.triangles)
        structures.append(Structure(shifted.name, MovingSurface(shifted)))
        places.append([bent(shifted.vertices, phase) for phase in (0.0, 0.2)])
    tool = ToolShapeConfig(tip_radius=0.001, shaft_length=0.06, shaft_radius=0.001, shaft_direction=(0.0, 0.0, 1.0))
    monitor = ClearanceMonitor(GuidanceConfig(tool=tool), structures)
    count = 1000 if quick else 10_000
    path = _REACH * np.sin(np.arange(count)[:, None] * np.array([0.0022, 0.0014, 0.001]))  # up to 0.1 m/s at 1 kHz
    poses = make_transform(rotation_exp(path * 3.0), path)
    covariance = np.diag([1e-8] * 3 + [1e-7] * 3)
    begin, moves = time.process_time(), 0.0
    for index, pose in enumerate(poses):
        if index % POSES_A_MOTION == 0:
            start = time.process_time()
            for structure, both in zip(structures[CARVED:], places, strict=True):
                assert isinstance(structure.grid, MovingSurface)
                structure.grid.move(both[index // POSES_A_MOTION % 2])
            moves += time.process_time() - start
        monitor.survey(pose, covariance)
    spent = time.process_time() - begin
    yield judge('poses_per_second_carved_and_deforming', count / spent, '1/s')
    yield judge('core_share_carved_and_deforming_1khz', 1e3 * spent / count, '', at_most=0.1)
    yield judge('core_share_of_motions_10hz', 1e3 * moves / count, '', peer='part of the share before')


def _medians(calls: dict[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call(turn)
            if turn:
                spent[name].append(time.perf_counter() - begin)
    return {name: float(np.median(times)) for name, times in spent.items()}
