"""calibration_node: a live pivot to the known tip, known tips from files, and what it says meanwhile."""

import subprocess
import sys

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from patient_streams import COVARIANCE, MS, TOOL_T_TIP, TRACKER_T_PATIENT
from std_srvs.srv import Trigger

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp
from twin_nodes.io.results import StoredResult, read_result, utc_date, write_result
from twin_nodes.nodes.calibration_node import CalibrationNode
from twin_nodes.ros.conversions import pose_from, pose_with_covariance

NOISE = 0.00011 / np.sqrt(3.0)  # per axis
START_NS = 1_700_000_000 * 1000 * MS


class Pivoting:
    """A calibration_node and a drill that pivots about a dimple, in the tracker or on a breathing patient."""

    def __init__(self, start, probe, **parameters):
        self.probe = probe
        self.latched = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/drill')
        self.node = start(CalibrationNode, tool='drill', **parameters)
        self.on_patient = bool(self.node.config.reference)
        self._rng = np.random.default_rng(3)
        self.count = 0

    def say(self, tilt=0.6):
        """Say one instant, 20 ms after the last, with the shaft tilted so far [rad]."""
        self.count += 1
        stamp_ns, time_s = START_NS + 20 * MS * self.count, 0.02 * self.count
        swirl = 2.4 * time_s
        rotation = rotation_exp([tilt * np.cos(swirl), tilt * np.sin(swirl), 0.0])
        rotation = rotation @ rotation_exp([0.0, 0.0, 0.8 * tilt * np.sin(time_s)])
        breath = make_transform(np.eye(3), [0.0, 0.002 * np.sin(1.6 * time_s), 0.0])
        base = breath @ TRACKER_T_PATIENT if self.on_patient else np.eye(4)
        tracker_T_tool = base @ make_transform(rotation, [0.03, -0.05, 0.1]) @ inverse(TOOL_T_TIP)
        tracker_T_tool[:3, 3] += NOISE * self._rng.normal(size=3)
        if self.on_patient:
            self.probe.say('patient/filtered_cp', pose_with_covariance(stamp_ns, 'tracker', base, COVARIANCE))
        self.probe.say('drill/filtered_cp', pose_with_covariance(stamp_ns, 'tracker', tracker_T_tool, COVARIANCE))

    def until(self, condition, what, **say):
        def shown():
            if condition():
                return True
            self.say(**say)
            return False

        self.probe.until(shown, self.node, what=what)

    def code(self):
        return self.probe.code('calibration: state')

    def assert_true_tip(self):
        record = pose_from(self.latched[-1], frame='drill')
        error = record.pose[:3, 3] - TOOL_T_TIP[:3, 3]
        # by its own covariance: 5 σ in three dimensions
        assert error @ np.linalg.solve(record.covariance[:3, :3], error) < 25.0
        assert np.linalg.norm(error) < 0.0002
        np.testing.assert_array_equal(record.pose[:3, :3], np.eye(3))


@pytest.mark.parametrize('reference', ['', 'patient'])
def test_a_live_pivot_finds_the_tip_and_stops(start, probe, tmp_path, reference):
    file = tmp_path / 'tip.yaml'
    pivoting = Pivoting(start, probe, reference=reference, result_file=str(file), session__improve=1.0)
    pivoting.until(lambda: file.is_file(), 'the result file')
    probe.until(lambda: pivoting.code() == 'OK' and pivoting.latched, what='the tip')
    pivoting.assert_true_tip()
    values = probe.values('calibration: state')
    assert float(values['tip_sigma_mm']) < 0.1 and float(values['rms_residual_mm']) < 0.3
    stored = read_result(file, kind='tool_tip')
    np.testing.assert_allclose(stored.parent_T_child[:3, 3], TOOL_T_TIP[:3, 3], atol=2e-4)
    assert stored.tool == 'drill' and len(stored.data_sha256) == 64
    again = start(CalibrationNode, tool='drill', tip_file=str(file))  # what it wrote can be given back to it
    sigma_mm = 1e3 * np.sqrt(np.trace(stored.covariance[:3, :3]))
    assert again.health.status('state').values[1].value == f'{sigma_mm:.6g}'


def test_what_is_missing_is_said_in_degrees(start, probe):
    pivoting = Pivoting(start, probe)
    pivoting.until(
        lambda: 'tilt more' in getattr(probe.status('calibration: state'), 'message', ''), 'the advice', tilt=0.1
    )
    message = probe.status('calibration: state').message
    assert '° of 40°' in message
    assert pivoting.code() == 'CALIBRATING' and not pivoting.latched
    assert 5.0 < float(probe.values('calibration: state')['tilt_deg']) < 20.0


def test_a_tool_at_rest_is_told_to_move(start, probe):
    pivoting = Pivoting(start, probe)
    pivoting.until(
        lambda: 'does not move' in getattr(probe.status('calibration: state'), 'message', ''), 'the advice', tilt=0.0
    )
    assert not pivoting.latched


def test_restart_collects_again(start, probe):
    pivoting = Pivoting(start, probe, session__improve=0.2)
    pivoting.until(lambda: pivoting.node._finished, 'the end')
    client = probe.create_client(Trigger, '/calibration/restart')
    probe.until(client.service_is_ready, what='the service')
    answer = client.call_async(Trigger.Request())
    probe.until(answer.done, what='the answer')
    assert answer.result().success and 'tilt' in answer.result().message
    probe.until_code('calibration: state', 'CALIBRATING')
    heard = len(pivoting.latched)
    pivoting.until(lambda: len(pivoting.latched) > heard, 'a second tip')
    pivoting.assert_true_tip()


@pytest.mark.parametrize(
    ('frame', 'position', 'stamp_ns', 'code'),
    [
        ('camera', [0.0, 0.0, 0.0], START_NS, 'FRAME_MISMATCH'),
        ('tracker', [np.nan, 0.0, 0.0], START_NS, 'NOT_FINITE'),
        ('tracker', [0.0, 0.0, 0.0], 0, 'STAMP_ZERO'),
        ('tracker', [0.0, 0.0, 0.0], 2_000_000_000 * 1000 * MS, 'STAMP_FUTURE'),
    ],
)
def test_bad_poses_are_counted_and_leave_no_trace_in_the_tip(start, probe, frame, position, stamp_ns, code):
    pivoting = Pivoting(start, probe, session__improve=0.2)

    def refused():
        probe.say('drill/filtered_cp', pose_with_covariance(stamp_ns, frame, make_transform(np.eye(3), position),
                                                            COVARIANCE))  # fmt: skip
        return pivoting.node.health.counters.get(code, 0) >= 5

    probe.until(refused, pivoting.node, what=code)
    pivoting.until(lambda: pivoting.node._finished and pivoting.latched, 'the tip')
    pivoting.assert_true_tip()


def stored_tip(path, **changes):
    fields = {
        'kind': 'tool_tip', 'parent_frame': 'drill', 'child_frame': 'drill_tip', 'parent_T_child': TOOL_T_TIP,
        'covariance': np.diag([1e-8] * 3 + [0.0] * 3), 'errors': {'tip_sigma_m': 1e-4}, 'verdict': 'accept',
        'date': utc_date(), 'tool': 'drill',
    }  # fmt: skip
    write_result(path, StoredResult(**(fields | changes)))
    return path


def test_a_known_tip_is_published_at_once_and_to_who_comes_late(start, probe, tmp_path):
    node = start(CalibrationNode, tool='drill', tip_file=str(stored_tip(tmp_path / 'tip.yaml')))
    latched = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/drill')  # after it was said
    probe.until(lambda: latched, node, what='the tip')
    record = pose_from(latched[0], frame='drill', timeless=True)
    np.testing.assert_allclose(record.pose, TOOL_T_TIP, atol=1e-12)
    probe.until_code('calibration: state', 'OK')
    assert 'tip.yaml' in probe.status('calibration: state').message


def test_the_tip_of_a_plus_configuration_is_taken(start, probe, shared_data):
    path = shared_data / 'plus_tracker' / 'ConfigFiles' / 'PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml'
    node = start(CalibrationNode, tool='stylus', tip_file=str(path))
    latched = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/stylus')
    probe.until(lambda: latched, node, what='the tip')
    tip = pose_from(latched[0], frame='stylus', timeless=True).pose[:3, 3]
    np.testing.assert_allclose(tip, [0.108565, 0.007774, 0.002539], atol=1e-6)


def bad_files(folder):
    yield 'is no file|no such file|cannot be read', folder / 'nowhere.yaml'
    for name, text in (('empty', ''), ('text', 'hello'), ('cut', '{format: 1, kind: tool_tip')):
        path = folder / f'{name}.yaml'
        path.write_text(text)
        yield name, path
    yield 'kind', stored_tip(folder / 'other.yaml', kind='registration')
    yield 'refuse', stored_tip(folder / 'refused.yaml', verdict='refuse', reasons=('too few poses',))
    path = folder / 'plus.xml'
    path.write_text('<PlusConfiguration/>')
    yield 'plus', path


def test_a_file_that_holds_no_usable_tip_does_not_start(start, tmp_path):
    for _, path in bad_files(tmp_path):
        with pytest.raises(ConfigError, match=path.name):
            start(CalibrationNode, tool='drill', tip_file=str(path))


def test_the_process_says_it_in_one_line_and_exits_with_1(tmp_path):
    path = tmp_path / 'broken.yaml'
    path.write_text('tool_tip: yes')
    command = [sys.executable, '-m', 'twin_nodes.nodes.calibration_node', '--ros-args', '-p', 'tool:=drill', '-p',
               f'tip_file:={path}']  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith('configuration: ') and 'broken.yaml' in line
