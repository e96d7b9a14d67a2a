"""The way of a sample: what is said of each tool, frame by frame."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.codes import CODES
from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.tracking.pipeline import TrackingPipeline
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus, TrackerFrame
from twin_nodes.core.tracking.results import SampleDropped, ToolLost, ToolState, TrackedPose
from twin_nodes.core.tracking.tracking_config import TrackingConfig

SECOND = 1_000_000_000
MS = 1_000_000
ROS0 = 1_700_000_000 * SECOND
DEVICE0 = 77 * SECOND
PERIOD = 16_666_667
CONFIG = TrackingConfig(tools=('stylus', 'patient'), device_names=('StylusToTracker', 'ReferenceToTracker'))
NOISE = np.random.default_rng(0).normal(size=(2, 2000, 6)) * [6e-5] * 6


def pose(tool, frame):
    noise = NOISE[tool, frame % 2000]
    place = np.array([0.2 * tool + 0.02 * np.sin(frame / 60.0), 0.1, -1.2])
    return make_transform(rotation_exp(noise[3:]), place + noise[:3])


def tracked(device, matrix):
    return ToolReading(device, ToolStatus.TRACKED, matrix)


def both(frame):
    return [tracked('StylusToTracker', pose(0, frame)), tracked('ReferenceToTracker', pose(1, frame))]


def at(frame, readings, *, complete=True, delay_ns=5 * MS):
    stamp = frame * PERIOD
    return TrackerFrame(DEVICE0 + stamp, ROS0 + stamp + delay_ns, tuple(readings), complete)


def warm(frames=20, config=CONFIG):
    pipeline = TrackingPipeline(config)
    results = [pipeline.feed(at(frame, both(frame))) for frame in range(frames)]
    return pipeline, results


def test_each_tool_gets_its_pose_in_ros_names_and_time():
    pipeline, results = warm(100)
    for frame, (stylus, patient) in enumerate(results):
        assert (stylus.tool, patient.tool) == ('stylus', 'patient')
        assert abs(stylus.stamp_ns - (ROS0 + frame * PERIOD + 5 * MS)) < MS
        np.testing.assert_allclose(stylus.measured, pose(0, frame), atol=1e-12)
        assert np.linalg.norm(stylus.filtered[:3, 3] - pose(0, frame)[:3, 3]) < 0.0005
        assert stylus.restarted == (frame == 0)
    health = pipeline.health()['stylus']
    assert health.state is ToolState.TRACKED and health.code == 'OK' and health.counts == {'OK': 100}
    assert health.rate.rate_hz == pytest.approx(60.0, rel=0.01)


def test_lost_tool_is_said_to_be_lost_in_that_very_frame_and_never_repeated():
    pipeline, _ = warm()
    for frame in range(20, 40):
        missing = ToolReading('StylusToTracker', ToolStatus.LOST, pose(0, 0), 'INVALID')
        lost, patient = pipeline.feed(at(frame, [missing, both(frame)[1]]))
        assert isinstance(lost, ToolLost) and (lost.code, lost.reason) == ('TOOL_LOST', 'INVALID')
        assert isinstance(patient, TrackedPose)
    assert pipeline.health()['stylus'].state is ToolState.LOST
    back, _ = pipeline.feed(at(40, both(40)))
    assert isinstance(back, TrackedPose) and back.restarted


def test_short_loss_does_not_restart_the_filter():
    pipeline, _ = warm()
    pipeline.feed(at(20, both(20)[1:]))
    assert not pipeline.feed(at(21, both(21)))[0].restarted


def test_tool_left_out_of_a_complete_frame_is_lost():
    pipeline, _ = warm()
    results = pipeline.feed(at(20, both(20)[1:]))
    assert [type(result) for result in results] == [TrackedPose, ToolLost]
    assert 'left the tool out' in results[1].reason


def test_tool_silent_in_a_source_of_single_messages_is_lost_after_the_limit():
    pipeline = TrackingPipeline(replace(CONFIG, lost_after=0.09))
    for frame in range(10):
        for item in both(frame):
            assert len(pipeline.feed(at(frame, [item], complete=False))) <= 2
    said = [pipeline.feed(at(frame, both(frame)[1:], complete=False)) for frame in range(10, 30)]
    lost = [frame for frame, results in enumerate(said, 10) if any(isinstance(r, ToolLost) for r in results)]
    assert lost == list(range(15, 30))  # six periods after frame 9
    assert pipeline.health()['stylus'].state is ToolState.LOST


def test_tool_never_seen_names_what_the_source_sends():
    pipeline = TrackingPipeline(CONFIG)
    results = pipeline.feed(at(0, [tracked('Stylus', pose(0, 0)), tracked('ReferenceToTracker', pose(1, 0))]))
    assert isinstance(results[1], ToolLost) and results[1].code == 'TOOL_NEVER_SEEN'
    assert results[1].reason.endswith('Stylus')
    assert pipeline.health()['stylus'].state is ToolState.NEVER_SEEN
    for number in range(100):
        pipeline.feed(at(number + 1, [tracked(f'Ghost{number}', pose(0, 0))]))
    assert len(pipeline.unknown) == 32 and pipeline.counts['UNKNOWN_DEVICE'] == 101


def test_tool_invalid_in_every_frame_publishes_nothing():
    pipeline = TrackingPipeline(CONFIG)
    for frame in range(97):
        invalid = ToolReading('StylusToTracker', ToolStatus.LOST, np.eye(4), 'INVALID')
        results = pipeline.feed(at(frame, [invalid, both(frame)[1]]))
        assert isinstance(results[0], ToolLost) and results[0].code == 'TOOL_LOST'
    assert pipeline.health()['stylus'].counts == {'TOOL_LOST': 97}


@pytest.mark.parametrize(
    ('spoil', 'code'),
    [
        (lambda m: m * np.nan, 'NOT_FINITE'),
        (lambda m: np.diag([1.0, 1.0, -1.0, 1.0]) @ m, 'NOT_A_ROTATION'),
        (lambda m: m + np.pad(999.0 * m[:3, 3:], ((0, 1), (3, 0))), 'UNIT_SUSPECT'),
        (lambda m: m + np.pad(np.full((3, 1), 0.2), ((0, 1), (3, 0))), 'GATED'),
    ],
)
def test_bad_sample_is_dropped_with_its_code_and_the_tool_goes_on(spoil, code):
    pipeline, _ = warm()
    bad = tracked('StylusToTracker', spoil(pose(0, 20)))
    dropped, patient = pipeline.feed(at(20, [bad, both(20)[1]]))
    assert isinstance(dropped, SampleDropped) and dropped.code == code and code in CODES
    assert isinstance(patient, TrackedPose)
    assert pipeline.health()['stylus'].counts[code] == 1
    good = pipeline.feed(at(21, both(21)))[0]
    assert isinstance(good, TrackedPose) and not good.restarted


def test_tool_whose_samples_stay_bad_is_lost():
    pipeline, _ = warm()
    for frame in range(20, 30):
        pipeline.feed(at(frame, [tracked('StylusToTracker', np.zeros((4, 4))), both(frame)[1]]))
    assert pipeline.health()['stylus'].state is ToolState.LOST


def test_swapped_markers_are_held_as_long_as_they_last():
    pipeline, _ = warm(60)
    for frame in range(60, 180):  # two seconds
        stylus, patient = both(frame)
        swapped = [replace(stylus, tracker_T_tool=pose(1, frame)), replace(patient, tracker_T_tool=pose(0, frame))]
        results = pipeline.feed(at(frame, swapped))
        assert [result.code for result in results] == ['GATED', 'GATED']
        assert 'swapped markers?' in results[0].reason
    assert pipeline.health()['stylus'].counts['SWAPPED'] == 120
    back = pipeline.feed(at(180, both(180)))
    assert all(isinstance(result, TrackedPose) for result in back)


def test_stuck_source_is_said_and_used():
    pipeline = TrackingPipeline(CONFIG)
    for frame in range(20):
        results = pipeline.feed(at(frame, [tracked('StylusToTracker', np.eye(4)), both(frame)[1]]))
        assert isinstance(results[0], TrackedPose)
    assert results[0].warning.code == 'STUCK' and results[1].warning is None
    assert pipeline.health()['stylus'].counts['OK'] == 20


def test_duplicate_late_and_old_stamps():
    pipeline, _ = warm(30)
    pipeline.feed(at(31, both(31)))
    duplicate = pipeline.feed(at(31, both(31), delay_ns=6 * MS))
    assert [result.code for result in duplicate] == ['STAMP_DUPLICATE'] * 2
    assert pipeline.feed(at(30, both(30), delay_ns=30 * MS)) == []
    assert pipeline.health()['stylus'].counts['LATE'] == 1
    old = pipeline.feed(at(5, both(5), delay_ns=500 * MS))
    assert [result.code for result in old] == ['STAMP_BACKWARD'] * 2
    assert isinstance(pipeline.feed(at(32, both(32)))[0], TrackedPose)


def test_frozen_stamps_are_named():
    pipeline, _ = warm(30)
    for repeat in range(1, 5):
        dropped = pipeline.feed(at(29, both(30 + repeat), delay_ns=(5 + 17 * repeat) * MS))[0]
        assert dropped.code == 'STAMP_DUPLICATE'
    assert 'frozen?' in dropped.reason


def test_future_and_zero_stamps_of_a_trusted_device():
    config = build_config(TrackingConfig, {'tools': ['a'], 'clock': {'mode': 'device'}})
    pipeline = TrackingPipeline(config)
    item = tracked('a', pose(0, 0))
    future = pipeline.feed(TrackerFrame(ROS0 + 10 * SECOND, ROS0, (item,)))
    assert future[0].code == 'STAMP_FUTURE'
    assert isinstance(pipeline.feed(TrackerFrame(ROS0 + 1, ROS0 + 2, (item,)))[0], TrackedPose)
    assert pipeline.feed(TrackerFrame(0, -5, (item,)))[0].code == 'STAMP_ZERO'


def test_time_jumping_back_clears_and_goes_on():
    pipeline, _ = warm(200)
    again = pipeline.feed(at(0, both(0)))
    assert all(isinstance(result, TrackedPose) and result.restarted for result in again)
    assert pipeline.counts['CLOCK_JUMP'] == 1


def test_recording_that_loops_under_trusted_stamps_goes_on():
    config = TrackingConfig(tools=('a',), clock=replace(CONFIG.clock, mode='device'))
    pipeline = TrackingPipeline(config)
    results = []
    for turn in range(2):
        for frame in range(100):
            arrival = ROS0 + (100 * turn + frame) * PERIOD + SECOND
            results.append(
                pipeline.feed(TrackerFrame(ROS0 + frame * PERIOD, arrival, (tracked('a', pose(0, frame)),)))[0]
            )
    assert sum(isinstance(result, TrackedPose) for result in results) == 198
    assert pipeline.counts['CLOCK_JUMP'] == 1


def test_no_sample_of_the_real_recording_is_dropped_for_its_jitter(real_stamps):
    _, device, arrival = real_stamps
    pipeline = TrackingPipeline(TrackingConfig(tools=('identity',)))
    for d, a in zip(device.tolist(), arrival.tolist(), strict=True):
        result = pipeline.feed(TrackerFrame(d, a, (tracked('identity', np.eye(4)),)))[0]
        assert isinstance(result, TrackedPose)
    rate = pipeline.health()['identity'].rate
    assert rate.samples == 500 and rate.rate_hz > 10.0


def test_replay_gives_the_same_bits():
    first, second = warm(50)[1], warm(50)[1]
    for a, b in zip(first, second, strict=True):
        assert [(r.stamp_ns, r.filtered.tobytes(), r.covariance.tobytes()) for r in a] == [
            (r.stamp_ns, r.filtered.tobytes(), r.covariance.tobytes()) for r in b
        ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-3, 20),
            st.sampled_from(['good', 'nan', 'lost', 'jump', 'far', 'absent', 'stranger', 'zero stamp']),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_whatever_comes_poses_are_finite_and_stamps_grow(events):
    pipeline = TrackingPipeline(CONFIG)
    newest = dict.fromkeys(CONFIG.tools, 0)
    frame = 100
    for step, kind, complete in events:
        frame += step
        matrix = pose(0, frame)
        if kind == 'nan':
            matrix[1, 1] = np.nan
        elif kind in ('jump', 'far'):
            matrix[:3, 3] += 0.5 if kind == 'jump' else 1e4
        status = ToolStatus.LOST if kind == 'lost' else ToolStatus.TRACKED
        items = [ToolReading('X' if kind == 'stranger' else 'StylusToTracker', status, matrix)]
        items = both(frame)[1:] + ([] if kind == 'absent' else items)
        entry = at(frame, items, complete=complete)
        for result in pipeline.feed(replace(entry, device_stamp_ns=0) if kind == 'zero stamp' else entry):
            if isinstance(result, TrackedPose):
                assert np.isfinite(result.filtered).all() and np.isfinite(result.covariance).all()
                assert result.stamp_ns > newest[result.tool]
                newest[result.tool] = result.stamp_ns
            else:
                assert result.code in CODES and result.reason


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match='tools has no default'):
        build_config(TrackingConfig, {})
    with pytest.raises(ConfigError, match='device_names has 1 entries, tools has 2'):
        TrackingConfig(tools=('a', 'b'), device_names=('A',))
    with pytest.raises(ConfigError, match="'a' twice"):
        TrackingConfig(tools=('a', 'a'))
    with pytest.raises(ConfigError, match='name at least one tool'):
        TrackingConfig(tools=())
    with pytest.raises(ConfigError, match=r'filter\.lagg'):
        build_config(TrackingConfig, {'tools': ['a'], 'filter.lagg': 0.1})
