"""A liver-like organ at operation: it is deformed unseen, grasped, pushed and looked at by a camera, with known truth.

The truth has a mesh, a law, stiffnesses, a bed and loads of its own, which the twin does not know: Mooney-Rivlin in
place of neo-Hookean, a lump of another stiffness, tissue behind it that gives way. What the twin is given is what an
operating room has: poses of tools with noise, a rigid registration that is off, clouds of a part of the surface with
noise and outliers, and now and then a cloud that is wrong altogether.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.elastic.laws import MooneyRivlin, bulk_modulus
from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.session_body import edge_of
from twin_nodes.core.anatomy.session_config import ContactConfig, GraspConfig
from twin_nodes.core.anatomy.session_contact import Contacts, capsule_of
from twin_nodes.core.anatomy.session_grasp import Grasp, take
from twin_nodes.core.anatomy.session_rest import at_rest
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.targets import attach
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.config import setting
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, rotation_exp, transform_points
from twin_nodes.core.simulate.motion import minimum_jerk
from twin_nodes.core.simulate.organ import organ, sample_organ

GRASPER, PROBE = 'grasper', 'probe'
DURATION = 28.0
LESIONS = {'lesion': np.array([0.02, -0.02, 0.01]), 'cyst': np.array([-0.03, -0.01, -0.01])}
LESION_RADIUS = 0.007
BACK = 0.06  # y beyond which the organ lies in its bed [m]
TIP_T_TOOL = make_transform(rotation_exp([0.2, -0.4, 0.1]), [0.004, -0.011, 0.16])
TOOL_SIGMA = 0.0001
_PULL, _PUSH = np.array([-0.004, -0.014, 0.004]), np.array([0.0, 0.011, 0.0])
_LOAD = (1.0, 4.0)  # from when to when what nobody sees comes over the organ [s]
_WRONG = {0.3: 'mirrored', 23.0: 'millimetres', 25.0: 'another organ'}
_SHAFT = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])  # z of the tools points at the viewer


@dataclass(frozen=True)
class LiverSceneConfig:
    """The simulated liver."""

    seed: int = setting('Seed of all noise, of the registration and of the loads.', 1, minimum=0)
    tets: int = setting('Tetrahedra of the truth; the twin has others.', 5000, minimum=500, maximum=100_000)
    points: int = setting('Points of a cloud.', 1200, minimum=100, maximum=100_000)
    noise: float = setting('Standard deviation of a coordinate of a point.', 0.001, unit='m', minimum=0.0, maximum=0.01)
    outliers: float = setting('Share of points that are off by 5 … 25 mm.', 0.02, minimum=0.0, maximum=0.5)


@dataclass(frozen=True, eq=False)
class LiverState:
    """The truth at one instant.

    Args:
        time: Since the start [s].
        positions: Nodes in the anatomy [m], shape (n, 3).
        targets: Lesions in the anatomy [m], shape (k, 3).
        tips: anatomy_T_tip of each tool, shape (4, 4).
        closed: Whether the grasper's jaws are closed.
    """

    time: float
    positions: Array
    targets: Array
    tips: dict[str, Array]
    closed: bool


class LiverScene:
    """Moves forward in time; the same steps give the same scene.

    Args:
        config: Settings.
    """

    def __init__(self, config: LiverSceneConfig) -> None:
        self.config = config
        self._rng = rng = np.random.default_rng([config.seed, 11])
        self.mesh = _lumped(mesh_surface(make_surface('liver', *organ(2600)), tets=config.tets)[0])
        self.model = _model(self.mesh, rng)
        self._solver = LiveSolver(self.model, LiveConfig(tolerance=5e-4, max_iterations=30, refactor_lag=6))
        self._contact = ContactConfig(radius=0.006)
        self._contacts = Contacts(
            self.mesh.outer_faces, self._contact.stiffness * float(self.model.shear.mean()) * edge_of(self.model)
        )
        self._targets = attach(self.mesh, np.array(list(LESIONS.values())))
        self._grasp: Grasp | None = None
        self._force = _unseen(self.mesh, rng)
        self._grip_node, self._push_node = self._place([-0.045, 0.0]), self._place([0.05, -0.01])
        self._began: dict[int, Array] = {}
        self.patient_T_anatomy = make_transform(rotation_exp([0.3, -1.1, 0.7]), [0.062, -0.041, -0.085])
        self.tracker_T_patient = make_transform(rotation_exp([1.2, 0.4, -0.3]), [0.08, -0.12, -1.45])
        slip = make_transform(rotation_exp(rng.normal(0.0, np.radians(0.7), 3)), rng.normal(0.0, 0.0015, 3))
        self.registration = self.patient_T_anatomy @ slip

    @property
    def registration_covariance(self) -> Array:
        """Covariance of the rigid registration as it is told, shape (6, 6)."""
        return np.diag([0.0015**2] * 3 + [float(np.radians(0.7)) ** 2] * 3)

    def close(self) -> None:
        """End the thread of the solver."""
        self._solver.close()

    def step(self, time: float) -> LiverState:
        """Go on to a time after the last one [s] and return the truth there."""
        x = self._solver.x
        tips = {GRASPER: self._tip(self._grip_node, time, _grasper), PROBE: self._tip(self._push_node, time, _probe)}
        closed = 6.0 <= time < 12.7
        if closed and self._grasp is None:
            self._grasp = take(x, self.mesh.outer_nodes, tips[GRASPER], np.zeros(0, np.int64), GraspConfig())
        elif not closed:
            self._grasp = None
        nodes, places = np.zeros(0, np.int64), np.zeros((0, 3))
        if self._grasp is not None:
            nodes, places = self._grasp.nodes, self._grasp.places(tips[GRASPER])
        share = minimum_jerk((time - _LOAD[0]) / (_LOAD[1] - _LOAD[0]))
        loads = Loads(nodes, places, forces=share * self._force)
        capsules = [capsule_of(PROBE, tips[PROBE], self._contact)]
        solution = at_rest(self._solver, self._contacts, [capsules], loads, None)
        return LiverState(time, solution.positions, self._targets.at(solution.positions), tips, closed)

    def tool_pose(self, state: LiverState, tool: str) -> Array:
        """Return tracker_T_tool as it is measured, shape (4, 4)."""
        pose = self.tracker_T_patient @ self.patient_T_anatomy @ state.tips[tool] @ TIP_T_TOOL
        pose[:3, 3] += self._rng.normal(0.0, TOOL_SIGMA, 3)
        return np.asarray(pose)

    def in_patient(self, points_anatomy: Array) -> Array:
        """Return points of the anatomy (n, 3) where they truly are in the frame of the patient [m]."""
        return np.asarray(transform_points(self.patient_T_anatomy, points_anatomy))

    def wrong(self, since: float, until: float) -> str:
        """Return what is wrong with the cloud that is due between two times [s]; '' for none."""
        return next((name for time, name in _WRONG.items() if since <= time < until), '')

    def is_due(self, since: float, until: float) -> bool:
        """Whether a good cloud is due between two times: each second from 3 s to 22 s."""
        return until >= 3.0 and since < 22.0 and int(since) != int(until)

    def cloud(self, state: LiverState, wrong: str = '') -> Array:
        """Return what the camera sees of the surface, in the frame of the tracker [m], shape (n, 3).

        Args:
            state: The truth.
            wrong: What is wrong with it: 'mirrored', 'millimetres' or 'another organ'; '' for nothing.
        """
        points = self._seen(state) if wrong != 'another organ' else self._other()
        if wrong == 'mirrored':
            points = points * [-1.0, 1.0, 1.0]
        points = transform_points(self.tracker_T_patient @ self.patient_T_anatomy, points)
        return np.asarray(points * 1e3 if wrong == 'millimetres' else points)

    def _seen(self, state: LiverState) -> Array:
        """Draw points on the faces that the camera sees, which no tool hides."""
        rng, config = self._rng, self.config
        corners = state.positions[self.mesh.outer_faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        areas = np.linalg.norm(normals, axis=1)
        hidden = np.zeros(len(corners), bool)
        for tip in state.tips.values():
            hidden |= np.linalg.norm(corners.mean(axis=1) - tip[:3, 3], axis=1) < 0.012
        facing = np.flatnonzero((-normals[:, 1] > 0.35 * areas) & (corners[:, :, 1].mean(axis=1) < 0.0) & ~hidden)
        faces = facing[rng.choice(len(facing), config.points, p=areas[facing] / areas[facing].sum())]
        points = np.einsum('ka,kai->ki', rng.dirichlet(np.ones(3), config.points), corners[faces])
        points += rng.normal(0.0, config.noise, points.shape)
        astray = np.flatnonzero(rng.uniform(size=len(points)) < config.outliers)
        ways = rng.normal(size=(len(astray), 3))
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        points[astray] += rng.uniform(0.005, 0.025, (len(astray), 1)) * ways
        return np.asarray(points)

    def _other(self) -> Array:
        """Draw points on the front of another organ that lies in the same place."""
        rng = self._rng
        points = 1.1 * sample_organ(2 * self.config.points, rng, view=np.array([0.0, -1.0, 0.0]), seed=8)
        return np.asarray(points[: self.config.points] + rng.normal(0.0, self.config.noise, (self.config.points, 3)))

    def _place(self, x_z: list[float]) -> int:
        """Return the node on the front nearest to a line of sight."""
        outer = self.mesh.outer_nodes
        front = outer[self.mesh.nodes[outer, 1] < 0.0]
        away = np.linalg.norm(self.mesh.nodes[front][:, [0, 2]] - x_z, axis=1)
        return int(front[np.argmin(away)])

    def _tip(self, node: int, time: float, way: _Way) -> Array:
        """Return where a tool's tip is: a way told from where the tissue is when the tool comes near."""
        start, offset = way(time)
        if time >= start and node not in self._began:
            self._began[node] = self._solver.x[node].copy()
        return make_transform(_SHAFT, self._began.get(node, self.mesh.nodes[node]) + offset)

    @cached_property
    def coverage(self) -> float:
        """Share of the surface at rest that the camera sees."""
        corners = self.mesh.nodes[self.mesh.outer_faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        areas = np.linalg.norm(normals, axis=1)
        seen = (-normals[:, 1] > 0.35 * areas) & (corners[:, :, 1].mean(axis=1) < 0.0)
        return float(areas[seen].sum() / areas.sum())


class _Way:
    """The way of a tool: away, to the tissue, along a motion and back, and away."""

    def __init__(self, at: float, motion: Array, times: tuple[float, float, float, float]) -> None:
        self._at, self._motion, self._times = at, motion, times

    def __call__(self, time: float) -> tuple[float, Array]:
        """Return when the tissue's place is looked up, and the way from there [m], shape (3,)."""
        there, back, home, gone = self._times
        off = 1.0 - minimum_jerk((time - self._at + 1.0) / 1.0) + minimum_jerk(time - gone)
        along = minimum_jerk((time - self._at - 0.3) / (there - self._at - 0.3))
        along -= minimum_jerk((time - back) / (home - back))
        return self._at - 1.2, off * np.array([0.0, -0.04, 0.0]) + along * self._motion


_grasper = _Way(6.0, _PULL, (9.0, 10.5, 12.5, 13.0))
_probe = _Way(15.0, _PUSH, (18.0, 19.0, 21.0, 21.0))


def _lumped(mesh: TetMesh) -> TetMesh:
    """Label a lump inside that is stiffer than the rest."""
    middles = mesh.nodes[mesh.tets].mean(axis=1)
    lump = np.linalg.norm(middles - [0.01, 0.0, 0.03], axis=1) < 0.022
    return TetMesh(mesh.nodes, mesh.tets, np.where(lump, 2, 1).astype(np.int32))


def _model(mesh: TetMesh, rng: np.random.Generator) -> ElasticModel:
    """Make the truth: its law, its bed that gives way, and a ligament at the side."""
    shear = float(rng.uniform(1200.0, 2200.0))
    laws = {label: MooneyRivlin(0.3 * g, 0.2 * g, bulk_modulus(g, 0.43)) for label, g in ((1, shear), (2, 2.5 * shear))}
    model = ElasticModel(mesh, laws)
    outer = mesh.outer_nodes
    bed = outer[mesh.nodes[outer, 1] > BACK]
    support = np.zeros(len(mesh.nodes))
    support[outer] = 15.0 / len(outer)
    support[bed] += 20.0 * shear * edge_of(model)
    near = cKDTree(mesh.nodes[outer]).query_ball_point([0.09, 0.02, 0.0], 0.025)
    support[outer[near]] += 30.0 / max(len(near), 1)
    return model.with_support(support)


def _unseen(mesh: TetMesh, rng: np.random.Generator) -> Array:
    """Return the forces of a pack below the organ and of the pressure from its side [N], shape (n, 3)."""
    nodes, outer = mesh.nodes, mesh.outer_nodes
    force = np.zeros_like(nodes)
    for place, push in (([0.03, -0.01, -0.06], [-0.1, 0.15, 0.7]), ([-0.08, -0.02, 0.02], [0.35, 0.15, -0.1])):
        bump = np.zeros(len(nodes))
        bump[outer] = np.exp(-0.5 * (np.linalg.norm(nodes[outer] - place, axis=1) / 0.025) ** 2)
        force += np.outer(bump / bump.sum(), np.array(push) * rng.uniform(0.8, 1.2))
    return force


def tool_T_tip() -> Array:
    """Return the calibration of both tools, shape (4, 4)."""
    return np.asarray(inverse(TIP_T_TOOL))


def lesion_meshes() -> dict[str, tuple[Array, NDArray[np.int32]]]:
    """Return vertices [m] and triangles of each lesion at rest."""
    from twin_nodes.core.simulate.shapes import superellipsoid

    return {
        name: superellipsoid(place, np.full(3, LESION_RADIUS), exponent=1.0, rings=10)
        for name, place in LESIONS.items()
    }
