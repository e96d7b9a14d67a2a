"""Bench `routes`: is the best route the best there is, and how soon is it there.

Random scenes of five vessels; about 3,000 entries. The peer is an exhaustive search in numpy over the same entries at
400 points a way, by clearance alone. Planning again is timed as the guidance does it: the whole plan, nothing kept; its
cpu time tells what a machine that does other work as well makes of it.
"""

import time

import numpy as np

from twin_nodes.app.figures import judge
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.routes.config import RouteConfig
from twin_nodes.core.guidance.routes.entry import entry_region
from twin_nodes.core.guidance.routes.planner import RoutePlanner
from twin_nodes.core.guidance.routes.route import Route
from twin_nodes.core.simulate.route_scenes import RouteScene, route_scene

PEER = 'exhaustive search in numpy'
COVARIANCE = np.diag([3e-4] * 3 + [2e-3] * 3) ** 2
SAMPLES = 400


def run(quick: bool = False) -> list[dict[str, object]]:
    """Measure the planning of routes.

    Args:
        quick: Fewer scenes, the same figures.

    Returns:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    straight, bent = RouteConfig(), RouteConfig(bend_radius=0.2)
    ratios, times, bent_times, bent_work, peer_times, unreached = [], [], [], [], [], 0
    for seed in range(12 if quick else 100):
        scene = route_scene(np.random.default_rng(seed))
        region = entry_region(scene.skin, fine=straight.fine, coarse=straight.coarse)
        if seed == 0:  # the kernels are loaded here and not in what is timed
            _plan(straight, scene, region)
        routes, seconds = _plan(straight, scene, region)
        worked = time.process_time()
        bent_times.append(_plan(bent, scene, region)[1])
        bent_work.append(time.process_time() - worked)
        started = time.perf_counter()
        best = _exhaustive(scene, region.points, straight.tool_radius)
        peer_times.append(time.perf_counter() - started)
        times.append(seconds)
        if routes:
            ratios.append(min(max(route.clearances[0].clearance for route in routes[:1]) / best, 1.0))
        elif best > 3.0 * straight.sigmas * 6e-4:
            unreached += 1
    worst = float(np.percentile(times, 99))
    figures = [
        judge('route_clearance_ratio_worst', float(min(ratios)), '', at_least=0.95, peer=PEER),
        judge('route_clearance_ratio_mean', float(np.mean(ratios)), '', peer=PEER),
        judge('routes_missed', float(unreached), '', at_most=0.0),
        judge('route_plan_p50_ms', 1e3 * float(np.median(times)), 'ms', peer=PEER,
              ratio=float(np.median(times) / np.median(peer_times))),
        judge('route_plan_p99_ms', 1e3 * worst, 'ms', at_most=100.0),
        judge('route_plan_bent_p50_ms', 1e3 * float(np.median(bent_times)), 'ms'),
        judge('route_plan_bent_p99_ms', 1e3 * float(np.percentile(bent_times, 99)), 'ms', at_most=100.0),
        judge('route_plan_bent_cpu_p99_ms', 1e3 * float(np.percentile(bent_work, 99)), 'ms'),
    ]  # fmt: skip
    return [vars(figure) for figure in figures]


def _plan(config: RouteConfig, scene: RouteScene, region: object) -> tuple[tuple[Route, ...], float]:
    started = time.perf_counter()
    try:
        routes = RoutePlanner(config, scene.vessels).plan(region, scene.target, covariance=COVARIANCE)  # type: ignore[arg-type]
    except DegenerateGeometryError:
        routes = ()
    return routes, time.perf_counter() - started


def _exhaustive(scene: RouteScene, entries: Array, radius: float) -> float:
    """Largest clearance of all straight ways [m]."""
    shares = np.linspace(0.0, 1.0, SAMPLES)[:, None]
    least = np.full(len(entries), np.inf)
    for index, entry in enumerate(entries):
        points = entry + shares * (scene.target - entry)
        least[index] = min(grid.query(points).distances.min() for grid in scene.vessels) - radius
    return float(least.max())
