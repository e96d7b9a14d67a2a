"""A patient that moves against its reference body is noticed; stillness is no alarm, a slip is no drift."""

from functools import cache

import numpy as np
import pytest

from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.codes import CODES
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import random_transform, rotation_exp, transform_points
from twin_nodes.core.registration.combined import register_swab
from twin_nodes.core.registration.drift import DriftConfig, DriftMonitor, DriftState, Watched
from twin_nodes.core.registration.paired_points import register_paired_points
from twin_nodes.core.registration.surface_target import SurfaceTarget
from twin_nodes.core.registration.tip_share import tip_in_points
from twin_nodes.core.simulate.organ import organ, sample_organ

FLE, TIP = 0.5e-3, 0.3e-3  # RMS of a touch's length; σ of each axis of the tip
NAMES = ('mastoid', 'zygoma', 'notch', 'vertex', 'canal', 'inion')
LANDMARKS = np.array(
    [[0.03, 0.0, 0.0], [-0.02, 0.041, 0.005], [0.0, -0.035, 0.02], [0.012, 0.015, 0.052], [-0.04, -0.012, 0.031],
     [0.02, -0.03, -0.04]]
)  # fmt: skip


class Patient:
    """Landmarks touched for a registration and again afterwards, with one tip whose calibration is a little off."""

    def __init__(self, seed, count=6):
        self.rng = np.random.default_rng(seed)
        self.truth = random_transform(self.rng, max_distance=0.3)
        self.tip = self.rng.normal(0.0, TIP, 3)
        self.moved = np.eye(4)
        self.count = count
        touches = [self.touch(index) for index in range(count)]
        common = np.array([error for _, error in touches])
        result = register_paired_points(np.array([p for p, _ in touches]), LANDMARKS[:count], common=common)
        shared = tip_in_points(result.patient_T_anatomy, LANDMARKS[:count], common)
        self.monitor = DriftMonitor(NAMES[:count], LANDMARKS[:count])
        self.monitor.watch(Watched(result.patient_T_anatomy, result.covariance, result.fle_rms, 3 * count - 6, shared))

    def touch(self, index):
        turn = rotation_exp(0.5 * self.rng.normal(size=3))
        place = transform_points(self.moved @ self.truth, LANDMARKS[index][None])[0]
        return place + self.rng.normal(0.0, FLE / np.sqrt(3.0), 3) + turn @ self.tip, turn * TIP

    def bump(self, distance):
        way = self.rng.normal(size=3)
        self.moved[:3, 3] = distance * way / np.linalg.norm(way)

    def check(self, stamp=0):
        index = int(self.rng.integers(self.count))
        position, error = self.touch(index)
        assert self.monitor.nearest(position) == index
        return self.monitor.touch(stamp, index, position, error)

    def drifted_after(self, touches):
        for number in range(touches):
            if self.check(number).state is DriftState.DRIFTED:
                return number + 1
        return 0


def test_false_alarms_are_rare():
    # 1,000 registrations, each checked ten times: at most 1 % are called drifted though nothing moved.
    false = sum(bool(Patient(seed, 4 + seed % 3).drifted_after(10)) for seed in range(1000))
    assert false <= 10


def test_two_millimetres_are_noticed_within_a_few_touches():
    touches = []
    for seed in range(200):
        patient = Patient(1000 + seed)
        for number in range(3):
            patient.check(number)
        patient.bump(0.002)
        touches.append(patient.drifted_after(12))
    assert all(touches)
    assert np.median(touches) <= 3.0 and np.quantile(touches, 0.95) <= 6.0


def test_one_slip_is_suspect_but_never_a_drift():
    for seed in range(100):
        patient = Patient(2000 + seed)
        patient.check()
        position, error = patient.touch(2)
        finding = patient.monitor.touch(1, 2, position + np.array([0.006, 0.0, 0.0]), error)
        assert finding.state is DriftState.SUSPECT and 'touch another landmark' in finding.message
        assert patient.drifted_after(6) == 0
    assert patient.monitor.state is DriftState.OK


def test_a_drift_is_kept_until_another_registration_is_watched():
    patient = Patient(5)
    patient.bump(0.004)
    assert patient.drifted_after(6)
    patient.moved[:3, 3] = 0.0
    finding = patient.check()
    assert finding.state is DriftState.DRIFTED and 'register anew' in finding.message
    patient.monitor.watch(Watched(patient.truth, np.eye(6) * 1e-8))
    assert patient.monitor.state is DriftState.OK


def test_the_same_constant_error_is_no_drift_however_often_it_is_touched():
    # One landmark of a registration that is 1 σ off, touched fifty times: fifty touches are not fifty witnesses.
    patient = Patient(6)
    for stamp in range(50):
        position, error = patient.touch(0)
        assert patient.monitor.touch(stamp, 0, position, error).state is DriftState.OK


def test_the_frame_of_the_patient_does_not_matter():
    first, other = Patient(7), random_transform(np.random.default_rng(1))
    watched = first.monitor._watched
    adjoint = np.zeros((6, 6))
    adjoint[:3, :3] = adjoint[3:, 3:] = other[:3, :3]
    second = DriftMonitor(NAMES, LANDMARKS)
    # a pose error is one of the origin of the anatomy in the axes of the parent, so that it only turns with the frame
    second.watch(Watched(other @ watched.patient_T_anatomy, adjoint @ watched.covariance @ adjoint.T,
                         watched.fle_rms, watched.freedom, adjoint @ watched.shared))  # fmt: skip
    first.bump(0.0015)
    for stamp in range(5):
        position, error = first.touch(stamp)
        one = first.monitor.touch(stamp, stamp, position, error)
        two = second.touch(stamp, stamp, transform_points(other, position[None])[0], other[:3, :3] @ error)
        assert two.evidence == pytest.approx(one.evidence, abs=1e-6)
        assert two.state is one.state


@cache
def target():
    return SurfaceTarget.from_surface(make_surface('organ', *organ(4000)), spacing=0.002)


def swabbed(rng, truth, shift=0.0, count=200):
    points = transform_points(truth, sample_organ(count, rng, view=rng.normal(size=3)))
    return points + np.array([shift, 0.0, 0.0]) + rng.normal(0.0, 0.5e-3, (count, 3))


def test_swabs_tell_a_drift_too():
    rng = np.random.default_rng(8)
    noticed = []
    for _ in range(12):
        truth = random_transform(rng, max_distance=0.3)
        result = register_swab(swabbed(rng, truth, count=400), target(), start=truth)
        monitor = DriftMonitor((), np.empty((0, 3)))
        monitor.about(target().surface.vertices.mean(axis=0))
        monitor.watch(Watched(result.patient_T_anatomy, result.covariance))
        for stamp in range(3):
            assert monitor.swab(stamp, swabbed(rng, truth), target()).state is DriftState.OK
        states = [monitor.swab(stamp, swabbed(rng, truth, 0.002), target()).state for stamp in range(6)]
        noticed.append(DriftState.DRIFTED in states)
    assert all(noticed)


def test_what_tells_nothing_is_refused():
    monitor = DriftMonitor(NAMES, LANDMARKS)
    with pytest.raises(InputError, match='no registration is watched') as failure:
        monitor.touch(1, 0, np.zeros(3))
    assert failure.value.code == 'NOT_REGISTERED'
    assert monitor.nearest(np.zeros(3)) is None
    patient = Patient(9)
    with pytest.raises(InputError, match='finite'):
        patient.monitor.touch(1, 0, np.array([np.nan, 0.0, 0.0]))
    assert patient.monitor.nearest(np.array([5.0, 0.0, 0.0])) is None
    rng = np.random.default_rng(10)
    with pytest.raises(DegenerateGeometryError, match='0 of 200 swabbed points lie within 10 mm'):
        patient.monitor.swab(1, swabbed(rng, patient.truth) + 1.0, target())
    with pytest.raises(InputError, match='finite'):
        patient.monitor.swab(1, np.full((30, 3), np.nan), target())
    with pytest.raises(ConfigError, match='suspect'):
        DriftConfig(suspect=7.0)


def test_states_have_codes():
    assert all(state.code in CODES for state in DriftState)
