"""The poses of a tool and a patient with known truth, said by a probe as a tracker_node would."""

import time

import numpy as np

from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp
from twin_nodes.ros.conversions import pose_with_covariance

MS = 1_000_000
TOOL_T_TIP = make_transform(np.eye(3), [-0.018, 0.011, -0.152])
PATIENT_T_ANATOMY = make_transform(rotation_exp([0.3, -1.1, 0.7]), [0.062, -0.041, -0.085])
TRACKER_T_PATIENT = make_transform(rotation_exp([1.2, 0.4, -0.3]), [0.08, -0.12, -1.45])
COVARIANCE = np.diag([4e-9] * 3 + [1.2e-7] * 3)
TIE_COVARIANCE = np.diag([1e-8] * 3 + [1e-8] * 3)


class Streams:
    """Says `drill/filtered_cp` and `patient/filtered_cp` at rising stamps, all in the past."""

    def __init__(self, probe, *, period_ms=10):
        self.probe = probe
        self.period_ns = period_ms * MS
        self.stamp_ns = time.time_ns() - 3600 * 1000 * MS
        self._breath = 0

    def _patient(self):
        """The patient breathes: 2 mm, so that a lost or stale reference shows in the distances."""
        self._breath += 1
        moved = TRACKER_T_PATIENT.copy()
        moved[1, 3] += 0.002 * np.sin(0.05 * self._breath)
        return moved

    def say(self, anatomy_T_tip, *, patient=True, tool=True, tool_frame='tracker', patient_frame='tracker'):
        """Say one instant with the tip there; returns its stamp."""
        self.stamp_ns += self.period_ns
        tracker_T_patient = self._patient()
        tracker_T_tool = tracker_T_patient @ PATIENT_T_ANATOMY @ anatomy_T_tip @ inverse(TOOL_T_TIP)
        for said, topic, frame, pose in (
            (patient, 'patient', patient_frame, tracker_T_patient),
            (tool, 'drill', tool_frame, tracker_T_tool),
        ):
            if said:
                self.probe.say(f'{topic}/filtered_cp', pose_with_covariance(self.stamp_ns, frame, pose, COVARIANCE))
        return self.stamp_ns

    def say_ties(self, *, tip=True, registration=True):
        """Say the latched calibration and registration."""
        if tip:
            self.probe.say_latched('calibration/drill', pose_with_covariance(1, 'drill', TOOL_T_TIP, TIE_COVARIANCE))
        if registration:
            message = pose_with_covariance(1, 'patient', PATIENT_T_ANATOMY, TIE_COVARIANCE)
            self.probe.say_latched('registration', message)


def tip_at(*position):
    """anatomy_T_tip with the tip at a position and the axes of the anatomy."""
    return make_transform(np.eye(3), position)
