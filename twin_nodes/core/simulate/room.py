"""A simulated operating room with known truth: a tracker, a patient that breathes and is bumped, a drill near a nerve.

Everything is a function of the time since the room's start and of the seed, so that any process can ask for the truth
at any instant and gets the same answer.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, rotation_exp
from twin_nodes.core.simulate.motion import Waypoint, minimum_jerk, position_along
from twin_nodes.core.simulate.shapes import Mesh, superellipsoid, tube

PATIENT, DRILL = 'patient', 'drill'


@dataclass(frozen=True)
class RoomConfig:
    """Settings of the simulated room; the defaults are an optical tracker of the usual accuracy."""

    seed: int = setting('Seed of all noise.', 1, minimum=0)
    rate_hz: float = setting('Frames of the tracker.', 60.0, unit='Hz', minimum=1.0, maximum=1000.0)
    position_noise: float = setting('RMS error of a position over three axes.', 0.00011, unit='m', minimum=0.0)
    rotation_noise: float = setting('RMS error of a rotation over three axes.', 0.0006, unit='rad', minimum=0.0)
    breathing_amplitude: float = setting('Half the breathing stroke.', 0.002, unit='m', minimum=0.0, maximum=0.05)
    breathing_period: float = setting('Length of a breath.', 4.0, unit='s', minimum=0.5)
    bump_time: float = setting('When the patient is bumped; negative for never.', 20.0, unit='s')
    bump_shift: float = setting('How far the bump moves the patient.', 0.006, unit='m', minimum=0.0, maximum=0.1)
    occlusion_every: float = setting('Period of the occlusions of the drill.', 5.0, unit='s', minimum=0.5)
    occlusion_time: float = setting('Length of an occlusion; 0 for none.', 0.3, unit='s', minimum=0.0)
    pivot_time: float = setting('How long the drill pivots in a divot.', 4.0, unit='s', minimum=0.0)
    dwell_time: float = setting('How long each landmark is touched.', 1.0, unit='s', minimum=0.1)
    travel_time: float = setting('How long a move between landmarks takes.', 0.6, unit='s', minimum=0.1)
    closest_approach: float = setting('Clearance of burr and nerve at the deepest.', 0.0008, unit='m')


class Phase(StrEnum):
    """What the simulated surgeon does."""

    PIVOT = 'pivot'
    LANDMARKS = 'landmarks'
    DRILL = 'drill'


@dataclass(frozen=True)
class RoomState:
    """The truth at one instant; poses in metres, shape (4, 4)."""

    phase: Phase
    tracker_T_patient: Array
    tracker_T_drill: Array
    anatomy_T_tip: Array
    drill_visible: bool


class Room:
    """The room: `truth` says how it is, `measure` how the tracker sees it."""

    drill_T_tip = make_transform(np.eye(3), [-0.018, 0.011, -0.152])
    patient_T_anatomy = make_transform(rotation_exp([0.3, -1.1, 0.7]), [0.062, -0.041, -0.085])
    burr_radius = 0.001
    nerve_radius = 0.0012
    centre = np.array([0.031, -0.047, 0.112])

    def __init__(self, config: RoomConfig) -> None:
        """Prepare structures, landmarks and the path of the drill."""
        self.config = config
        self._tracker_T_patient0 = make_transform(rotation_exp([1.2, 0.4, -0.3]), [0.08, -0.12, -1.45])
        self._bone_axes = np.array([0.045, 0.035, 0.030])
        self._fine_lines = self._centre_lines(2001)
        self.structures: dict[str, Mesh] = self._make_structures()
        self.landmarks: dict[str, Array] = self._make_landmarks()
        self._waypoints = self._make_waypoints()
        self.landmarks_start = config.pivot_time
        self.drill_start = config.pivot_time + len(self.landmarks) * (config.dwell_time + config.travel_time)

    def _make_structures(self) -> dict[str, Mesh]:
        tubes = {name: tube(line, radius) for name, (line, radius) in self._centre_lines(49).items()}
        return {'bone': superellipsoid(self.centre, self._bone_axes), **tubes}

    def _centre_lines(self, points: int) -> dict[str, tuple[Array, float]]:
        s = np.linspace(-1.0, 1.0, points)
        nerve = self.centre + np.column_stack([0.034 * s, 0.006 * np.sin(2.2 * s), -0.004 + 0.004 * s**2])
        artery = self.centre + np.column_stack([0.010 * np.cos(1.5 * s) - 0.021, 0.026 * s, -0.010 - 0.003 * s])
        return {'nerve': (nerve, self.nerve_radius), 'artery': (artery, 0.003)}

    def _make_landmarks(self) -> dict[str, Array]:
        vertices = self.structures['bone'][0]
        directions = {
            'mastoid tip': (0.9, -0.3, -0.5),
            'zygoma': (-0.8, 0.5, 0.3),
            'anterior notch': (0.2, 1.0, -0.1),
            'posterior notch': (-0.1, -1.0, 0.4),
            'vertex': (0.35, 0.2, 1.0),
            'lateral canal': (-0.7, -0.5, 0.7),
        }
        found = {}
        for name, direction in directions.items():
            aim = np.asarray(direction) / np.linalg.norm(direction)
            offset = (vertices - self.centre) / np.linalg.norm(vertices - self.centre, axis=1, keepdims=True)
            found[name] = vertices[int(np.argmax(offset @ aim))]
        return found

    def _make_waypoints(self) -> list[Waypoint]:
        c = self.config
        divot = self.centre + np.array([0.065, 0.01, 0.02])
        path = [Waypoint(0.0, c.pivot_time, divot)]
        time = c.pivot_time
        for point in self.landmarks.values():
            path.append(Waypoint(time + c.travel_time, time + c.travel_time + c.dwell_time, point))
            time += c.travel_time + c.dwell_time
        depth = -0.004 + self.nerve_radius + self.burr_radius + c.closest_approach
        entry = self.centre + np.array([0.0, 0.0, self._bone_axes[2] + 0.012])
        deepest = self.centre + np.array([0.0, 0.0, depth])
        for _ in range(200):
            path.append(Waypoint(time + 1.5, time + 1.8, entry))
            path.append(Waypoint(time + 5.3, time + 5.9, deepest))
            time += 5.9
        return path

    def truth(self, time_s: float) -> RoomState:
        """Return how the room is, time_s seconds after its start."""
        c = self.config
        breath = c.breathing_amplitude * np.sin(2.0 * np.pi * time_s / c.breathing_period)
        bumped = minimum_jerk((time_s - c.bump_time) / 0.2) if c.bump_time >= 0.0 else 0.0
        shift = np.array([0.3 * breath, breath, 0.0]) + c.bump_shift * bumped * np.array([0.6, 0.0, 0.8])
        tracker_T_patient = make_transform(
            rotation_exp([0.0, 0.02 * bumped, 0.0]) @ self._tracker_T_patient0[:3, :3],
            self._tracker_T_patient0[:3, 3] + shift,
        )
        anatomy_T_tip = self._anatomy_T_tip(time_s)
        tracker_T_drill = tracker_T_patient @ self.patient_T_anatomy @ anatomy_T_tip @ inverse(self.drill_T_tip)
        hidden = time_s >= self.drill_start and (
            (time_s - self.drill_start) % c.occlusion_every > c.occlusion_every - c.occlusion_time
        )
        if time_s < self.landmarks_start:
            phase = Phase.PIVOT
        else:
            phase = Phase.LANDMARKS if time_s < self.drill_start else Phase.DRILL
        return RoomState(phase, tracker_T_patient, tracker_T_drill, anatomy_T_tip, not hidden)

    def _anatomy_T_tip(self, time_s: float) -> Array:
        c = self.config
        pivoting = 1.0 - minimum_jerk((time_s - c.pivot_time + 0.5) / 0.5)
        tilt = 0.08 + 0.52 * pivoting * minimum_jerk(time_s / 0.8)
        swirl = 2.0 * np.pi * time_s / 2.6
        spin = 0.8 * np.sin(2.0 * np.pi * time_s / 5.3) * (0.15 + 0.85 * pivoting)
        rotation = rotation_exp([tilt * np.cos(swirl), tilt * np.sin(swirl), 0.0]) @ rotation_exp([0.0, 0.0, spin])
        position = position_along(self._waypoints, time_s)
        if time_s > self.drill_start:  # physiological tremor, 9 Hz
            wave = np.sin(2.0 * np.pi * np.array([9.0, 8.3, 9.6]) * time_s + np.array([0.0, 1.0, 2.0]))
            position = position + 0.00006 * minimum_jerk((time_s - self.drill_start) / 0.5) * wave
        return make_transform(rotation, position)

    def distance(self, structure: str, anatomy_T_tip: Array) -> float:
        """Return the true clearance [m] of the burr from the centre line of a tube, by its dense polyline."""
        centre_line, radius = self._fine_lines[structure]
        tip = anatomy_T_tip[:3, 3]
        start, segment = centre_line[:-1], np.diff(centre_line, axis=0)
        along = np.clip(np.einsum('ij,ij->i', tip - start, segment) / np.einsum('ij,ij->i', segment, segment), 0, 1)
        gap = np.linalg.norm(start + along[:, None] * segment - tip, axis=1).min()
        return float(gap) - radius - self.burr_radius

    def measure(self, frame: int) -> tuple[RoomState, dict[str, Array | None]]:
        """Return the truth and the measured tracker_T_tool of each tool (None when hidden) of a numbered frame."""
        state = self.truth(frame / self.config.rate_hz)
        rng = np.random.default_rng((self.config.seed, frame))
        noise = rng.normal(size=(2, 6)) / np.sqrt(3.0)
        measured: dict[str, Array | None] = {}
        for row, (tool, pose, visible) in enumerate(
            ((PATIENT, state.tracker_T_patient, True), (DRILL, state.tracker_T_drill, state.drill_visible))
        ):
            wobble = rotation_exp(self.config.rotation_noise * noise[row, 3:])
            position = pose[:3, 3] + self.config.position_noise * noise[row, :3]
            measured[tool] = make_transform(wobble @ pose[:3, :3], position) if visible else None
        return state, measured
