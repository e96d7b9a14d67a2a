"""tracker_node fed by an OpenIGTLink server that misbehaves: nothing wrong is published, and each fault is named."""

import struct
import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from igtl_room import ServerThread
from tf2_msgs.msg import TFMessage

from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.io.openigtlink.codec import encode
from twin_nodes.io.openigtlink.messages import QTData, QTElement, TData, TElement, ToolKind, Transform
from twin_nodes.nodes.tracker_node import TrackerNode
from twin_nodes.ros.conversions import pose_from, stamp_to_ns

POSE = make_transform(rotation_exp([0.3, -0.2, 0.9]), [0.1, -0.2, -1.4])
PATIENT_POSE = make_transform(rotation_exp([-0.5, 0.1, 0.2]), [-0.3, 0.2, -1.6])
TOOLS = {'tracking__tools': ['patient', 'drill'], 'tracking__device_names': ['ReferenceToTracker', 'DrillToTracker']}
MS = 1_000_000


@pytest.fixture
def server():
    running = ServerThread(device='Tracker')
    yield running
    running.close()


class Tracked:
    """A tracker_node connected to a server, and what it publishes of the drill."""

    def __init__(self, start, probe, server, *, stream='auto', **parameters):
        self.probe, self.server = probe, server
        self.measured = probe.listen(PoseStamped, 'drill/measured_cp')
        self.filtered = probe.listen(PoseWithCovarianceStamped, 'drill/filtered_cp')
        self.edges = probe.listen(TFMessage, '/tf')
        self.node = start(
            TrackerNode, source='openigtlink', openigtlink__port=server.port, openigtlink__stream=stream,
            openigtlink__reconnect_min_s=0.02, openigtlink__reconnect_max_s=0.05, tracking__clock__mode='device',
            **(TOOLS | parameters),
        )  # fmt: skip
        stream = {'push': 'TRANSFORM', 'qtdata': 'QTDATA'}.get(stream, 'TDATA')
        probe.until(lambda: [s.stream for s in server.server.clients] == [stream], self.node, what='the stream')
        self.stamp_ns = time.time_ns() - 2_000 * MS
        self._rng = np.random.default_rng(5)

    def next_stamp(self):
        self.stamp_ns += 16 * MS
        return self.stamp_ns

    def wobbled(self, pose=POSE):
        pose = pose.copy()
        pose[:3, 3] += self._rng.normal(size=3) * 1e-5
        return pose

    def patient(self):
        return self.wobbled(PATIENT_POSE)

    def send(self, count=1, **poses):
        """Send good frames of both tools, or of those given."""
        for _ in range(count):
            given = poses or {'ReferenceToTracker': self.patient(), 'DrillToTracker': self.wobbled()}
            self.server.send(self.next_stamp(), **given)

    def raw(self, data):
        self.server.call(lambda: [session.reply(data) for session in self.server.server.clients])

    def counts(self, tool='drill'):
        with self.node._lock:
            return self.node._pipeline.health()[tool].counts

    def until_counted(self, code, count, tool='drill'):
        self.probe.until(lambda: self.counts(tool).get(code, 0) >= count, self.node, what=f'{count} × {code}')

    def warm_up(self):
        """Good frames until they arrive at the probe; returns with nothing on its way."""
        sent = 0

        def heard():
            nonlocal sent
            if len(self.measured) < 3:
                self.send()
                sent += 1
            return len(self.measured) >= 3 and len(self.filtered) >= 3

        self.probe.until(heard, self.node, what='the first poses')
        self.until_counted('OK', sent)
        self.settle()
        assert self.counts()['OK'] == sent

    def until_reported(self, code, count):
        """Ask for the report of this second now."""
        self.node._report()
        self.node.health.publish()
        self.probe.until(
            lambda: self.probe.values('tracker: counters').get(code) == str(count), self.node, what=f'{count} × {code}'
        )

    def settle(self):
        """Wait until all that was accepted has been heard."""
        seen = len(self.measured)
        last = self.measured[-1].header.stamp if self.measured else None
        newest = self.node._pipeline.tools['drill'].last_ns
        self.probe.until(
            lambda: self.measured and stamp_to_ns(self.measured[-1].header.stamp) == newest, self.node,
            what=f'the pose of {newest} (heard {seen}, last {last})',
        )  # fmt: skip

    def assert_only_truth(self):
        """All that was published is the pose that was sent, with rising stamps and a covariance."""
        for kind in (self.measured, self.filtered):
            stamps = [stamp_to_ns(message.header.stamp) for message in kind]
            assert stamps == sorted(set(stamps))
            for message in kind:
                record = pose_from(message, frame='tracker')
                np.testing.assert_allclose(record.pose, POSE, atol=2e-4)
                if record.covariance is not None:
                    assert 0.0 < np.trace(record.covariance[:3, :3]) < 1e-6


@pytest.mark.parametrize('stream', ['auto', 'qtdata', 'push'])
def test_poses_arrive_as_sent_with_covariance_and_on_tf(start, probe, server, stream):
    tracked = Tracked(start, probe, server, stream=stream)
    tracked.warm_up()
    tracked.assert_only_truth()
    edges = {edge.child_frame_id: edge for message in tracked.edges for edge in message.transforms}
    assert edges['drill'].header.frame_id == 'tracker'
    probe.until_code('tracker: tool drill', 'OK', tracked.node)
    assert probe.code('tracker: source') == 'OK'


def test_a_lost_tool_is_said_within_the_frame_and_never_repeated(start, probe, server):
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    accepted = tracked.counts()['OK']
    heard = len(tracked.measured)
    tracked.send(ReferenceToTracker=tracked.patient())  # one frame without the drill
    probe.until_code('tracker: tool drill', 'TOOL_LOST', tracked.node)
    assert 'left the tool out' in probe.status('tracker: tool drill').message
    assert tracked.counts()['TOOL_LOST'] == 1
    for _ in range(9):
        tracked.send(ReferenceToTracker=tracked.patient())
    tracked.until_counted('TOOL_LOST', 10)
    assert tracked.counts()['TOOL_LOST'] == 10
    assert tracked.counts()['OK'] == accepted and len(tracked.measured) == heard
    assert probe.code('tracker: tool patient') == 'OK'
    tracked.send()
    probe.until_code('tracker: tool drill', 'OK', tracked.node)
    tracked.settle()
    tracked.assert_only_truth()


def test_a_single_pushed_tool_that_falls_silent_is_lost(start, probe, server):
    tracked = Tracked(start, probe, server, stream='push')
    tracked.warm_up()
    for _ in range(12):
        tracked.send(ReferenceToTracker=tracked.patient())
    probe.until_code('tracker: tool drill', 'TOOL_LOST', tracked.node)


def test_it_comes_back_after_the_server_did(start, probe, server):
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    heard = len(tracked.measured)
    server.close()
    probe.until_code('tracker: source', 'SOURCE_DISCONNECTED', tracked.node)
    again = ServerThread(port=server.port, device='Tracker')
    try:
        tracked.server = again
        probe.until_code('tracker: source', 'OK', tracked.node)
        probe.until(lambda: [s.stream for s in again.server.clients] == ['TDATA'], what='the stream')
        tracked.send(3)
        probe.until(lambda: len(tracked.measured) >= heard + 3, what='poses of the second server')
        tracked.settle()
        tracked.assert_only_truth()
    finally:
        tracked.node._source.stop()
        again.close()


def test_a_source_that_ends_takes_its_tools_with_it(start, probe, server):
    """Nothing comes any more, so no frame can say that the tool is lost."""
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    server.close()
    probe.until_code('tracker: tool drill', 'TOOL_LOST', tracked.node)
    assert 'closed by the server' in probe.status('tracker: tool drill').message


def test_a_source_that_falls_silent_is_called_stalled_until_it_speaks_again(start, probe, server):
    tracked = Tracked(start, probe, server, stale_after=0.3)
    tracked.warm_up()
    probe.until_code('tracker: source', 'SOURCE_STALLED', tracked.node)
    probe.until_code('tracker: tool drill', 'TOOL_LOST', tracked.node)
    assert 'no frame for' in probe.status('tracker: tool drill').message
    heard = len(tracked.measured)
    tracked.send(2)
    probe.until_code('tracker: source', 'OK', tracked.node)
    probe.until_code('tracker: tool drill', 'OK', tracked.node)
    probe.until(lambda: len(tracked.measured) == heard + 2, what='both poses')


def changed(position=None, rotation=None, last=None):
    pose = POSE.copy()
    if position is not None:
        pose[:3, 3] = position
    if rotation is not None:
        pose[:3, :3] = rotation
    return pose


def shear():
    rotation = POSE[:3, :3].copy()
    rotation[0] *= 1.02
    return rotation


BAD_POSES = {
    'NaN': (changed(position=[np.nan, 0.0, 0.0]), 'NOT_FINITE', 'NaN'),
    'NaN rotation': (changed(rotation=np.full((3, 3), np.nan)), 'NOT_FINITE', 'NaN'),
    'Inf': (changed(position=[0.0, np.inf, 0.0]), 'NOT_FINITE', 'Inf'),
    'left-handed': (changed(rotation=POSE[:3, :3] @ np.diag([1.0, 1.0, -1.0])), 'NOT_A_ROTATION', 'left-handed'),
    'sheared': (changed(rotation=shear()), 'NOT_A_ROTATION', 'differs from I'),
    'zeros': (np.diag([0.0, 0.0, 0.0, 1.0]), 'NOT_A_ROTATION', 'differs from I'),
    'millimetres': (changed(position=1e3 * POSE[:3, 3]), 'UNIT_SUSPECT', 'wrong unit?'),
    'far away': (changed(position=[1e15, 0.0, 0.0]), 'OUT_OF_WORKSPACE', 'max_distance'),
    'jump': (changed(position=POSE[:3, 3] + [0.3, 0.0, 0.0]), 'GATED', 'jumped'),
}


@pytest.mark.parametrize('fault', BAD_POSES, ids=str)
def test_a_bad_pose_is_dropped_counted_and_named(start, probe, server, fault):
    pose, code, words = BAD_POSES[fault]
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    accepted = tracked.counts()['OK']
    reasons = []
    for _ in range(4):  # fewer than filter.regain: a tool that stays elsewhere has really moved
        elements = [TElement('ReferenceToTracker', ToolKind.SIX_DOF, tracked.patient()),
                    TElement('DrillToTracker', ToolKind.SIX_DOF, pose)]  # fmt: skip
        tracked.raw(encode(TData('Tracker', tuple(elements), stamp_ns=tracked.next_stamp())))
    tracked.until_counted(code, 4)
    with tracked.node._lock:
        reasons.append(tracked.node._pipeline.health()['drill'].reason)
    assert words in reasons[0]
    assert tracked.counts()[code] == 4 and tracked.counts()['OK'] == accepted
    tracked.send(2)
    tracked.until_counted('OK', accepted + 2)
    tracked.settle()
    tracked.assert_only_truth()
    tracked.until_reported(code, 4)


def test_millimetres_all_the_way_ask_for_the_unit_in_the_diagnostic(start, probe, server):
    tracked = Tracked(start, probe, server)
    for _ in range(3):
        tracked.send(DrillToTracker=changed(position=1e3 * POSE[:3, 3]), ReferenceToTracker=PATIENT_POSE)
    probe.until_code('tracker: tool drill', 'UNIT_SUSPECT', tracked.node)
    assert 'unit?' in probe.status('tracker: tool drill').message
    assert not tracked.measured


@pytest.mark.parametrize('quat', [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 2.0), (np.nan, 0.0, 0.0, 1.0)], ids=str)
def test_a_quaternion_that_is_none_is_dropped(start, probe, server, quat):
    tracked = Tracked(start, probe, server, stream='qtdata')
    element = QTElement('DrillToTracker', ToolKind.SIX_DOF, POSE[:3, 3], np.array(quat))
    tracked.raw(encode(QTData('Tracker', (element,), stamp_ns=tracked.next_stamp())))
    code = 'NOT_FINITE' if np.isnan(quat).any() else 'NOT_A_ROTATION'
    tracked.until_counted(code, 1)
    assert tracked.counts() == {code: 1} and not tracked.measured


def test_wrong_checksums_are_dropped_and_counted_one_by_one(start, probe, server):
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    accepted = tracked.counts()['OK']
    for _ in range(7):
        data = bytearray(encode(TData('Tracker', (TElement('DrillToTracker', ToolKind.SIX_DOF, POSE),),
                                      stamp_ns=tracked.next_stamp())))  # fmt: skip
        data[-1] ^= 1
        tracked.raw(bytes(data))
    tracked.send()
    tracked.until_counted('OK', accepted + 1)
    tracked.settle()
    assert tracked.counts()['OK'] == accepted + 1
    tracked.assert_only_truth()
    tracked.until_reported('CRC_WRONG', 7)


@pytest.mark.parametrize(
    'rubbish',
    [
        b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n' * 3,
        struct.pack('>H12s20sQQQ', 1, b'TRANSFORM', b'DrillToTracker', 1 << 32, 2**63, 0),
        b'\xff' * 100,
    ],
    ids=['http', 'length 2^63', 'ff'],
)
def test_rubbish_closes_the_connection_and_the_next_one_works(start, probe, server, rubbish):
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    tracked.raw(rubbish)
    probe.until(lambda: server.server.counters['connections'] >= 2, tracked.node, what='the second connection')
    server.wait_for_streams('TDATA')
    accepted = tracked.counts()['OK']
    tracked.send(2)
    tracked.until_counted('OK', accepted + 2)
    tracked.settle()
    tracked.assert_only_truth()
    tracked.until_reported('PROTOCOL', 1)


def test_unknown_types_are_skipped(start, probe, server):
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    accepted = tracked.counts()['OK']
    header = struct.pack('>H12s20sQQQ', 1, b'FOO', b'DrillToTracker', 1 << 32, 5, 0)
    tracked.raw(header + b'12345')
    tracked.send()
    tracked.until_counted('OK', accepted + 1)
    assert server.server.counters['connections'] == 1


def test_duplicate_and_backward_stamps_are_dropped_and_counted(start, probe, server):
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    accepted = tracked.counts()['OK']

    def repeat(stamp_ns):  # the server would leave out a frame that comes too soon after another
        elements = (TElement('DrillToTracker', ToolKind.SIX_DOF, tracked.wobbled()),)
        tracked.raw(encode(TData('Tracker', elements, stamp_ns=stamp_ns)))

    for _ in range(2):
        repeat(tracked.stamp_ns)
    tracked.until_counted('STAMP_DUPLICATE', 2)
    for _ in range(2):
        repeat(tracked.stamp_ns - 500 * MS)  # within `jump`, beyond `filter.lag`
    tracked.until_counted('STAMP_BACKWARD', 2)
    counts = tracked.counts()
    assert (counts['STAMP_DUPLICATE'], counts['STAMP_BACKWARD'], counts['OK']) == (2, 2, accepted)
    tracked.send()
    tracked.until_counted('OK', accepted + 1)
    tracked.settle()
    tracked.assert_only_truth()


def test_stamps_of_the_future_are_refused(start, probe, server):
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    accepted = tracked.counts()['OK']
    server.send(time.time_ns() + 10_000 * MS, ReferenceToTracker=PATIENT_POSE, DrillToTracker=POSE)
    tracked.until_counted('STAMP_FUTURE', 1)
    assert tracked.counts()['OK'] == accepted
    tracked.send()
    tracked.until_counted('OK', accepted + 1)


def test_a_renamed_device_is_never_seen_and_the_names_that_are_sent_are_said(start, probe, server):
    tracked = Tracked(start, probe, server)

    tracked.send(StylusToTracker=tracked.wobbled(), ReferenceToTracker=tracked.patient())
    tracked.until_counted('OK', 1, 'patient')
    tracked.node._report()
    tracked.node.health.publish()

    def named():  # the first message may come before the match
        said = probe.status('tracker: tool drill')
        return said is not None and 'StylusToTracker' in said.message

    probe.until(named, tracked.node, what='the names')
    assert probe.code('tracker: tool drill') == 'TOOL_NEVER_SEEN'
    assert not tracked.measured


def test_a_device_that_repeats_itself_is_called_stuck(start, probe, server):
    tracked = Tracked(start, probe, server)
    tracked.warm_up()
    tracked.send(12, ReferenceToTracker=tracked.patient(), DrillToTracker=POSE)
    tracked.until_counted('STUCK', 3)


def test_a_lost_status_of_version_2_is_taken_at_its_word(start, probe, server):
    tracked = Tracked(start, probe, server, stream='push')
    tracked.warm_up()
    accepted = tracked.counts()['OK']
    lost = Transform('DrillToTracker', POSE, stamp_ns=tracked.next_stamp(), metadata={'TransformStatus': 'INVALID'})
    tracked.raw(encode(lost, 2))
    probe.until_code('tracker: tool drill', 'TOOL_LOST', tracked.node)
    assert 'INVALID' in probe.status('tracker: tool drill').message
    assert tracked.counts()['OK'] == accepted
