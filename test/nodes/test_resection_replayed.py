"""A grasp, a drill and a plane live, recorded as a bag and replayed: anatomy_node and guidance_node say the same."""

import threading
import time
from types import SimpleNamespace

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from liver_case import build_liver
from patient_streams import (
    COVARIANCE,
    MS,
    PATIENT_T_ANATOMY,
    TIE_COVARIANCE,
    TOOL_T_TIP,
    TRACKER_T_PATIENT,
    tip_at,
)
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState, Joy, PointCloud2

from twin_nodes.app.play import PlayConfig, Player
from twin_nodes.core.geometry.se3 import inverse, make_transform
from twin_nodes.core.simulate.motion import minimum_jerk
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.io.case import read_case
from twin_nodes.nodes.anatomy_node import AnatomyNode
from twin_nodes.nodes.guidance_node import GuidanceNode
from twin_nodes.ros.clouds import array_from_cloud
from twin_nodes.ros.conversions import ns_to_stamp, pose_stamped, pose_with_covariance, stamp_to_ns
from twin_nodes.ros.moved_surface import moved_from
from twin_nodes.ros.qos import REPLAY_LATCHED, REPLAY_SUBSCRIPTION

PERIOD_NS = 20 * MS
CLOSE, PULL, DRILL, REST, CUT, BESIDE, END = 5, 45, 50, 80, 95, 100, 115  # numbers of poses
Z_TO_X = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # z becomes x
CUT_X = 0.01
TIP_RADIUS = 0.002
PULLED = 0.006  # m, in 40 poses: 0.15 mm from one to the next


class Room:
    """Where the tools are at each pose, and what is said with it."""

    def __init__(self, mesh, start_ns):
        self.start_ns = start_ns
        outer = mesh.nodes[mesh.outer_nodes]
        front = outer[outer[:, 1] < np.median(outer[:, 1])]
        self.held = front[np.argmin(np.linalg.norm(front[:, [0, 2]] - [-0.045, 0.0], axis=1))]
        self.drilled = outer[np.argmin(outer[:, 1])]

    def tips(self, number):
        def share(begin, end):
            return minimum_jerk((number - begin) / (end - begin))

        pull = np.array([0.0, -PULLED * share(CLOSE, PULL), 0.0])
        into = np.array([0.0, 0.016 * share(DRILL, REST) - 0.008, 0.0])
        beside = np.array([CUT_X + 0.006 + TIP_RADIUS, -0.02, 0.01])
        drill = self.drilled + into
        return {'grasper': self.held + pull, 'drill': drill + (beside - drill) * share(CUT, BESIDE)}

    def said(self, number):
        """Events and then poses of one instant as (topic, message)."""
        stamp_ns = self.start_ns + number * PERIOD_NS
        header = ns_to_stamp(stamp_ns)
        if number == CLOSE:
            jaw = JointState(position=[0.0])
            jaw.header.stamp = header
            yield 'grasper/jaw/measured_js', jaw
        if number in (DRILL, REST):
            switch = Joy(buttons=[int(number == DRILL)])
            switch.header.stamp = header
            yield 'drill/drilling', switch
        if number == CUT:
            plane = make_transform(Z_TO_X, [CUT_X, 0.0, 0.0])
            yield 'anatomy/resect/stamped', pose_stamped(stamp_ns, 'anatomy', plane)
        patient = TRACKER_T_PATIENT @ make_transform(np.eye(3), [0.0, 0.001 * np.sin(0.1 * number), 0.0])
        yield 'patient/filtered_cp', pose_with_covariance(stamp_ns, 'tracker', patient, COVARIANCE)
        for tool, tip in self.tips(number).items():
            pose = patient @ PATIENT_T_ANATOMY @ tip_at(*tip) @ inverse(TOOL_T_TIP)
            yield f'{tool}/filtered_cp', pose_with_covariance(stamp_ns, 'tracker', pose, COVARIANCE)


def ties():
    for tool in ('grasper', 'drill'):
        yield f'calibration/{tool}', pose_with_covariance(0, tool, TOOL_T_TIP, TIE_COVARIANCE)
    yield 'registration', pose_with_covariance(0, 'patient', PATIENT_T_ANATOMY, TIE_COVARIANCE)


class Twin:
    """anatomy_node and guidance_node, and what they say by stamp."""

    def __init__(self, start, probe, case, cache, *, replay):
        self.probe, qos = probe, REPLAY_SUBSCRIPTION
        probe.heard.clear()
        self._moved = probe.listen(PointCloud2, 'anatomy/surface/moved', REPLAY_LATCHED)
        self._removed = probe.listen(PointCloud2, 'anatomy/removed', qos)
        self._clearance = probe.listen(PointCloud2, 'guidance/clearance', qos)
        self._events = probe.listen(DiagnosticArray, 'guidance/events', qos)
        self._nodes = probe.listen(PointCloud2, 'anatomy/nodes', REPLAY_LATCHED)
        self.guidance = start(
            GuidanceNode, tool='drill', guard=['liver', 'lesion'], cache_dir=cache, use_sim_time=replay,
            realtime=False, advisor__stale_after=5.0, advisor__prediction__measure_latency=False,
            advisor__guidance__tool__tip_radius=TIP_RADIUS,
        )  # fmt: skip
        self.anatomy = start(
            AnatomyNode, case=str(case), use_sim_time=replay, deforming__enabled=True, deforming__tools=['grasper'],
            deforming__grip='jaw', deforming__session__tissue__fixed=['back'], deforming__rate=50.0,
            deforming__budget=1.0, deforming__max_age=20.0, deforming__vertices_period=0.01,
            deforming__session__compliance__patches=20,
            deforming__session__compliance__inner_patches=4, deforming__session__compliance__modes=20,
            carving__enabled=True, carving__tool='drill', carving__tissue_sigma=0.05, carving__voxel_size=0.002,
            carving__drill_switch=True, carving__switch_stamped=True, carving__carver__burr__radius=0.006,
        )  # fmt: skip

    def until(self, condition, what):
        self.probe.until(condition, self.anatomy, self.guidance, what=what, deadline_s=30.0)

    def newest_advice(self):
        return stamp_to_ns(self._clearance[-1].header.stamp) if self._clearance else 0

    def clearances(self):
        return {stamp_to_ns(cloud.header.stamp): array_from_cloud(cloud) for cloud in self._clearance}

    def nodes(self):
        found = {stamp_to_ns(cloud.header.stamp): array_from_cloud(cloud) for cloud in self._nodes}
        return {at: np.stack([rows[name] for name in 'xyz'], axis=1) for at, rows in found.items()}

    def gone(self):
        """By structure, when a plane was first told and which vertices lay beyond it."""
        parts = [part for cloud in self._moved for part in moved_from(cloud, frame='anatomy')]
        first = {}
        for part in parts:
            if part.beyond is not None:
                first.setdefault(part.structure, (part.stamp_ns, part.vertices[part.beyond > 0.0]))
        return first

    def told(self):
        """All of it, by stamp."""
        removed = self.anatomy.carving.carver.volume.removed_indices()
        return SimpleNamespace(
            removed=removed, gone=self.gone(), nodes=self.nodes(), clearance=self.clearances(), events=self.events()
        )

    def end(self):
        for node in (self.anatomy, self.guidance):
            node.destroy_node()

    def events(self):
        return [
            (status.name, value.get('code'), value.get('zone'), stamp_to_ns(message.header.stamp))
            for message in self._events for status in message.status
            for value in [{pair.key: pair.value for pair in status.values}]
        ]  # fmt: skip


class Live:
    """Says the room to a live twin, each instant when the one before has been taken in, and notes what it said."""

    def __init__(self, twin, room):
        self.twin, self.room, self.recorded, self.next_s = twin, room, [], 0.0
        for topic, message in ties():
            twin.probe.say_latched(topic, message)
            self.recorded.append((topic, room.start_ns - PERIOD_NS, message))

    def play(self):
        self.twin.until(self.tell_rest, 'the streams')
        for number in range(END):
            self.say(number)
            stamp = self.room.start_ns + number * PERIOD_NS
            self.twin.until(lambda stamp=stamp: self.is_taken_in(stamp), f'pose {number}')
        return self.recorded

    def tell_rest(self):
        """Say a pose at rest for as long as some do not hear the streams, no faster than they are read."""
        twin, now = self.twin, time.monotonic()
        if now > self.next_s:
            self.next_s = now + 0.05
            self.say(0)
            self.room.start_ns += PERIOD_NS
        return twin.newest_advice() and twin.anatomy.deforming.input._newest_ns and twin.anatomy.carving._newest

    def say(self, number):
        for topic, message in self.room.said(number):
            self.recorded.append((topic, self.room.start_ns + number * PERIOD_NS + 3 * MS, message))
            self.twin.probe.say(topic, message)
            if topic in self.heard():
                self.twin.until(lambda topic=topic, message=message: self.until_heard(topic, message), topic)

    def until_heard(self, topic, message):
        """What comes once may come before the match: say it again until it has come."""
        if not self.heard()[topic]:
            self.twin.probe.say(topic, message)
        return self.heard()[topic]

    def heard(self):
        anatomy, on = self.twin.anatomy, self.recorded[-1][2]
        return {
            'grasper/jaw/measured_js': anatomy.deforming.input._closed.get('grasper', False),
            'drill/drilling': isinstance(on, Joy) and anatomy.carving._on is bool(on.buttons[0]),
            'anatomy/resect/stamped': anatomy.deforming.session.left.volume > 0.0,
        }

    def is_taken_in(self, stamp):
        """Whether body, drill and guidance have come as far."""
        anatomy, guidance = self.twin.anatomy, self.twin.guidance
        moved = {stamp_to_ns(cloud.header.stamp) for cloud in self.twin._moved[-1:]}
        return (
            anatomy.deforming.input._newest_ns >= stamp
            and (anatomy.carving._newest is None or anatomy.carving._newest.stamp_ns >= stamp)
            and not anatomy.deforming.feed.is_changed
            and self.twin.newest_advice() >= stamp
            and {one.stamp_ns for one in guidance._guarded.moved._newest.values()} == moved
        )


def write_bag(folder, recorded):
    with BagWriter(folder) as writer:
        handles = {}
        for topic, log_ns, message in sorted(recorded, key=lambda one: one[1]):
            if topic not in handles:
                latched = topic == 'registration' or topic.startswith('calibration/')
                qos = OfferedQos(durability='transient_local' if latched else 'volatile')
                kind = type(message).__module__.split('.')[0] + '/msg/' + type(message).__name__
                handles[topic] = writer.add_topic(f'/{topic}', kind, qos=(qos,))
            writer.write(handles[topic], log_ns, serialize_message(message))


def play_bag(twin, folder, ros_context, last_ns):
    """Play it as `twin play` does, until the last pose has its advice."""
    node, stop = Node('player', context=ros_context), threading.Event()
    try:
        with BagReader(folder) as reader:
            player = Player(reader, node, PlayConfig(rate=2.0, wait_for_subscribers_s=20.0))
            playing = threading.Thread(target=lambda: (player.wait_for_subscribers(stop), player.play(stop)))
            playing.start()
            try:
                twin.until(lambda: twin.newest_advice() >= last_ns, 'the advice of the replay')
                twin.until(lambda: not twin.anatomy.deforming.feed.waits, 'the last frames')
            finally:
                stop.set()
                playing.join()
    finally:
        node.destroy_node()


def test_a_resection_is_the_same_live_and_replayed(start, probe, ros_context, tmp_path):
    case = build_liver(tmp_path, 900, lesion=True)
    room = Room(read_case(case).tets, time.time_ns() // PERIOD_NS * PERIOD_NS - 3600 * 1000 * MS)
    live = Twin(start, probe, case, str(tmp_path), replay=False)
    write_bag(tmp_path / 'bag', Live(live, room).play())
    told = live.told()
    live.end()
    stamps = [room.start_ns + number * PERIOD_NS for number in range(END)]
    replay = Twin(start, probe, case, str(tmp_path), replay=True)
    play_bag(replay, tmp_path / 'bag', ros_context, stamps[-1])
    again = replay.told()

    # the anatomy: the same voxels and vertices are gone, and all that is left is in the same place once it is at rest
    np.testing.assert_array_equal(told.removed, again.removed)
    assert len(told.removed) > 50 and told.gone.keys() == again.gone.keys() == {0, 1}
    for number, (_, gone) in told.gone.items():
        np.testing.assert_array_equal(gone, again.gone[number][1])
    common = [at for at in (*stamps[:CUT], *stamps[CUT + 15 :]) if at in told.nodes and at in again.nodes]
    assert len(common) > 60
    for at in common:
        np.testing.assert_allclose(told.nodes[at], again.nodes[at], rtol=0.0, atol=1e-5)
    # the guidance: advice for each pose, and live the tissue at most one frame behind: 0.15 mm of the pull
    assert [at for at in stamps if at not in told.clearance or at not in again.clearance] == []
    for number in (*range(DRILL), *range(REST + 12, CUT), *range(CUT + 2, END)):
        one, other = told.clearance[stamps[number]], again.clearance[stamps[number]]
        np.testing.assert_allclose(one['distance_now'], other['distance_now'], rtol=0.0, atol=2e-4)
    assert [event[:3] for event in told.events] == [event[:3] for event in again.events]
    late = [one[3] - other[3] for one, other in zip(told.events, again.events, strict=True)]
    assert max(map(abs, late)) <= 2 * PERIOD_NS, late
    assert {'CONTACT_AHEAD', 'STRUCTURE_BREACHED', 'OK'} <= {event[1] for event in told.events}
    # and both are right: what the plane took is gone from its stamp on, the cut face is where it cut
    assert {first_ns for first_ns, _ in again.gone.values()} == {stamps[CUT]}
    last = {int(row['structure']): row['distance_now'] for row in again.clearance[stamps[-1]]}
    assert abs(last[0] - 0.006) < 0.0015 and last[1] > 1.0
