"""The scene of bench `deform`: a liver-like body held on half its underside, a grasp dragged along a path."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.organ import organ
from twin_nodes.ros.prompt_process import hurried

YOUNG = 5e3
FRAMES = 60
GRASP = 0.014
TOWARD = np.array([0.5, 0.3, 0.8]) / np.linalg.norm([0.5, 0.3, 0.8])


@dataclass
class Scene:
    """A body and the path of its grasp.

    Args:
        model: The body.
        grasp: Nodes that the grasp holds.
        path: Movement of the grasp at each frame [m], shape (FRAMES, 3).
    """

    model: ElasticModel
    grasp: NDArray[np.int64]
    path: Array

    def loads(self, frame: int) -> Loads:
        """Return what acts at a frame; -1 is rest."""
        moved = self.path[frame] if frame >= 0 else np.zeros(3)
        return Loads(held=self.grasp, held_at=self.model.rest[self.grasp] + moved)

    def error_percent(self, x: Array, exact: Array) -> float:
        """Return the distance from the exact state over the size of its displacement [%]."""
        return float(100.0 * np.linalg.norm(x - exact) / np.linalg.norm(exact - self.model.rest))


@dataclass
class Run:
    """What a run of the live solver gave: times [ms], CPU times of its thread [ms], states of some frames."""

    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    converged: int = 0
    factors: int = 0


def make_scene(tets: int, *, poisson: float = 0.45, drag: float = 0.02, tremor: float = 0.0) -> Scene:
    """Mesh the body and lay the path.

    Args:
        tets: Number of tetrahedra, about.
        poisson: Poisson's ratio.
        drag: How far the grasp goes in 60 frames [m], starting and ending gently.
        tremor: Standard deviation of a hand's tremor on each axis and frame [m].
    """
    surface = make_surface('lobe', *organ(2500))
    mesh, _ = mesh_surface(surface, tets=tets)
    height = mesh.nodes[:, 2]
    low, middle = np.quantile(height, 0.12), np.median(mesh.nodes[:, 0])
    fixed = np.flatnonzero((height < low) & (mesh.nodes[:, 0] < middle))
    outer = mesh.outer_nodes
    tip = mesh.nodes[outer[np.argmax(mesh.nodes[outer] @ np.array([0.8, 0.0, 0.6]))]]
    away = np.linalg.norm(mesh.nodes - tip, axis=1)
    grasp = np.flatnonzero(away <= max(GRASP, np.sort(away)[3]))
    share = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, FRAMES + 1) / FRAMES)
    path = drag * share[:, None] * TOWARD + tremor * np.random.default_rng(0).normal(size=(FRAMES, 3))
    return Scene(ElasticModel(mesh, NeoHookean(YOUNG, poisson), fixed), grasp, path)


def follow(scene: Scene, config: LiveConfig, *, every: int, repeats: int, rate_hz: float) -> Run:
    """Follow the path with the live solver at a rate (0: no pause); compare every so many frames with the exact."""
    run = Run()
    for repeat in range(repeats):
        with LiveSolver(scene.model, config) as live:
            live.update(scene.loads(-1))
            kept: list[tuple[int, Array]] = []
            for frame in range(FRAMES):
                begin, cpu = time.perf_counter(), time.thread_time()
                with hurried():  # as the node does
                    answer = live.update(scene.loads(frame))
                run.cpu.append(1e3 * (time.thread_time() - cpu))
                run.times.append(1e3 * (time.perf_counter() - begin))
                run.iterations.append(answer.iterations)
                run.converged += answer.is_converged
                if repeat == 0 and (frame + 1) % every == 0:
                    kept.append((frame, answer.positions))
                if rate_hz > 0.0:
                    time.sleep(max(0.0, 1.0 / rate_hz - (time.perf_counter() - begin)))
            run.factors += live.factors
        for frame, x in kept:
            run.errors.append(scene.error_percent(x, exact(scene, frame, x)))
    return run


def exact(scene: Scene, frame: int, start: Array) -> Array:
    """Return the converged state of a frame (Newton to a residual of 1e-9)."""
    answer = scene.model.solve(scene.loads(frame), start, tolerance=1e-9)
    if not answer.is_converged:
        raise RuntimeError(f'the reference of frame {frame} did not converge: residual {answer.residual:.1e}')
    return answer.positions


def timed(call: Callable[[], object]) -> float:
    """Return how long a call takes [ms], made as `follow` makes its own."""
    begin = time.perf_counter()
    with hurried():
        call()
    return 1e3 * (time.perf_counter() - begin)
