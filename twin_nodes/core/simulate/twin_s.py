"""The room of Twin-S (Shu and others, IJCARS 18:1077, 2023) with known truth: tracker, drill, skull, camera.

Distances and marker bodies are the published ones: drill at 1,000 mm and camera marker at 1,200 mm from the tracker, a
hand-eye lever of 170 mm, the tip 250 mm before the camera, 0.11 mm of tracker noise. The noise is that of each sphere,
so that a pose has the errors that its marker body gives it. The camera sees a chessboard with noisy corners.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, random_transform, rotation_exp, skew
from twin_nodes.core.registration.batch import fit_rigid_batch
from twin_nodes.core.registration.paired_points import point_jacobians

DRILL_DISTANCE, CAMERA_DISTANCE, LEVER, WORKING_DISTANCE = 1.0, 1.2, 0.17, 0.25
ANATOMY_LEVER = 1e-3 * np.array([-56.0, -96.0, 4.0])

# Centres of the spheres of each marker body and the tip of the drill [m], after the published geometry files, to 1 mm.
DRILL_SPHERES = 1e-3 * np.array([[-8, 47, 1], [29, -5, 1], [-22, -10, -1], [1, -33, 0]], float)
CAMERA_SPHERES = 1e-3 * np.array([[-16, 27, 2], [49, 19, 10], [-37, -6, -6], [4, -40, -6]], float)
PHANTOM_SPHERES = 1e-3 * np.array([[47, 9, -42], [-79, 4, -42], [-35, 2, -23], [10, -6, 33], [57, -9, 73]], float)
DRILL_TIP = 1e-3 * np.array([-19.0, 151.0, 59.0])


@dataclass(frozen=True)
class TwinSNoise:
    """What is noisy, and by how much.

    Args:
        sphere: Error of a tracked sphere, RMS of its length [m].
        corner: Error of a chessboard corner on each axis of the image [px].
        touch: How far a touched point lies beside its landmark, RMS of its length [m].
    """

    sphere: float = 0.11e-3
    corner: float = 0.2
    touch: float = 0.25e-3


@dataclass(frozen=True, eq=False)
class MarkerBody:
    """Spheres on a rigid body, and the covariance of its pose from their noise.

    Args:
        spheres: Their centres in the body [m], shape (n, 3).
        noise: Of a sphere, RMS of its length [m].
    """

    spheres: Array
    noise: float

    def measure(self, rng: np.random.Generator, tracker_T_body: Array) -> Array:
        """Return measured poses (b, 4, 4) [m]: the registration of noisy spheres, for true poses (b, 4, 4)."""
        seen = np.einsum('bij,nj->bni', tracker_T_body[:, :3, :3], self.spheres) + tracker_T_body[:, None, :3, 3]
        return fit_rigid_batch(seen + rng.normal(0.0, self.noise / np.sqrt(3.0), seen.shape), self.spheres)

    def covariance(self, tracker_T_body: Array) -> Array:
        """Return the covariance (6, 6) of a measured pose, in tracker axes."""
        jacobians = point_jacobians(tracker_T_body, self.spheres).reshape(-1, 6)
        return np.asarray(np.linalg.inv(jacobians.T @ jacobians) * self.noise**2 / 3.0)


@dataclass(frozen=True)
class Chessboard:
    """A chessboard and the camera that sees it.

    Args:
        columns: Inner corners along x.
        rows: Inner corners along y.
        square: Edge of a square [m].
        focal: Focal length of the camera [px].
        noise: Of a corner on each axis [px].
    """

    columns: int = 9
    rows: int = 6
    square: float = 0.009
    focal: float = 1100.0
    noise: float = 0.2

    def measure(self, rng: np.random.Generator, camera_T_board: Array) -> Array:
        """Return measured poses (b, 4, 4) with the error that maximum likelihood makes of noisy corners."""
        errors = np.array([np.linalg.cholesky(self.covariance(pose)) @ rng.normal(size=6) for pose in camera_T_board])
        rotations = rotation_exp(errors[:, 3:]) @ camera_T_board[:, :3, :3]
        return make_transform(rotations, camera_T_board[:, :3, 3] + errors[:, :3])

    def covariance(self, camera_T_board: Array) -> Array:
        """Return the Cramér–Rao bound (6, 6) of the pose in camera axes."""
        x, y = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        corners = np.stack(
            [x.ravel() - (self.columns - 1) / 2, y.ravel() - (self.rows - 1) / 2, 0.0 * x.ravel()], axis=1
        )
        turned = corners * self.square @ camera_T_board[:3, :3].T
        points = turned + camera_T_board[:3, 3]
        image = np.zeros((len(points), 2, 3))
        image[:, 0, 0] = image[:, 1, 1] = self.focal / points[:, 2]
        image[:, :, 2] = -self.focal * points[:, :2] / points[:, 2:] ** 2
        moved = np.concatenate([np.broadcast_to(np.eye(3), (len(points), 3, 3)), -skew(turned)], axis=2)
        jacobian = (image @ moved).reshape(-1, 6)
        return np.asarray(np.linalg.inv(jacobian.T @ jacobian) * self.noise**2)


@dataclass(frozen=True, eq=False)
class TwinSScene:
    """True poses of one room; all transforms (4, 4) [m].

    Args:
        tracker_T_drill: Of the drill's marker.
        tracker_T_marker: Of the camera's marker.
        marker_T_camera: The hand-eye tie.
        tracker_T_phantom: Of the skull's marker.
        phantom_T_anatomy: The registration.
    """

    tracker_T_drill: Array
    tracker_T_marker: Array
    marker_T_camera: Array
    tracker_T_phantom: Array
    phantom_T_anatomy: Array

    @property
    def tip_tracker(self) -> Array:
        """The tip in the tracker [m], shape (3,)."""
        return np.asarray(self.tracker_T_drill[:3, :3] @ DRILL_TIP + self.tracker_T_drill[:3, 3])


def draw_scene(rng: np.random.Generator) -> TwinSScene:
    """Draw a room: distances as published, everything else as it may lie."""
    forward = np.array([0.0, 0.0, 1.0])
    tracker_T_drill = random_transform(rng)
    tracker_T_drill[:3, 3] = DRILL_DISTANCE * rotation_exp(rng.normal(0.0, 0.15, 3)) @ forward
    tip = tracker_T_drill[:3, :3] @ DRILL_TIP + tracker_T_drill[:3, 3]
    while True:
        camera = tip + WORKING_DISTANCE * _direction(rng)
        reach = float(np.linalg.norm(camera))
        cosine = (CAMERA_DISTANCE**2 - reach**2 - LEVER**2) / (2.0 * LEVER * reach)
        if abs(cosine) <= 1.0:
            break
    along = camera / reach
    across = np.cross(along, _direction(rng))
    across /= np.linalg.norm(across)
    marker = camera + LEVER * (cosine * along + np.sqrt(1.0 - cosine**2) * across)
    tracker_T_camera = make_transform(look_along(rng, tip - camera), camera)
    marker_R_camera = random_transform(rng)[:3, :3]
    tracker_T_marker = make_transform(tracker_T_camera[:3, :3] @ marker_R_camera.T, marker)
    phantom_T_anatomy = make_transform(rotation_exp(rng.normal(0.0, 1.0, 3)), ANATOMY_LEVER)
    tracker_T_anatomy = make_transform(random_transform(rng)[:3, :3], tip + rng.uniform(-0.015, 0.015, 3))
    tracker_T_phantom = tracker_T_anatomy @ inverse(phantom_T_anatomy)
    return TwinSScene(
        tracker_T_drill,
        tracker_T_marker,
        inverse(tracker_T_marker) @ tracker_T_camera,
        tracker_T_phantom,
        phantom_T_anatomy,
    )


def look_along(rng: np.random.Generator, direction: Array) -> Array:
    """Return a rotation (3, 3) whose z axis points along a direction (3,), turned about it as it may."""
    z = direction / np.linalg.norm(direction)
    x = np.cross(z, _direction(rng))
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def pivot_poses(rng: np.random.Generator, count: int) -> Array:
    """Return true poses tracker_T_drill (count, 4, 4) of a drill that turns about its resting tip, up to 40° and back.

    It tilts to all sides and turns about its shaft, as one does who follows the coverage meter.
    """
    start = random_transform(rng)[:3, :3]
    phase = np.linspace(0.0, 2.0 * np.pi, count)
    shaft = DRILL_TIP / np.linalg.norm(DRILL_TIP)
    first = np.cross(shaft, [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(shaft, first)
    tilt = 0.7 * np.sin(7.0 * phase)[:, None]
    turns = tilt * (np.cos(phase)[:, None] * first + np.sin(phase)[:, None] * second)
    rolls = 0.8 * np.sin(3.0 * phase)[:, None] * shaft
    rotations = start @ rotation_exp(turns) @ rotation_exp(rolls)
    dimple = np.array([0.0, 0.0, DRILL_DISTANCE])
    return make_transform(rotations, dimple - rotations @ DRILL_TIP)


def calibration_views(rng: np.random.Generator, scene: TwinSScene, count: int) -> tuple[Array, Array]:
    """Return true tracker_T_marker and camera_T_board (count, 4, 4) of a camera that sees a board from all sides."""
    tracker_T_board = random_transform(rng)
    tracker_T_board[:3, 3] = scene.tip_tracker
    poses = []
    for _ in range(count):
        tilt = rotation_exp(rng.uniform(-0.6, 0.6, 3) * [1.0, 1.0, 0.0]) @ [0.0, 0.0, 1.0]
        place = np.array([*rng.uniform(-0.02, 0.02, 2), 0.0]) - rng.uniform(0.2, 0.3) * tilt
        poses.append(make_transform(look_along(rng, tilt), place))
    board_T_camera = np.array(poses)
    return tracker_T_board @ board_T_camera @ inverse(scene.marker_T_camera), inverse(board_T_camera)


def _direction(rng: np.random.Generator) -> Array:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))
