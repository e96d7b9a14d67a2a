"""Compiles the numerical kernels once, so that the first start of a node is as quick as all others."""

import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twin_nodes.app.kernel_cache import drop_outdated

if TYPE_CHECKING:
    from twin_nodes.core.anatomy.distance_grid import DistanceGrid
    from twin_nodes.core.guidance.clearance import ClearanceMonitor


def warm() -> None:
    """Call every compiled kernel, on all cores; the results are kept on disk by numba."""
    parts = (
        _warm_deforming, _warm_guiding, _warm_nonrigid, _warm_registration, _warm_elastic, _warm_carving,
        _warm_operator, _warm_building, _warm_robot, _warm_visual,
    )  # fmt: skip
    with ProcessPoolExecutor(min(len(parts), os.cpu_count() or 1), get_context('spawn')) as pool:
        for done in [pool.submit(part) for part in parts]:
            done.result()


def _warm_guiding() -> None:
    """Filter poses, and measure, predict and plan beside a structure."""
    from twin_nodes.core.anatomy.distance_grid import DistanceGrid
    from twin_nodes.core.anatomy.distance_signs import settle_signs
    from twin_nodes.core.anatomy.surface import make_surface
    from twin_nodes.core.guidance.clearance import ClearanceMonitor, Structure
    from twin_nodes.core.guidance.config import GuidanceConfig
    from twin_nodes.core.simulate.room import Room, RoomConfig
    from twin_nodes.core.tracking.filter import PoseFilter, PoseFilterConfig
    from twin_nodes.core.tracking.gate import GateConfig, PoseGate

    PoseGate(GateConfig())
    room = Room(RoomConfig())
    pose_filter = PoseFilter(PoseFilterConfig())
    for stamp_ns in (1_000_000_000, 1_020_000_000, 1_040_000_000, 1_030_000_000):
        result = pose_filter.add(stamp_ns, np.eye(4))
    pose_filter.predict(result.stamp_ns + 1_000_000)
    surface = make_surface('nerve', *room.structures['nerve'])
    grid = DistanceGrid.from_surface(surface, 0.003, 0.006)
    grid.query(room.centre[None])
    torn = grid.values.copy()
    torn[::2] *= -1.0
    settle_signs(torn, grid.origin, grid.spacing, surface.vertices[surface.triangles])
    monitor = ClearanceMonitor(GuidanceConfig(), [Structure('nerve', grid)])
    monitor.evaluate(1, np.eye(4), np.eye(6) * 1e-8)
    _warm_guidance(monitor)
    _warm_planning(grid, room.centre)


def _warm_guidance(monitor: 'ClearanceMonitor') -> None:
    """Predict a short motion, and put it through each fixture; measure to a surface that deforms."""
    from twin_nodes.core.anatomy.surface import make_surface
    from twin_nodes.core.guidance.clearance import ClearanceMonitor, Structure
    from twin_nodes.core.guidance.config import GuidanceConfig, ToolShapeConfig
    from twin_nodes.core.guidance.fixtures.config import FixtureConfig
    from twin_nodes.core.guidance.fixtures.mixer import FixtureMixer
    from twin_nodes.core.guidance.fixtures.shapes import ConeGuide, ForbiddenRegion, PathGuide, PlaneGuard
    from twin_nodes.core.guidance.moving_surface import MovingSurface
    from twin_nodes.core.guidance.prediction.config import PredictionConfig
    from twin_nodes.core.guidance.prediction.predictor import PosePredictor
    from twin_nodes.core.simulate.shapes import superellipsoid

    moving = MovingSurface(make_surface('ball', *superellipsoid(np.zeros(3), np.full(3, 0.01))))
    moving.query(np.zeros((1, 3)))
    shaft = ToolShapeConfig(shaft_length=0.02, shaft_radius=0.001, shaft_direction=(0.0, 0.0, 1.0))
    ClearanceMonitor(GuidanceConfig(tool=shaft), [Structure('ball', moving)])
    predictor = PosePredictor(PredictionConfig())
    for step in range(12):
        pose = np.eye(4)
        pose[0, 3] = 0.002 * step
        predictor.add(1_000_000_000 + 20_000_000 * step, pose)
    predictor.predict(0.1)
    mixer = FixtureMixer(FixtureConfig())
    up = np.array([0.0, 0.0, 1.0])
    mixer.set({
        'region': ForbiddenRegion(monitor.structures[0].grid, 0.002), 'cone': ConeGuide(np.zeros(3), up, 0.4),
        'path': PathGuide(np.array([np.zeros(3), up]), 0.001), 'plane': PlaneGuard(np.zeros(3), up),
        'moving': ForbiddenRegion(moving, 0.002),
    })  # fmt: skip
    mixer.update(np.array([0.01, 0.0, -0.01]), np.zeros(3), 0.001)


def _warm_planning(grid: 'DistanceGrid', centre: np.ndarray) -> None:
    """Plan a straight and a bent way beside a structure, and learn one step of a breath."""
    from twin_nodes.core.guidance.respiration.lag_regression import LagRegression
    from twin_nodes.core.guidance.routes.config import RouteConfig
    from twin_nodes.core.guidance.routes.entry import entry_region
    from twin_nodes.core.guidance.routes.planner import RoutePlanner

    target = np.add(centre, [0.2, 0.0, 0.0])
    region = entry_region(np.add(target, [[0.0, 0.0, 0.05], [0.005, 0.0, 0.05]]), fine=0.001, coarse=0.006)
    for bend_radius in (0.0, 0.2):
        RoutePlanner(RouteConfig(bend_radius=bend_radius), (grid,), (grid,)).plan(region, target)
    LagRegression(2, 3, prior=1.0, forgetting=0.999).learn(np.zeros(2), np.zeros(3))


def _warm_building() -> None:
    """Build a small ball, as `twin build` does from labels."""
    from twin_nodes.core.anatomy.decimation import decimate
    from twin_nodes.core.anatomy.label_volume import LabelVolume
    from twin_nodes.core.anatomy.surface_extraction import extract_surface
    from twin_nodes.core.anatomy.tet_mesh import make_tet_mesh
    from twin_nodes.core.anatomy.tet_mesher import mesh_surface

    ball = (np.sum((np.indices((16, 16, 16)) - 7.5) ** 2, axis=0) < 36.0).astype(np.uint8)
    for labels in (ball, ball.astype(np.uint16)):
        surface = extract_surface(LabelVolume(labels, np.diag([0.001, 0.001, 0.001, 1.0])), 1, 'ball')
    mesh, _ = mesh_surface(decimate(surface, 0.0003)[0], tets=200)
    make_tet_mesh('ball', mesh.nodes, mesh.tets).quality  # noqa: B018 - computed when it is asked for


def _warm_carving() -> None:
    """Carve a small block with both burrs, and follow it."""
    from twin_nodes.core.anatomy.carving import Carver
    from twin_nodes.core.anatomy.carving_config import BurrConfig, CarvingConfig
    from twin_nodes.core.anatomy.carving_volume import CarvedVolume
    from twin_nodes.core.anatomy.carving_voxels import voxelise
    from twin_nodes.core.anatomy.removed import RemovedSender
    from twin_nodes.core.anatomy.removed_receiver import RemovedReceiver
    from twin_nodes.core.anatomy.surface import make_surface
    from twin_nodes.core.simulate.shapes import superellipsoid

    surface = make_surface('block', *superellipsoid(np.zeros(3), np.full(3, 0.01)))
    for shape in ('ball', 'cylinder'):
        carver = Carver(CarvingConfig(burr=BurrConfig(shape=shape)), CarvedVolume(voxelise([surface], 0.001)))
        carver.add(1, np.eye(4), np.eye(6) * 1e-10)
        carver.depths(np.eye(4))
        RemovedReceiver().take(RemovedSender(carver.volume, 1).snapshot()[0])
        carver.reset()


def _warm_deforming() -> None:
    """Follow a small organ live: a grasp, and a cloud of its surface."""
    from twin_nodes.core.anatomy.nonrigid.compliance import ComplianceConfig
    from twin_nodes.core.anatomy.session import AnatomySession
    from twin_nodes.core.anatomy.session_body import embed, make_body
    from twin_nodes.core.anatomy.session_config import AnatomySessionConfig
    from twin_nodes.core.anatomy.surface import make_surface
    from twin_nodes.core.anatomy.tet_mesher import mesh_surface
    from twin_nodes.core.simulate.organ import organ

    surface = make_surface('organ', *organ(800))
    mesh, _ = mesh_surface(surface, tets=400)
    config = AnatomySessionConfig(compliance=ComplianceConfig(patches=12, inner_patches=4, modes=12))
    embed(mesh, surface.vertices)
    session = AnatomySession(
        make_body(mesh, {}, {}, config), np.zeros((1, 3)), {}, config, replay=False, pushers=('p',)
    )
    pose = np.eye(4)
    pose[:3, 3] = mesh.nodes[mesh.outer_nodes[0]]
    session.add_tip('grasper', 1, pose, 1e-8)
    session.set_grip('grasper', closed=True)
    session.add_tip('p', 1, pose, 1e-8)
    session.step()
    session.observe(2, mesh.nodes[mesh.outer_nodes], 0.001)
    session.step()
    session.close()


def _warm_robot() -> None:
    """Mirror an arm and take it to a pose."""
    from twin_nodes.core.robot.mirror import ArmMirror, MirrorConfig
    from twin_nodes.core.robot.published import published_model

    mirror = ArmMirror(published_model('psm_classic'), MirrorConfig(), arm='PSM1')
    mirror.chain.inverse(mirror.update(mirror.reader_sample()).base_T_tip)


def _warm_registration() -> None:
    """Call the kernels of surface registration, as a swab with landmarks does."""
    from twin_nodes.core.anatomy.surface import make_surface
    from twin_nodes.core.registration.combined import register_swab
    from twin_nodes.core.registration.paired_points import register_paired_points
    from twin_nodes.core.registration.surface_target import SurfaceTarget
    from twin_nodes.core.registration.tip_share import TouchedPoints
    from twin_nodes.core.simulate.organ import organ

    surface = make_surface('organ', *organ(800))
    target = SurfaceTarget.from_surface(surface, spacing=0.006, margin=0.02)
    points = surface.vertices[::4]
    corners = surface.vertices[np.argmax(surface.vertices @ np.eye(3), axis=0)]
    landmarks = TouchedPoints(register_paired_points(corners, corners, fle_rms=1e-3), np.zeros((6, 3)))
    register_swab(points, target, touched=landmarks)
    register_swab(points * [1.0, 1.0, 0.8], target, touched=landmarks)  # what does not fit is explained by others
    register_swab(points, target)


def _warm_visual() -> None:
    """Refine the corners of a black square on white, and find its pose."""
    from twin_nodes.core.tracking.visual.edges import refine_corners
    from twin_nodes.core.tracking.visual.reprojection import CornerView, fit_pose, reproject

    image = np.full((80, 80), 220, np.uint8)
    image[20:60, 20:60] = 30
    corners = np.array([[20.0, 20.0], [59.0, 20.0], [59.0, 59.0], [20.0, 59.0]])
    refine_corners(image, corners, 6, lambda pixels: pixels)
    points = np.column_stack([corners - 39.5, np.zeros(4)])[None] * 1e-3
    view = CornerView(points, corners[None], np.eye(8)[None], np.full(2, 100.0), np.full(2, 40.0))
    pose = np.eye(4)
    pose[2, 3] = 0.1
    fit_pose(view, pose)
    reproject(view, pose)


def _warm_operator() -> None:
    """Let the simulated operator of telesurgery begin a transfer, as it is and through the compensation."""
    from twin_nodes.core.telesurgery.link.scenario import Scenario, link_config
    from twin_nodes.core.telesurgery.operator.direct import operator_noise
    from twin_nodes.core.telesurgery.operator.trial import TrialConfig, run_trial

    link = Scenario(link_config({'name': 'warm', 'both': {'delay': {'base': 0.025}}}))
    for mode in ('direct', 'twin'):
        run_trial(TrialConfig(), link.link(1), mode, operator_noise(1, 60))


def _warm_elastic() -> None:
    """Call the kernels of soft bodies: the exact and the live solver, a contact that comes, and springs."""
    from twin_nodes.core.anatomy.elastic.laws import NeoHookean
    from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
    from twin_nodes.core.anatomy.elastic.loads import Loads, make_springs
    from twin_nodes.core.anatomy.elastic.model import ElasticModel
    from twin_nodes.core.simulate.tet_box import tet_box

    mesh = tet_box((3, 2, 2), (0.1, 0.1, 0.1))
    model = ElasticModel(mesh, NeoHookean(5e3, 0.45), np.flatnonzero(mesh.nodes[:, 0] < 1e-9))
    top = np.array([len(mesh.nodes) - 1])
    springs = make_springs(top - 1, mesh.nodes[top - 1] + 1e-3, 10.0)
    model.solve(Loads(springs=springs))
    with LiveSolver(model, LiveConfig(tolerance=1e-6)) as live:
        for step in range(3):
            live.update(Loads(held=top[step > 0 :], held_at=mesh.nodes[top[step > 0 :]] + 1e-3 * step))
        live.update(Loads(held=top, held_at=mesh.nodes[top] + 1e-3, springs=springs))


def _warm_nonrigid() -> None:
    """Find the deformation of a block from points of its outside."""
    from twin_nodes.core.anatomy.elastic.laws import NeoHookean
    from twin_nodes.core.anatomy.elastic.model import ElasticModel
    from twin_nodes.core.anatomy.nonrigid.compliance import ComplianceConfig, prepare_compliance
    from twin_nodes.core.anatomy.nonrigid.observations import make_surface_points
    from twin_nodes.core.anatomy.nonrigid.tracker import DeformationTracker
    from twin_nodes.core.simulate.tet_box import tet_box

    mesh = tet_box((4, 3, 2), (0.1, 0.08, 0.06))
    model = ElasticModel(mesh, NeoHookean(5e3, 0.45))
    compliance = prepare_compliance(model, ComplianceConfig(patches=8, inner_patches=2, modes=8))
    seen = make_surface_points(mesh.nodes[mesh.outer_nodes], 1e-3)
    DeformationTracker(compliance, mesh.nodes[:1]).update(np.eye(4), seen)


def kept() -> bool:
    """Whether numba has kept compiled kernels where it looks first; a read-only install keeps them in the home."""
    named = os.environ.get('NUMBA_CACHE_DIR')
    folder = Path(named) if named else Path(__file__).resolve().parents[1] / 'core' / 'tracking'
    return any(folder.rglob('filter_kernels.*.nbi'))


def warm_once() -> None:
    """Compile the kernels in a process of their own where none are kept: `make` did it, pip and colcon do not."""
    if kept():
        return
    print('compiling the kernels, once for this installation', file=sys.stderr, flush=True)
    subprocess.run([sys.executable, '-m', 'twin_nodes.app.warm'], stdout=subprocess.DEVNULL, check=False)


if __name__ == '__main__':
    started = time.monotonic()
    drop_outdated()
    warm()

    print(f'kernels compiled in {time.monotonic() - started:.1f} s')
