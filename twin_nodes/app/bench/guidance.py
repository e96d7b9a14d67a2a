"""Bench `guidance`: distances beside open3d, alarms, false alarms, calibration, fixtures, and pose in to advice out.

Distances are timed on 1,000 points within 5 mm of an organ of 100,000 triangles: ours value and gradient, open3d's
`RaycastingScene` the signed distance and, for the gradient, the closest points; one thread each, in turns, medians of
the same run. The error is that of points within 0.5 mm of the surface against exact distances to the triangles.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np

from twin_nodes.app.bench import guidance_moving as moving
from twin_nodes.app.bench import guidance_trials as trials
from twin_nodes.app.bench.domain import own_domain
from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.anatomy.distance_grid import DistanceGrid, exact_distances
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp
from twin_nodes.core.guidance.clearance import ClearanceMonitor, Structure
from twin_nodes.core.guidance.config import GuidanceConfig, ToolShapeConfig
from twin_nodes.core.guidance.fixtures.config import FixtureConfig
from twin_nodes.core.guidance.fixtures.mixer import FixtureMixer
from twin_nodes.core.guidance.fixtures.shapes import ConeGuide, ForbiddenRegion, PathGuide, PlaneGuard
from twin_nodes.core.guidance.precise_grid import precise_grid
from twin_nodes.core.simulate.organ import organ
from twin_nodes.core.simulate.shapes import tube

POINTS = 1000
NEAR = 0.0005  # m
STRUCTURES = 10
_BURST = 8
_FLUSH = 16 << 20  # numbers; 128 MiB, more than any cache holds


def run(quick: bool = False) -> Iterator[dict[str, object]]:
    """Measure the guidance.

    Args:
        quick: Smaller samples, the same figures.

    Yields:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    surface = make_surface('organ', *organ(50_000))
    grid = DistanceGrid.from_surface(surface, 0.001, 0.01)
    parts = (
        _distances(surface, grid, quick),
        moving.motions(surface, _near(surface, 0.005, POINTS, np.random.default_rng(0)), _open3d(), quick),
        _many_structures(surface, grid, quick),
        moving.carved_and_deforming(grid, surface, quick),
        _tool(quick),
        _alarms(quick),
        _fixtures(quick),
        _hop(quick),
    )
    for part in parts:
        for figure in part:
            yield vars(figure)


def _distances(surface: Surface, grid: DistanceGrid, quick: bool) -> Iterator[Figure]:
    rng = np.random.default_rng(0)
    points = _near(surface, 0.005, POINTS, rng)
    close = _near(surface, NEAR, 300, rng)
    error = np.abs(grid.query(close).distances - exact_distances(surface, close)).max()
    yield judge('distance_error_near_um', 1e6 * float(error), 'µm', at_most=25.0, peer='exact distances')
    open3d = _open3d()
    if open3d is None:
        yield judge('distance_time_ratio_to_open3d', None, '', at_most=1.0 / 80.0, peer='open3d is not installed')
        return
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    vertices = open3d.core.Tensor(surface.vertices.astype(np.float32))
    scene.add_triangles(vertices, open3d.core.Tensor(surface.triangles.astype(np.uint32)))
    asked = open3d.core.Tensor(points.astype(np.float32))

    def with_gradient() -> None:
        scene.compute_signed_distance(asked, nthreads=1)
        scene.compute_closest_points(asked, nthreads=1)

    precise = precise_grid(grid, surface)
    times = _in_turns(
        {
            'own': lambda: grid.query(points),
            'triangles': lambda: precise.query(points),
            'open3d': with_gradient,
            'open3d distance': lambda: scene.compute_signed_distance(asked, nthreads=1),
        },
        15 if quick else 60,
    )
    ratio = times['own'] / times['open3d']
    yield judge('distance_time_ratio_to_open3d', ratio, '', at_most=1.0 / 80.0, peer='open3d RaycastingScene',
                ratio=ratio)  # fmt: skip
    exact = times['triangles'] / times['open3d']
    yield judge('distance_time_ratio_to_open3d_to_triangles', exact, '',
                peer='open3d RaycastingScene; what the guidance asks within 9 mm', ratio=exact)  # fmt: skip
    yield judge('distance_only_time_ratio_to_open3d', times['own'] / times['open3d distance'], '',
                peer='open3d, without the gradient')  # fmt: skip
    cold = _cold({'own': lambda: grid.query(points), 'open3d': with_gradient}, 5 if quick else 20)
    yield judge('distance_time_ratio_to_open3d_cold', cold['own'] / cold['open3d'], '', peer='open3d, caches cold',
                ratio=cold['own'] / cold['open3d'])  # fmt: skip
    yield judge('distance_1000_points_us', 1e6 * times['own'], 'µs', peer='open3d', ratio=ratio)


def _many_structures(surface: Surface, grid: DistanceGrid, quick: bool) -> Iterator[Figure]:
    """Ten structures as the node keeps them, each in memory of its own; one is carved every 20 poses."""
    rng = np.random.default_rng(1)
    structures = []
    for index in range(STRUCTURES):
        away, name = rng.uniform(-0.05, 0.05, 3), f's{index}'
        moved = dataclasses.replace(grid, name=name, origin=grid.origin + away, values=grid.values.copy())
        shape = make_surface(name, surface.vertices + away, surface.triangles)
        structures.append(Structure(name, moved if index == 0 else precise_grid(moved, shape)))
    tool = ToolShapeConfig(
        tip_radius=0.001, shaft_length=0.06, shaft_radius=0.001, shaft_direction=(0.0, 0.0, 1.0), shaft_samples=8
    )
    monitor = ClearanceMonitor(GuidanceConfig(tool=tool), structures)
    count = 2000 if quick else 20_000
    path = 0.12 * np.sin(np.arange(count)[:, None] * np.array([0.011, 0.007, 0.005]))
    poses = make_transform(rotation_exp(path * 3.0), path)
    covariance = np.diag([1e-8] * 3 + [1e-7] * 3)
    carved = structures[0].grid
    assert isinstance(carved, DistanceGrid)
    swapped = carved, dataclasses.replace(carved, values=grid.values.copy())
    begin = time.process_time()
    for index, pose in enumerate(poses):
        if index % 20 == 0:
            monitor.set_grid('s0', swapped[index // 20 % 2])
        monitor.survey(pose, covariance)
    spent = (time.process_time() - begin) / count
    yield judge('poses_per_second_10_structures', 1.0 / spent, '1/s', at_least=10_000.0)
    yield judge('core_share_10_structures_1khz', 1e3 * spent, '', at_most=0.1)


def _tool(quick: bool) -> Iterator[Figure]:
    """Least distance of ball and shaft against exact distances of points 0.1 mm apart along the axis.

    Of an organ by a grid alone, and of a nerve of 1.2 mm with the settings of `guidance_node`.
    """
    turn = np.linspace(0.0, 4.0 * np.pi, 120)
    coil = np.stack([0.015 * np.cos(turn), 0.015 * np.sin(turn), 0.003 * turn], axis=1)
    nerve, surface = make_surface('nerve', *tube(coil, 0.0006)), make_surface('organ', *organ(4_000))
    grid = precise_grid(DistanceGrid.from_surface(nerve, 0.001, 0.03), nerve)
    trials = 10 if quick else 200
    error = _tool_error(surface, DistanceGrid.from_surface(surface, 0.0005, 0.015), trials)
    yield judge('tool_distance_error_mm', 1e3 * error, 'mm', at_most=0.05, peer='brute force')
    error = _tool_error(nerve, grid, 2 * trials)
    yield judge('tool_distance_error_thin_mm', 1e3 * error, 'mm', at_most=0.05, peer='brute force')


def _tool_error(surface: Surface, grid: DistanceGrid, trials: int) -> float:
    shape = ToolShapeConfig(tip_radius=0.001, shaft_length=0.03, shaft_radius=0.0005, shaft_direction=(0.0, 0.0, 1.0))
    monitor = ClearanceMonitor(GuidanceConfig(tool=shape), [Structure('organ', grid)])
    rng = np.random.default_rng(2)
    along = np.arange(0.0, 0.03 + 1e-9, 1e-4)
    errors = []
    for point in _near(surface, 0.004, trials, rng):
        pose = make_transform(rotation_exp(rng.normal(size=3)), point)
        axis = pose[:3, 3] + along[:, None] * pose[:3, 2]
        inside = ((axis > grid.bounds[0]) & (axis < grid.bounds[1])).all()
        exact = exact_distances(surface, axis) - np.where(along > 0.0, 0.0005, 0.001)
        found = monitor.survey(pose, np.eye(6) * 1e-10)[0, 0]
        if inside and abs(exact.min()) < 0.005:
            errors.append(abs(float(exact.min()) - float(found)))
    return max(errors)


def _alarms(quick: bool) -> Iterator[Figure]:
    monitor = trials.ball()
    count = 100 if quick else 1000
    announced, leads = trials.approaches(monitor, count)
    yield judge('alarm_before_contact', announced / count, '', at_least=1.0)
    yield judge('alarm_lead_least_s', min(leads, default=0.0), 's')
    alarms, minutes = trials.safe_work(monitor, 5 if quick else 30, 40.0)
    yield judge('false_alarms_per_minute', alarms / minutes, '1/min', at_most=1.0)
    yield from _calibration(trials.grazing_work(monitor, 10 if quick else 150, 20.0), quick)


def _calibration(told: trials.Told, quick: bool) -> Iterator[Figure]:
    """Gaps between what was told and what came: over all, and bin by bin with the interval of what came.

    A quick run has too few traces for a goal in each bin.
    """
    bins = [one for one in trials.reliability(told) if one.count]
    gaps = np.array([abs(one.told - one.came) for one in bins])
    yield judge('breach_calibration_error', float(gaps @ [one.weight for one in bins]), '', at_most=0.05)
    yield judge(
        'breach_calibration_error_worst_bin', float(gaps.max()), '', at_most=None if quick else 0.05,
        peer=f'of {len(bins)} bins with at least {min(one.count for one in bins)} samples each',
    )  # fmt: skip
    for one in bins:
        peer = f'told {one.told:.3f}; 95 % from {one.low:.3f} to {one.high:.3f}; {one.count} samples'
        yield judge(f'breach_came_of_{int(10.0 * one.told):d}0_percent', one.came, '', peer=peer)


def _fixtures(quick: bool) -> Iterator[Figure]:
    """Five fixtures at once, 1 kHz."""
    grid = trials.ball().structures[0].grid
    mixer = FixtureMixer(FixtureConfig())
    line = np.stack([np.linspace(-0.03, 0.03, 33), np.zeros(33), 0.005 * np.sin(np.linspace(0.0, 3.0, 33))], axis=1)
    mixer.set({
        'region': ForbiddenRegion(grid, 0.002), 'path': PathGuide(line, 0.001), 'stop': PlaneGuard([0.0, 0.0, -0.01],
        [0.0, 0.0, 1.0]), 'cone': ConeGuide([0.0, 0.0, -0.05], [0.0, 0.0, 1.0], 0.5),
    })  # fmt: skip
    count, dt = (3000 if quick else 20_000), 1e-3
    path = 0.025 * np.sin(np.arange(count)[:, None] * dt * np.array([1.3, 0.9, 2.1]))
    velocity = np.gradient(path, dt, axis=0)
    mixer.update(path[0], velocity[0], dt)
    begin, least, most, last = time.process_time(), 0.0, 0.0, np.zeros(3)
    for position, speed in zip(path, velocity, strict=True):
        found = mixer.update(position, speed, dt)
        least = min(least, found.energy)
        most = max(most, float(np.abs(found.force - last).max()))
        last = found.force
    spent = (time.process_time() - begin) / count
    yield judge('fixture_update_us', 1e6 * spent, 'µs', at_most=1000.0, peer='a cycle of 1 kHz', ratio=1e3 * spent)
    yield judge('fixture_energy_least_mj', 1e3 * least, 'mJ', at_least=-1e3 * FixtureConfig().tank)
    yield judge('fixture_force_step_n', most, 'N', at_most=FixtureConfig().max_rate * dt * 1.0001)


def _hop(quick: bool) -> Iterator[Figure]:
    from twin_nodes.app.bench.guidance_hop import AdviceHop
    from twin_nodes.ros.prompt_process import favour_process

    count = 500 if quick else 3000
    with own_domain() as domain, AdviceHop(domain) as hop:
        scheduled = favour_process()  # what judges must not be late itself
        found = hop.latencies(count, 100.0)
    if found is None or len(found) < 0.9 * count:
        yield judge('pose_to_advice_p99_ms', None, 'ms', at_most=5.0)
        return
    yield judge('pose_to_advice_p99_ms', 1e3 * float(np.percentile(found, 99)), 'ms', at_most=5.0,
                peer=f'both processes scheduled {scheduled}')  # fmt: skip
    yield judge('pose_to_advice_p50_ms', 1e3 * float(np.median(found)), 'ms')


def _near(surface: Surface, reach: float, count: int, rng: np.random.Generator) -> Array:
    """Points on the triangles, moved along their normals by up to `reach` [m], shape (count, 3)."""
    chosen = rng.integers(len(surface.triangles), size=count)
    weights = rng.dirichlet((1.0, 1.0, 1.0), size=count)
    points = np.einsum('ni,nij->nj', weights, surface.vertices[surface.triangles[chosen]])
    return np.asarray(points + rng.uniform(-reach, reach, (count, 1)) * surface.face_normals[chosen])


def _in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each call [s], taken in turns of `_BURST` calls, so that each finds its own data in the cache."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 2):
        for name, call in calls.items():
            for _ in range(_BURST):
                begin = time.perf_counter()
                call()
                if turn >= 2:
                    spent[name].append(time.perf_counter() - begin)
    return {name: float(np.median(times)) for name, times in spent.items()}


def _cold(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each call [s] when nothing of what it needs is in a cache."""
    flush = np.zeros(_FLUSH)
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            flush += 1.0
            begin = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - begin)
    return {name: float(np.median(times)) for name, times in spent.items()}


def _open3d() -> ModuleType | None:
    try:
        import open3d
    except ImportError:
        return None
    found: ModuleType = open3d
    return found
