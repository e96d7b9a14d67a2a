"""guidance_node with the set points of a robot: how late the tool follows is found, and bad set points are refused."""

import numpy as np
import pytest
from patient_streams import PATIENT_T_ANATOMY, TOOL_T_TIP, TRACKER_T_PATIENT, tip_at
from test_guidance_node import Guided, anatomy, cache  # noqa: F401  (a fixture)

from twin_nodes.core.geometry.se3 import inverse
from twin_nodes.ros.conversions import pose_stamped


def test_the_lag_of_a_robot_behind_its_set_points_is_found(start, probe, cache):  # noqa: F811
    guided = Guided(start, probe, cache, setpoint_topic='PSM1/setpoint_cp')
    guided.ready(tip_at(0.0, 0.03, 0.0))
    streams, tick = guided.streams, 0

    def tip(at):
        return tip_at(0.01 * np.sin(0.08 * at), 0.03 + 0.006 * np.sin(0.053 * at), 0.0)

    def told():
        nonlocal tick
        tick += 1
        wanted = TRACKER_T_PATIENT @ PATIENT_T_ANATOMY @ tip(tick) @ inverse(TOOL_T_TIP)
        probe.say('PSM1/setpoint_cp', pose_stamped(streams.stamp_ns + streams.period_ns, 'tracker', wanted))
        streams.say(tip(tick - 5))  # 50 ms late
        return guided.node._advisor.lag is not None

    probe.until(told, guided.node, what='the lag', deadline_s=40.0)
    assert guided.node._advisor.lag == pytest.approx(0.05, abs=0.012)

    def refused():
        probe.say('PSM1/setpoint_cp', pose_stamped(streams.stamp_ns, 'ECM', np.eye(4)))
        return guided.node.health.counters.get('FRAME_MISMATCH', 0) > 0

    probe.until(refused, guided.node, what='a refusal')


def test_a_replay_waits_for_set_points_and_says_so(start, probe, cache):  # noqa: F811
    guided = Guided(start, probe, cache, setpoint_topic='PSM1/setpoint_cp', use_sim_time=True)
    guided.streams.say_ties()
    probe.say_latched('anatomy/surface', anatomy())

    def silent():
        guided.streams.say(tip_at(0.0, 0.03, 0.0))
        return guided.node.health.code('set points') == 'SETPOINTS_SILENT'

    probe.until(silent, guided.node, what='that set points are missed', deadline_s=40.0)
    assert not guided.clouds

    def advised():
        stamp_ns = guided.streams.say(tip_at(0.0, 0.03, 0.0))
        probe.say('PSM1/setpoint_cp', pose_stamped(stamp_ns, 'tracker', np.eye(4)))
        return guided.clouds and guided.node.health.code('set points') == 'OK'

    probe.until(advised, guided.node, what='advice', deadline_s=40.0)
