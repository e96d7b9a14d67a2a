"""Looks at the structures from where the tip is and from where it will be."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.chain import Chain
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.guidance.clearance import ClearanceMonitor
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.operator_model import HORIZONS
from twin_nodes.core.guidance.prediction.predictor import PredictedPose
from twin_nodes.core.guidance.prediction.steered import SteeredPredictor
from twin_nodes.core.guidance.time_to_contact import AlarmConfig, Outlook, outlook

_OUTSIDE = 1e-6  # m; a tool that will be inside is near now, and inside only when it is measured there
_FURTHEST = float(HORIZONS[-1])


@dataclass(frozen=True, eq=False)
class View:
    """What is seen at one instant.

    Args:
        pose: Predicted anatomy_T_tip, shape (4, 4).
        covariance: Its covariance in anatomy axes, of chain and prediction, which are independent, shape (6, 6).
        velocity: Of the tip, linear [m/s] and angular [rad/s], in anatomy axes, shape (6,).
        rows: What `ClearanceMonitor.survey` found there.
        distances: At the measured pose [m], by structure.
        nearness: The lesser of measured and predicted distance [m]; below zero only when measured so.
        outlooks: What lies ahead, by structure.
    """

    pose: Array
    covariance: Array
    velocity: Array
    rows: Array
    distances: dict[str, float]
    nearness: dict[str, float]
    outlooks: dict[str, Outlook]


class Lookout:
    """Predicts the tip in the patient, and looks from there.

    The tip is predicted in the axes of the patient: so neither a new registration nor a moving patient is a motion of
    the tool.

    Args:
        config: Horizon and learning.
        alarms: Lead.
    """

    def __init__(self, config: PredictionConfig, alarms: AlarmConfig) -> None:
        self._config = config
        self._alarms = alarms
        self._predictor = SteeredPredictor(config)
        self._tool_T_tip: Array | None = None
        self.latency = 0.0

    @property
    def ahead(self) -> float:
        """How long after the stamp the advice holds: latency and what the settings add [s]; at most the furthest."""
        return min(self._config.ahead + self.latency, _FURTHEST)

    def reset(self) -> None:
        """Forget the motion."""
        self._predictor.reset()

    def add(self, stamp_ns: int, patient_T_tip: Array, tool_T_tip: Array) -> None:
        """Take in where the tip is; another calibration of the tip begins the motion anew."""
        if self._tool_T_tip is None or not np.array_equal(tool_T_tip, self._tool_T_tip):
            self._tool_T_tip = tool_T_tip
            self._predictor.reset()
        newest = self._predictor.stamp_ns
        if newest is not None and stamp_ns <= newest:
            self._predictor.reset()
        self._predictor.add(stamp_ns, patient_T_tip)

    @property
    def lag(self) -> float | None:
        """How late the tool follows its set point [s]; None while that is not known."""
        return self._predictor.lag

    def steer(self, stamp_ns: int, patient_T_setpoint: Array) -> None:
        """Take in where a robot is told to bring the tip.

        Raises:
            InputError: STAMP_BACKWARD; NOT_FINITE. Nothing is changed.
        """
        self._predictor.steer(stamp_ns, patient_T_setpoint)

    def look(self, monitor: ClearanceMonitor, tip: Chain, patient_T_anatomy: Array) -> View:
        """Look at all structures.

        Args:
            monitor: The structures.
            tip: Measured pose of the tip in the anatomy.
            patient_T_anatomy: Registration, shape (4, 4).
        """
        ahead, end = self.ahead, min(self.ahead + self._alarms.lead, _FURTHEST)
        times = (ahead, 0.5 * (ahead + end), end) if end > ahead else (ahead,)
        places = [_seen_from(patient_T_anatomy, one) for one in self._predictor.predict(*times)]
        rows = np.stack([monitor.survey(pose, tip.covariance, spread) for pose, spread in places])
        now = monitor.survey(tip.start_T_end, tip.covariance)[:, 0].tolist()
        after = tuple(time - ahead for time in times)
        distances, nearness, outlooks = {}, {}, {}
        for index, structure in enumerate(monitor.structures):
            name, seen = structure.name, rows[:, index].T.tolist()
            distances[name] = now[index]
            nearness[name] = min(now[index], max(seen[0][0], _OUTSIDE))
            outlooks[name] = outlook(after, tuple(seen[0]), tuple(seen[9]), self._alarms.lookahead)
        turned = self._predictor.velocity.reshape(2, 3) @ patient_T_anatomy[:3, :3]
        pose, spread = places[0]
        return View(pose, tip.covariance + spread, turned.ravel(), rows[0], distances, nearness, outlooks)


def _seen_from(patient_T_anatomy: Array, one: PredictedPose) -> tuple[Array, Array]:
    """Pose of a predicted tip in the anatomy, and the covariance of the prediction alone in its axes."""
    pose = np.ascontiguousarray(inverse(patient_T_anatomy) @ one.pose)
    anatomy_R_patient = patient_T_anatomy[:3, :3].T
    turn = np.zeros((6, 6))
    turn[:3, :3] = turn[3:, 3:] = anatomy_R_patient
    return pose, np.ascontiguousarray(turn @ one.covariance @ turn.T)
