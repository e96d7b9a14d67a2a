from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from igtl_samples import pose_at

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import check_transform, quat_from_rotation, random_transform
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus, TrackerFrame
from twin_nodes.io.openigtlink.frames import (
    MAX_DEVICES,
    FrameBuilder,
    StampGroups,
    joined,
    lost_reason,
    pose_from_quaternion,
)
from twin_nodes.io.openigtlink.messages import (
    Position,
    QTData,
    QTElement,
    ReadyMessage,
    Status,
    TData,
    TElement,
    Transform,
)


def builder(stream='push'):
    return FrameBuilder(stream, Counter())


def lost_in(frames):
    return [(f.device_stamp_ns, r.device) for f in frames for r in f.readings if r.status is ToolStatus.LOST]


def test_quaternion_makes_the_pose_that_it_came_from():
    rng = np.random.default_rng(1)
    for _ in range(100):
        truth = random_transform(rng)
        scale = 1.0 + rng.uniform(-9e-3, 9e-3)  # float32 and careless senders
        pose = pose_from_quaternion(truth[:3, 3], scale * quat_from_rotation(truth[:3, :3]))
        np.testing.assert_allclose(pose, truth, atol=1e-12)


@pytest.mark.parametrize(
    'quat', [(0, 0, 0, 0), (0, 0, 0, 1.02), (0, 0.5, 0, 0.5), (np.nan, 0, 0, 1), (np.inf, 0, 0, 0)]
)
def test_a_quaternion_that_is_no_rotation_never_becomes_one(quat):
    with pytest.raises(InputError):
        check_transform(pose_from_quaternion(np.zeros(3), np.array(quat, float)))


def pushed(stamp_ns, *devices, arrival_ns=99, complete=False):
    readings = tuple(ToolReading(device, ToolStatus.TRACKED, pose_at(0.1)) for device in devices)
    return TrackerFrame(stamp_ns, arrival_ns, readings, complete=complete)


def devices_in(frames):
    return [(f.device_stamp_ns, ''.join(r.device for r in f.readings)) for f in frames]


def test_joins_tools_of_one_stamp_that_came_together():
    frames = [pushed(1, 'A'), pushed(1, 'B'), pushed(2, 'A'), pushed(2, 'B'), pushed(2, 'C')]
    assert devices_in(joined(frames)) == [(1, 'AB'), (2, 'ABC')]
    assert not any(frame.complete for frame in joined(frames))


def test_joins_no_tool_twice_no_complete_frame_and_no_other_arrival():
    assert devices_in(joined([pushed(1, 'A'), pushed(1, 'A'), pushed(1, 'B')])) == [(1, 'A'), (1, 'AB')]
    assert len(joined([pushed(1, 'A', complete=True), pushed(1, 'B')])) == 2
    assert len(joined([pushed(1, 'A'), pushed(1, 'B', complete=True)])) == 2
    assert len(joined([pushed(1, 'A'), pushed(1, 'B', arrival_ns=100)])) == 2
    assert joined([]) == []


def test_tracking_data_is_one_complete_frame():
    message = TData('T', (TElement('A', 1, pose_at(0.1)), TElement('B', 1, pose_at(0.2))), stamp_ns=7)
    (frame,) = builder().frames(message, 99)
    assert frame.complete and frame.device_stamp_ns == 7 and frame.arrival_ns == 99
    assert [r.device for r in frame.readings] == ['A', 'B']
    np.testing.assert_array_equal(frame.readings[1].tracker_T_tool, pose_at(0.2))


def test_a_transform_is_delivered_at_once():
    (frame,) = builder().frames(Transform('A', pose_at(0.1), stamp_ns=5), 9)
    assert not frame.complete and frame.readings[0].status is ToolStatus.TRACKED


def test_a_tool_missing_from_a_stamp_is_lost_when_the_next_stamp_begins():
    build, found = builder(), []
    for stamp, devices in ((1, 'ABC'), (2, 'AC'), (3, 'A'), (4, 'ABC'), (5, 'A')):
        for device in devices:
            found += build.frames(Transform(device, pose_at(0.1), stamp_ns=stamp), stamp)
    assert lost_in(found) == [(2, 'B'), (3, 'B'), (3, 'C')]
    assert build._counters['lost'] == 3


def test_sources_with_stamps_of_their_own_do_not_lose_each_other():
    build, found = builder(), []
    for stamp in range(1, 50):
        found += build.frames(Transform('A' if stamp % 2 else 'B', pose_at(0.1), stamp_ns=stamp), stamp)
    assert lost_in(found) == []


def test_stamps_of_zero_and_late_messages_lose_nobody():
    build, found = builder(), []
    for stamp, device in (
        (0, 'A'),
        (0, 'B'),
        (10, 'A'),
        (10, 'B'),
        (20, 'A'),
        (10, 'B'),
        (20, 'B'),
        (0, 'A'),
        (30, 'A'),
    ):
        found += build.frames(Transform(device, pose_at(0.1), stamp_ns=stamp), stamp)
    assert lost_in(found) == []
    assert len(found) == 9


def test_a_device_clock_that_starts_again_is_followed():
    groups = StampGroups()
    for stamp in (50 * 10**9, 51 * 10**9):
        groups.add('A', stamp)
        groups.add('B', stamp)
    assert groups.add('A', 1 * 10**9) == (0, [])
    assert groups.add('A', 2 * 10**9) == (1 * 10**9, ['B'])


def test_endless_new_names_are_not_all_remembered():
    groups = StampGroups()
    for number in range(10 * MAX_DEVICES):
        groups.add(f'tool{number}', 1)
    assert len(groups._partners) == MAX_DEVICES


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30))
def test_each_loss_is_said_once_and_no_other(seen):
    """Truth: tool i is seen at stamp s or not; all share stamp 1."""
    build, found = builder(), []
    rows = [[True, True, True], *seen]
    for stamp, row in enumerate([*rows, [True, True, True]], start=1):
        for tool, visible in enumerate(row):
            if visible:
                found += build.frames(Transform(str(tool), pose_at(0.1), stamp_ns=stamp), stamp)
    truth = [
        (stamp, str(tool))
        for stamp, row in enumerate(rows, start=1)
        if any(row)  # a stamp at which nobody is sent does not exist on the wire
        for tool in range(3)
        if not row[tool]
    ]
    assert lost_in(found) == truth


@pytest.mark.parametrize(
    ('metadata', 'reason'),
    [
        ({}, ''),
        ({'TransformStatus': 'OK'}, ''),
        ({'TransformStatus': 'OK', 'TransformValid': 'True'}, ''),
        ({'TransformStatus': 'OUT_OF_VIEW'}, 'OUT_OF_VIEW'),
        ({'ATransformStatus': 'MISSING'}, 'MISSING'),
        ({'BTransformStatus': 'MISSING'}, ''),
        ({'Status': 'INVALID'}, 'INVALID'),
        ({'TransformStatus': ''}, 'status empty'),
        ({'TransformValid': 'False'}, 'TransformValid is false'),
        ({'ATransformValid': '0', 'TransformValid': '1'}, 'TransformValid is false'),
    ],
)
def test_metadata_say_that_a_tool_is_lost(metadata, reason):
    assert lost_reason('A', metadata) == reason
    (frame,) = builder().frames(Transform('A', pose_at(0.1), version=2, metadata=metadata), 1)
    reading = frame.readings[0]
    assert reading.reason == reason
    assert (reading.tracker_T_tool is None) == bool(reason)


def test_tracking_data_silences_single_poses_of_the_same_server():
    build = builder('auto')
    pushed = Transform('A', pose_at(0.1), stamp_ns=1)
    assert len(build.frames(pushed, 1)) == 1
    assert len(build.frames(TData('T', (), stamp_ns=1), 1)) == 1
    assert build.frames(pushed, 1) == []
    assert build.frames(QTData('T', (), stamp_ns=1), 1) == []
    assert build._counters['ignored'] == 2


@pytest.mark.parametrize(('stream', 'taken'), [('tdata', TData), ('qtdata', QTData)])
def test_a_chosen_stream_takes_nothing_else(stream, taken):
    build = builder(stream)
    element = QTElement('A', 1, np.zeros(3), np.array([0, 0, 0, 1.0]))
    for message in (
        Transform('A', pose_at(0.1)),
        TData('T', ()),
        QTData('T', (element,)),
        Position('P', *[np.ones(4)] * 2),
    ):
        assert bool(build.frames(message, 1)) == isinstance(message, taken)


def test_position_without_orientation_makes_no_pose_and_says_so_once():
    build, message = builder(), Position('P', np.zeros(3), None)
    assert build.frames(message, 1) == []
    assert 'no orientation' in build.event(message).message
    assert build.event(message) is None


def test_status_is_told_in_words():
    build = builder()
    assert build.event(Status('NDI', code=1)) is None
    event = build.event(Status('NDI', code=18, subcode=42, error_name='LASER', text='battery low'))
    assert event.code == 'DEVICE_STATUS' and not event.healthy
    for word in ('NDI', 'hardware failure', '18', '42', 'LASER', 'battery low'):
        assert word in event.message
    assert 'unknown code' in build.event(Status('NDI', code=999)).message
    assert build.event(Status('NDI', code=1)).healthy
    assert build.event(Status('NDI', code=1)) is None


def test_a_refused_stream_matters_only_where_nothing_else_is_taken():
    refused = ReadyMessage('', target='TDATA', status=1)
    assert not builder('tdata').event(refused).healthy
    assert builder('auto').event(refused).healthy
    assert builder('auto').event(ReadyMessage('', target='TDATA', status=0)) is None
