"""tracker_node with recordings, the simulator and CRTK topics: each sample that is true gets through, no other does."""

import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from node_probe import Published, ToldSilence

from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.core.stamps import ALL_NS
from twin_nodes.io.recordings.simulated import FIRST_STAMP_NS
from twin_nodes.nodes.tracker_config import TrackerNodeConfig
from twin_nodes.nodes.tracker_node import TrackerNode
from twin_nodes.ros.conversions import pose_from, pose_stamped, stamp_to_ns
from twin_nodes.ros.crtk_source import SILENT_NS

FAST = {'recording__rate': 40.0, 'tracking__clock__mode': 'device'}  # stamps as recorded, so speeds stay what they were
POSE = make_transform(rotation_exp([0.3, -0.2, 0.9]), [0.1, -0.2, -1.4])


def play(start, probe, path, tools, **parameters):
    """Play a recording to its end; returns the node and what was published of each tool."""
    published = {name: probe.listen(PoseStamped, f'{name}/measured_cp') for name in tools}
    node = start(TrackerNode, source='recording', recording__path=str(path), tracking__tools=list(tools),
                 tracking__device_names=list(tools.values()), **(FAST | parameters))  # fmt: skip
    probe.until_code('tracker: source', 'SOURCE_FINISHED', node)
    node._report()
    node.health.publish()
    probe.until(lambda: 'rate_hz' in probe.values(f'tracker: tool {next(reversed(tools))}'), what='the report')
    return node, published


def counts_of(node, tool):
    return node._pipeline.health()[tool].counts


def test_a_stylus_that_was_never_seen_is_not_published_and_the_reason_is_said(start, probe, shared_data):
    path = shared_data / 'plus_tracker' / 'TestImages' / 'NwirePhantomFreehand.igs.mha'
    tools = {'probe_marker': 'ProbeToTracker', 'reference': 'ReferenceToTracker', 'stylus': 'StylusToTracker'}
    node, published = play(start, probe, path, tools)
    assert counts_of(node, 'stylus') == {'TOOL_LOST': 97}
    assert published['stylus'] == []
    assert probe.code('tracker: tool stylus') == 'TOOL_LOST'
    assert 'INVALID' in ' '.join(status.message for status in probe.said['tracker: tool stylus'])
    for tool in ('probe_marker', 'reference'):
        assert counts_of(node, tool)['OK'] == 97


def test_zeros_of_a_lost_sensor_are_never_a_pose_at_the_origin(start, probe, shared_data):
    path = shared_data / 'em_aurora_snake' / 'NDIdata_snakeravenTest_2_2_21.csv'
    tools = {f'sensor_{name.lower()}': name for name in 'ABCD'}
    node, published = play(start, probe, path, tools)
    seen = {tool: counts_of(node, tool)['OK'] for tool in tools}
    assert seen['sensor_a'] + seen['sensor_b'] + seen['sensor_c'] + seen['sensor_d'] > 600
    assert counts_of(node, 'sensor_c')['TOOL_LOST'] >= 9
    for messages in published.values():
        assert messages
        for message in messages:
            assert np.linalg.norm(pose_from(message, frame='tracker').pose[:3, 3]) > 0.15


def test_no_sample_is_dropped_for_its_jitter_and_rate_and_jitter_are_reported(start, probe, shared_data):
    path = shared_data / 'plus_tracker' / 'TestImages' / 'TimestampFilteringTest.igs.mha'
    node, _ = play(start, probe, path, {'identity': 'IdentityToIdentity'}, recording__rate=100.0)
    counts = counts_of(node, 'identity')
    assert counts['OK'] == 500
    assert not [code for code in counts if code.startswith('STAMP') or code == 'GATED']
    values = probe.values('tracker: tool identity')
    assert 10.0 < float(values['rate_hz']) < 70.0
    assert float(values['jitter_ms']) > 1.0


def test_the_simulated_room_is_published_as_it_is(start, probe):
    filtered = probe.listen(PoseWithCovarianceStamped, 'drill/filtered_cp')
    node = start(TrackerNode, source='simulator', tracking__tools=['patient', 'drill'],
                 recording__rate=10.0, tracking__clock__mode='device')  # fmt: skip
    probe.until(lambda: len(filtered) > 100, node, what='100 poses')
    room, errors, bounds = Room(RoomConfig()), [], []
    for message in filtered:
        record = pose_from(message, frame='tracker')
        elapsed = (record.stamp_ns - FIRST_STAMP_NS) * 1e-9
        errors.append(record.pose[:3, 3] - room.truth(elapsed).tracker_T_drill[:3, 3])
        bounds.append(np.trace(record.covariance[:3, :3]))
    rms = np.sqrt(np.mean(np.sum(np.square(errors), axis=1)))
    assert rms < 0.00011, 'worse than the raw noise of 0.11 mm RMS'
    # a hundred correlated samples: the stated σ must be of the size of the error
    assert 0.5 < rms / np.sqrt(np.mean(bounds)) < 2.0


def test_a_recording_that_ended_leaves_no_tool_tracked(start, probe):
    node = start(TrackerNode, source='simulator', tracking__tools=['patient', 'drill'], recording__rate=1000.0,
                 tracking__clock__mode='device')  # fmt: skip
    probe.until_code('tracker: source', 'SOURCE_FINISHED', node)
    probe.until_code('tracker: tool patient', 'TOOL_LOST', node)
    assert 'all 3600 frames were played' in probe.status('tracker: tool patient').message


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'source': 'recording'}, 'recording.path must be given'),
        ({'source': 'ndi'}, "source='ndi' is none of openigtlink"),
        ({'source': 'crtk', 'tracker_frame': 'drill'}, "tracker_frame='drill' is also a tool"),
        ({'source': 'crtk', 'world_frame': 'tracker'}, "world_frame='tracker' is also another frame"),
        ({'source': 'crtk', 'world_frame': 'drill'}, "world_frame='drill' is also another frame"),
        ({'source': 'crtk', 'mount.xyz': [0.0, 1.0]}, r'xyz=\[0.0, 1.0\] must have 3 numbers'),
        ({'source': 'crtk', 'tracking.tools': ['drill', 'drill']}, "'drill' twice"),
        ({'source': 'crtk', 'tracking.device_names': ['a', 'b']}, 'they must pair up'),
    ],
    ids=str,
)
def test_a_wrong_configuration_does_not_start(start, settings, match):
    with pytest.raises(ConfigError, match=match):
        start(TrackerNode, **({'tracking.tools': ['drill']} | settings))


@pytest.mark.parametrize('content', [None, '', 'ObjectType = Image\n', 'a,b\n1,2\n'])
def test_a_recording_that_cannot_be_read_is_said(start, tmp_path, content):
    path = tmp_path / 'room.igs.mha'
    if content is not None:
        path.write_text(content)
    with pytest.raises((ConfigError, InputError), match=r'room\.igs\.mha'):
        start(TrackerNode, source='recording', recording__path=str(path), tracking__tools=['drill'])


class Crtk:
    """A tracker_node fed by the probe over CRTK topics."""

    def __init__(self, start, probe, **parameters):
        self.probe = probe
        self.measured = probe.listen(PoseStamped, 'drill/measured_cp')
        self.node = start(TrackerNode, source='crtk', **({'tracking__tools': ['drill'], 'crtk__frame': 'ndi',
                          'tracking__clock__mode': 'device'} | parameters))  # fmt: skip
        self._rng = np.random.default_rng(2)

    def counts(self):
        with self.node._lock:
            return counts_of(self.node, 'drill')

    def say(self, stamp_ns, frame='ndi', pose=POSE):
        pose = pose.copy()
        pose[:3, 3] += self._rng.normal(size=3) * 1e-5
        self.probe.say('NDI/drill/measured_cp', pose_stamped(stamp_ns, frame, pose))

    def until(self, condition, what, **send):
        """Say a pose again and again until it shows: before the match is made nothing arrives."""
        self.probe.until(condition, self.node, what=what, say=lambda: self.say(**({'stamp_ns': time.time_ns()} | send)))


def test_crtk_poses_pass_with_their_own_stamps(start, probe):
    crtk = Crtk(start, probe)
    crtk.until(lambda: len(crtk.measured) >= 5, 'poses')
    for message in crtk.measured:
        np.testing.assert_allclose(pose_from(message, frame='tracker').pose, POSE, atol=2e-4)
    stamps = [stamp_to_ns(message.header.stamp) for message in crtk.measured]
    assert stamps == sorted(set(stamps))
    probe.until_code('tracker: tool drill', 'OK', crtk.node)


def test_crtk_stamp_zero_is_lost_at_once(start, probe):
    crtk = Crtk(start, probe)
    crtk.until(lambda: len(crtk.measured) >= 3, 'poses')
    crtk.until(lambda: probe.code('tracker: tool drill') == 'TOOL_LOST', 'lost', stamp_ns=0)
    assert 'stamp 0' in probe.status('tracker: tool drill').message


def test_crtk_stamp_zero_does_not_set_the_clock_of_the_device(start, probe):
    """A robot whose clock is 100 s behind marks its poses invalid; that says nothing of its clock."""
    behind_ns = 100 * 10**9
    crtk = Crtk(start, probe, tracking__clock__mode='synchronise')
    sent = []

    def say():
        sent.append(time.time_ns())
        crtk.say(sent[-1] - behind_ns)

    def heard():
        if len(crtk.measured) < 5:
            say()
        return len(crtk.measured) >= 5

    probe.until(heard, crtk.node, what='poses')
    for _ in range(10):
        crtk.say(0)
    lost = crtk.counts().get('TOOL_LOST', 0)
    crtk.until(lambda: crtk.counts().get('TOOL_LOST', 0) >= lost + 8, 'lost', stamp_ns=0)
    before = len(crtk.measured)

    def again():
        if len(crtk.measured) < before + 5:
            say()
        return len(crtk.measured) >= before + 5

    probe.until(again, crtk.node, what='poses again')
    assert crtk.node._pipeline.clock.steps == 0
    assert abs(crtk.node._pipeline.clock.offset_s - 100.0) < 1.0


@pytest.mark.parametrize(
    ('fault', 'code'),
    [
        ({'frame': 'camera'}, 'FRAME_MISMATCH'),
        ({'pose': make_transform(np.eye(3), [np.nan, 0.0, 0.0])}, 'NOT_FINITE'),
        ({'pose': make_transform(np.eye(3), [1e300, 0.0, 0.0])}, 'OUT_OF_WORKSPACE'),
        ({'pose': make_transform(np.eye(3), 1e3 * POSE[:3, 3])}, 'UNIT_SUSPECT'),
    ],
    ids=['frame', 'NaN', 'huge', 'millimetres'],
)
def test_bad_crtk_poses_are_counted_and_not_passed(start, probe, fault, code):
    crtk = Crtk(start, probe)
    crtk.until(lambda: code in crtk.node.health.counters or code in crtk.counts(), code, **fault)
    assert crtk.measured == []
    crtk.until(lambda: len(crtk.measured) >= 2, 'good poses afterwards')


def test_a_replay_has_ended_when_no_pose_waits_for_another(start):
    node = start(
        TrackerNode, source='crtk', tracking__tools=['drill', 'patient'], tracking__clock__mode='device',
        use_sim_time=True,
    )  # fmt: skip
    source, said = node._source, Published()
    source._silence = silence = ToldSilence()
    node._progress[0]._publisher = said

    def hear(device, ms):
        message = pose_stamped(10**18 + ms * 10**6, 'ndi', POSE)
        source._deliver(device, message, node._on_frame, node._on_event)

    def ends():
        silence.has_ended = True
        node._watch_end()
        return bool(said) and stamp_to_ns(said[-1].header.stamp) == ALL_NS

    assert ends(), 'nothing was heard yet'
    hear('drill', 10)
    assert not silence.has_ended
    hear('patient', 10)
    assert stamp_to_ns(said[-1].header.stamp) == 10**18 + 10 * 10**6, 'what comes after it is worked through'
    hear('patient', 20)
    assert not ends(), 'a pose waits for that of the drill'
    hear('drill', 20)
    assert ends() and len(said) == 3, 'and says it once'
    hear('drill', 30)
    silence.has_ended = True
    source._look_for_silence(node._on_frame)
    assert not source.has_ended
    silence.tick = lambda: SILENT_NS + 1  # nobody hears of the patient any more
    source._look_for_silence(node._on_frame)
    assert source.has_ended and stamp_to_ns(said[-1].header.stamp) == 10**18 + 30 * 10**6


def test_a_crtk_device_that_is_no_topic_name_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"device_names: 'my tool' cannot be part of a topic name"):
        build_config(
            TrackerNodeConfig, {'source': 'crtk', 'tracking.tools': ['tool'], 'tracking.device_names': ['my tool']}
        )


def test_distortion_and_offset_come_from_files(start, probe, tmp_path):
    """A field of one place only: the sample there is corrected, the others are outside and dropped with their code."""
    from twin_nodes.core.calibration.distortion import DistortionField
    from twin_nodes.core.calibration.distortion_basis import TensorBasis
    from twin_nodes.io.distortion_fields import StoredDistortion, write_distortion
    from twin_nodes.io.time_offsets import StoredOffset, write_offset

    box = np.vstack([np.eye(3), -np.eye(3)])
    shift = np.tile([0.004, 0.0, 0.0], (8, 1))
    everywhere = DistortionField(
        TensorBasis(1, 1), np.full(3, -9.0), np.full(3, 9.0), shift, 0.0 * shift,
        np.column_stack([box, np.full(6, -9.0)]),
        1e-6 * np.eye(6), np.eye(8), 0.1, np.zeros((1, 3)), 99.0, 0.0,
    )  # fmt: skip
    nowhere = DistortionField(**(vars(everywhere) | {'hull': np.column_stack([box, np.full(6, 9.0)])}))
    for name, field in (('everywhere', everywhere), ('nowhere', nowhere)):
        write_distortion(tmp_path / f'{name}.yaml', StoredDistortion(field, {}, 'accept', '2026-01-01T00:00:00+00:00'))
    offset = StoredOffset(
        'a', 'b', -250_000_000, 1e-4, -251_000_000, -249_000_000, 'accept', '2026-01-01T00:00:00+00:00'
    )
    write_offset(tmp_path / 'offset.yaml', offset)
    files = [str(tmp_path / 'everywhere.yaml'), str(tmp_path / 'nowhere.yaml')]
    heard = probe.listen(PoseStamped, 'patient/measured_cp')
    node = start(TrackerNode, source='simulator', tracking__tools=['patient', 'drill'],
                 recording__rate=10.0, tracking__clock__mode='device',
                 distortion__tools=['patient', 'drill'], distortion__files=files,
                 offset_file=str(tmp_path / 'offset.yaml'))  # fmt: skip
    probe.until(lambda: heard and counts_of(node, 'drill').get('OUTSIDE_CALIBRATION', 0) > 10, node, what='both')
    pose = pose_from(heard[-1], frame='tracker')
    elapsed_s = (pose.stamp_ns + 250_000_000 - FIRST_STAMP_NS) / 1e9
    truth = Room(RoomConfig()).truth(elapsed_s).tracker_T_patient
    np.testing.assert_allclose(pose.pose[:3, 3] - truth[:3, 3], [0.004, 0.0, 0.0], atol=1e-3)  # 0.11 mm of noise
    assert counts_of(node, 'drill').get('OK', 0) == 0


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'distortion__tools': ['drill']}, 'must pair up'),
        ({'distortion__tools': ['dril'], 'distortion__files': ['a.yaml']}, "'dril' is no tool.*drill"),
        ({'distortion__tools': ['drill'], 'distortion__files': ['nowhere.yaml']}, 'nowhere.yaml'),
        ({'offset_file': 'nowhere.yaml'}, 'nowhere.yaml'),
    ],
)
def test_a_correction_that_cannot_be_read_does_not_start(start, settings, match):
    with pytest.raises(ConfigError, match=match):
        start(TrackerNode, source='simulator', tracking__tools=['patient', 'drill'], **settings)
