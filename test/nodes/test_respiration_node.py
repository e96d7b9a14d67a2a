"""respiration_node: markers and fixes in, a target ahead of time and a gate out."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Bool

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.simulate.breathing import breathing_trace
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.nodes.respiration_node import RespirationNode
from twin_nodes.ros.conversions import pose_from, pose_with_covariance

START_NS = 1_700_000_000 * NANOSECONDS
COVARIANCE = np.eye(6) * 1e-8
QUICK = {'respiration__breathing__learning_time': 5.0, 'respiration__breathing__horizons': [0.1, 0.3, 0.5]}


def message(stamp_ns, position, frame='tracker'):
    return pose_with_covariance(stamp_ns, frame, make_transform(np.eye(3), position), COVARIANCE)


class Breathing:
    """A breathing patient that is told sample by sample."""

    def __init__(self, probe, **parameters):
        self.probe = probe
        self.trace = breathing_trace(np.random.default_rng(4), seconds=60.0)
        self.index = 0
        self._turns = 0

    def say(self):
        """Say the next sample each fifth time: the node takes one message at a time."""
        self._turns += 1
        if self._turns % 5:
            return
        stamp_ns = START_NS + round(self.trace.times[self.index] * NANOSECONDS)
        for name, position in zip(('chest', 'belly'), self.trace.markers[self.index], strict=True):
            self.probe.say(f'{name}/filtered_cp', message(stamp_ns, position))
        if self.index % 8 == 0:
            self.probe.say('respiration/fix', message(stamp_ns, self.trace.target[self.index]))
        self.index = min(self.index + 1, len(self.trace.times) - 1)

    def truth(self, stamp_ns):
        instant = (stamp_ns - START_NS) / NANOSECONDS
        return np.array([np.interp(instant, self.trace.times, self.trace.target[:, axis]) for axis in range(3)])


def test_tells_the_target_ahead_of_time(start, probe):
    targets = probe.listen(PoseWithCovarianceStamped, 'respiration/target')
    gates = probe.listen_latched(Bool, 'respiration/gate')
    breathing = Breathing(probe)
    planned = breathing.trace.target.mean(axis=0)
    node = start(RespirationNode, markers=['chest', 'belly'], planned=planned.tolist(), ahead=0.3, **QUICK)

    def shown():
        breathing.say()
        return len(targets) > 120 and gates

    probe.until(shown, node, what='targets', deadline_s=60.0)
    records = [pose_from(target, frame='tracker') for target in targets]
    errors = np.array([record.pose[:3, 3] - breathing.truth(record.stamp_ns) for record in records])
    assert np.sqrt(np.mean(np.sum(errors[50:] ** 2, axis=1))) < 0.004  # the target moves by 12 mm
    assert records[-1].stamp_ns > START_NS
    assert probe.code('respiration: state') == 'OK'


def test_says_what_is_missing(start, probe):
    node = start(RespirationNode, markers=['chest', 'belly'], **QUICK)
    probe.until(lambda: probe.code('respiration: state') == 'LEARNING', node, what='LEARNING')
    nan = message(START_NS, [0.0, 0.0, 0.0])
    nan.pose.pose.position.x = float('nan')

    def counted():
        probe.say('chest/filtered_cp', nan)
        return node.health.counters.get('NOT_FINITE', 0) > 0

    probe.until(counted, node, what='NOT_FINITE')


@pytest.mark.parametrize(
    ('parameters', 'text'),
    [({'planned': [1.0]}, 'must have 3 numbers'), ({'ahead': 4.0}, 'beyond the last of')],
)
def test_refuses_a_configuration_that_cannot_be(start, parameters, text):
    with pytest.raises(ConfigError, match=text):
        start(RespirationNode, markers=['chest'], **parameters)


def test_refuses_to_start_without_markers(start):
    with pytest.raises(ConfigError, match='markers'):
        start(RespirationNode)
