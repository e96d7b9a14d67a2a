"""A correction of the source's systematic error on the way of a sample."""

import numpy as np

from twin_nodes.core.calibration.distortion import CorrectedPose
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.tracking.clock import ClockConfig
from twin_nodes.core.tracking.pipeline import TrackingPipeline
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus, TrackerFrame
from twin_nodes.core.tracking.results import SampleDropped, TrackedPose
from twin_nodes.core.tracking.tracking_config import TrackingConfig

ADDED = np.diag([1e-6] * 3 + [1e-4] * 3)
CONFIG = TrackingConfig(tools=('probe', 'stylus'), clock=ClockConfig(mode='device'))


class Shifted:
    """5 mm along x and a turn, known for x below 1 m."""

    def correct(self, tracker_T_sensor):
        if tracker_T_sensor[0, 3] > 1.0:
            raise InputError('outside', code='OUTSIDE_CALIBRATION')
        moved = make_transform(rotation_exp([0.0, 0.0, 0.1]) @ tracker_T_sensor[:3, :3], tracker_T_sensor[:3, 3])
        moved[0, 3] += 0.005
        return CorrectedPose(moved, ADDED)


def frame(index, x=0.2, pose=None):
    pose = make_transform(np.eye(3), [x, 0.0, -1.0]) if pose is None else pose
    stamp_ns = 1_000_000_000 + index * 20_000_000
    other = make_transform(np.eye(3), [-0.2, 0.0, -1.0])
    readings = tuple(ToolReading(name, ToolStatus.TRACKED, p) for name, p in (('probe', pose), ('stylus', other)))
    return TrackerFrame(stamp_ns, stamp_ns, readings)


def test_position_rotation_and_covariance_are_corrected_of_that_tool_only():
    plain, mended = TrackingPipeline(CONFIG), TrackingPipeline(CONFIG, {'probe': Shifted()})
    for index in range(20):
        (raw, same), (probe, stylus) = plain.feed(frame(index)), mended.feed(frame(index))
    assert isinstance(probe, TrackedPose) and isinstance(raw, TrackedPose)
    for pose in (probe.filtered, probe.measured):
        np.testing.assert_allclose(pose[:3, 3], [0.205, 0.0, -1.0], atol=1e-9)
        np.testing.assert_allclose(pose[:3, :3], rotation_exp([0.0, 0.0, 0.1]), atol=1e-9)
    # the same noise goes through the filter; what the correction does not know is no noise, and does not average out
    assert np.all(np.diag(probe.covariance) > np.diag(ADDED))
    np.testing.assert_allclose(probe.covariance[:3, :3] - ADDED[:3, :3], raw.covariance[:3, :3], rtol=1e-3, atol=1e-10)
    np.testing.assert_array_equal(stylus.filtered, same.filtered)
    np.testing.assert_array_equal(stylus.covariance, same.covariance)


def test_outside_nothing_is_published_and_a_code_is_counted():
    mended = TrackingPipeline(CONFIG, {'probe': Shifted()})
    probe, stylus = mended.feed(frame(0, x=1.2))
    assert isinstance(probe, SampleDropped) and probe.code == 'OUTSIDE_CALIBRATION'
    assert isinstance(stylus, TrackedPose)
    assert mended.health()['probe'].counts == {'OUTSIDE_CALIBRATION': 1}


def test_what_is_no_pose_never_reaches_the_correction():
    mended = TrackingPipeline(CONFIG, {'probe': Shifted()})
    probe, _ = mended.feed(frame(0, pose=np.full((4, 4), np.nan)))
    assert probe.code == 'NOT_FINITE'


def test_an_offset_shifts_the_stamps_and_widens_what_moves():
    plain, shifted = TrackingPipeline(CONFIG), TrackingPipeline(CONFIG, shift_ns=-37_000_000, shift_sigma=0.002)
    for index in range(60):
        moving = frame(index, x=0.01 * index)  # 0.5 m/s
        (raw, _), (probe, rest) = plain.feed(moving), shifted.feed(moving)
    assert probe.stamp_ns == raw.stamp_ns - 37_000_000
    added = probe.covariance - raw.covariance
    np.testing.assert_allclose(added[0, 0], (0.002 * 0.5) ** 2, rtol=0.1)
    assert np.sqrt(rest.covariance[0, 0]) < 1e-3
