"""Trials of the chain of Twin-S: every tie calibrated anew from noisy measurements, then the tip located through it."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.pivot import solve_pivot
from twin_nodes.core.calibration.robot_world import solve_robot_world
from twin_nodes.core.geometry.chain import Link, LinkCost, compose_chain, inverted
from twin_nodes.core.geometry.covariance import square_root
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, random_transform
from twin_nodes.core.registration.fiducial_exclusion import register_excluding
from twin_nodes.core.simulate.twin_s import (
    CAMERA_SPHERES,
    DRILL_SPHERES,
    DRILL_TIP,
    PHANTOM_SPHERES,
    Chessboard,
    MarkerBody,
    TwinSNoise,
    TwinSScene,
    calibration_views,
    draw_scene,
    pivot_poses,
)
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.filter import PoseFilter, PoseFilterConfig
from twin_nodes.core.tracking.filter_trial import HandMotion

RATE_HZ = 60.0
PIVOT_POSES, VIEWS, STREAM = 300, 200, 90
TOUCH_SAMPLES = 30
START_NS = 1_000 * NANOSECONDS
# Landmarks of the anatomy [m], shape (6, 3): the size of a temporal bone with the face beside it.
LANDMARKS = 1e-3 * np.array(
    [[30, 0, 12], [-24, 28, 4], [-20, -33, 8], [35, 38, -18], [42, -30, -12], [-5, 2, 40]], float
)


@dataclass(frozen=True, eq=False)
class Located:
    """A tip located through a chain, beside the truth.

    Args:
        error: Located minus true position [m], shape (3,).
        covariance: That the chain states for it [m²], shape (3, 3).
        costs: What each link adds.
    """

    error: Array
    covariance: Array
    costs: tuple[LinkCost, ...]

    @property
    def distance(self) -> float:
        """Length of the error [m]."""
        return float(np.linalg.norm(self.error))

    @property
    def nees(self) -> float:
        """Normalised error squared; χ² with 3 degrees of freedom when the covariance is right."""
        return float(self.error @ np.linalg.solve(self.covariance, self.error))


@dataclass(frozen=True, eq=False)
class ChainTrial:
    """One room.

    Args:
        camera: The tip in the camera, from one measured pose of each marker, as Twin-S uses them.
        camera_filtered: The same from filtered poses of a drill and a camera in the hand; None where not asked for.
        anatomy_filtered: The tip in the anatomy, from filtered poses; None where not asked for.
    """

    camera: Located
    camera_filtered: Located | None
    anatomy_filtered: Located | None


def run_trial(rng: np.random.Generator, noise: TwinSNoise, *, filtered: bool = True) -> ChainTrial:
    """Draw a room, calibrate its ties from measurements, track drill, camera and skull, and locate the tip.

    Args:
        rng: Source of room and noise.
        noise: What is noisy.
        filtered: Whether to run the pose filters and the registration too; one pose of each marker costs less.
    """
    scene = draw_scene(rng)
    drill, marker = MarkerBody(DRILL_SPHERES, noise.sphere), MarkerBody(CAMERA_SPHERES, noise.sphere)
    tip = calibrate_tip(rng, drill)
    hand_eye = calibrate_camera(rng, scene, marker, noise)
    seen_drill = _measure('drill tracking', rng, drill, scene.tracker_T_drill)
    seen_camera = _measure('camera tracking', rng, marker, scene.tracker_T_marker)
    tip_tracker = np.append(scene.tip_tracker, 1.0)
    tip_camera = (inverse(scene.tracker_T_marker @ scene.marker_T_camera) @ tip_tracker)[:3]
    single = _locate((inverted(hand_eye), inverted(seen_camera), seen_drill, tip), tip_camera)
    if not filtered:
        return ChainTrial(single, None, None)
    phantom = MarkerBody(PHANTOM_SPHERES, noise.sphere)
    registration = register_phantom(rng, scene, drill, phantom, noise)
    held_drill = _track('drill tracking', rng, drill, _in_hand(rng, scene.tracker_T_drill))
    held_camera = _track('camera tracking', rng, marker, _in_hand(rng, scene.tracker_T_marker))
    skull = _track('skull tracking', rng, phantom, np.broadcast_to(scene.tracker_T_phantom, (STREAM, 4, 4)))
    tip_anatomy = (inverse(scene.tracker_T_phantom @ scene.phantom_T_anatomy) @ tip_tracker)[:3]
    return ChainTrial(
        single,
        _locate((inverted(hand_eye), inverted(held_camera), held_drill, tip), tip_camera),
        _locate((inverted(registration), inverted(skull), held_drill, tip), tip_anatomy),
    )


def calibrate_tip(rng: np.random.Generator, drill: MarkerBody) -> Link:
    """Pivot the drill and return drill_T_tip with its covariance."""
    result = solve_pivot(drill.measure(rng, pivot_poses(rng, PIVOT_POSES)))
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = result.tip_covariance
    return Link('pivot calibration', make_transform(np.eye(3), result.tip_tool), covariance)


def calibrate_camera(rng: np.random.Generator, scene: TwinSScene, marker: MarkerBody, noise: TwinSNoise) -> Link:
    """Look at a board from all sides and return marker_T_camera with its covariance."""
    tracker_T_marker, camera_T_board = calibration_views(rng, scene, VIEWS)
    seen = Chessboard(noise=noise.corner).measure(rng, camera_T_board)
    result = solve_robot_world(marker.measure(rng, tracker_T_marker), inverse(seen))
    return Link('hand-eye calibration', result.hand_T_eye, result.covariance)


def register_phantom(
    rng: np.random.Generator, scene: TwinSScene, pointer: MarkerBody, phantom: MarkerBody, noise: TwinSNoise
) -> Link:
    """Touch the landmarks with a pointer that was pivoted for it and return phantom_T_anatomy with its covariance."""
    tip = calibrate_tip(rng, pointer)
    landmarks = LANDMARKS @ scene.phantom_T_anatomy[:3, :3].T + scene.phantom_T_anatomy[:3, 3]
    touched, common = [], []
    for landmark in landmarks + rng.normal(0.0, noise.touch / np.sqrt(3.0), landmarks.shape):
        tracker_T_pointer = scene.tracker_T_phantom @ make_transform(random_transform(rng)[:3, :3], landmark)
        tracker_T_pointer[:3, 3] -= tracker_T_pointer[:3, :3] @ DRILL_TIP
        many = np.broadcast_to(tracker_T_pointer, (TOUCH_SAMPLES, 4, 4))
        skull = np.broadcast_to(scene.tracker_T_phantom, (TOUCH_SAMPLES, 4, 4))
        phantom_T_pointer = inverse(phantom.measure(rng, skull)) @ pointer.measure(rng, many)
        touched.append((phantom_T_pointer @ tip.a_T_b)[:, :3, 3].mean(axis=0))
        common.append(phantom_T_pointer[0, :3, :3] @ square_root(tip.covariance[:3, :3]))
    result = register_excluding(np.array(touched), LANDMARKS, common=np.array(common))
    return Link('registration', result.patient_T_anatomy, result.covariance)


def _in_hand(rng: np.random.Generator, tracker_T_body: Array) -> Array:
    """True poses (n, 4, 4) of a body in the hand that ends where it is to be."""
    motion = HandMotion().draw(rng, STREAM, RATE_HZ)
    return np.asarray(tracker_T_body @ inverse(motion[-1]) @ motion)


def _measure(name: str, rng: np.random.Generator, body: MarkerBody, truth: Array) -> Link:
    """Return one pose as measured, with its covariance."""
    pose = body.measure(rng, truth[None])[0]
    return Link(name, pose, body.covariance(pose))


def _track(name: str, rng: np.random.Generator, body: MarkerBody, truth: Array) -> Link:
    """Return the last of many poses as the pose filter has it, with the filter's covariance."""
    rotation_noise = float(np.sqrt(np.trace(body.covariance(truth[0])[3:, 3:])))
    pose_filter = PoseFilter(PoseFilterConfig(rotation_noise=rotation_noise))
    for index, pose in enumerate(body.measure(rng, truth)):
        stamp_ns = START_NS + round(index * NANOSECONDS / RATE_HZ)
        result = pose_filter.add(stamp_ns, pose, body.covariance(pose))
    return Link(name, result.tracker_T_tool, result.covariance)


def _locate(links: tuple[Link, Link, Link, Link], truth: Array) -> Located:
    chain = compose_chain(links)
    return Located(chain.start_T_end[:3, 3] - truth, chain.covariance[:3, :3], chain.costs)
