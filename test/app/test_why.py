"""From facts to sentences, without a network; then one live graph of each kind."""

import itertools
import math

import pytest

from twin_nodes.app.why import BEST_EFFORT, OK, WRONG, Diagnostic, End, Facts, Qos, explain, qos_mismatch, why
from twin_nodes.core.errors import InputError

MS = 1_000_000
PUB = End('/tracker', 'geometry_msgs/msg/PoseStamped')
SUB = End('/guidance', 'geometry_msgs/msg/PoseStamped')
ARRIVALS = tuple(range(0, 1000 * MS, 10 * MS))
STAMPS = tuple(at - 2 * MS for at in ARRIVALS[1:])


def facts(**changes):
    base = {
        'topic': '/stylus/filtered_cp',
        'publishers': (PUB,),
        'subscribers': (SUB,),
        'arrivals_ns': ARRIVALS[1:],
        'stamps_ns': STAMPS,
        'frame': 'tracker',
        'frames': frozenset({'world', 'tracker'}),
        'frame_root': 'world',
        'world_root': 'world',
    }
    return Facts(**{**base, **changes})


def wrongs(**changes):
    return [str(finding) for finding in explain(facts(**changes)) if finding.level == WRONG]


def test_a_healthy_topic_has_nothing_wrong():
    findings = explain(facts())
    assert all(finding.level == OK for finding in findings)
    assert any('99 message(s) in 3 s, 100.0 Hz' in finding.text for finding in findings)
    assert any('2.0 ms old' in finding.text for finding in findings)


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'publishers': (), 'topics': ('/or1/stylus/filtered_cp',)}, "did you mean '/or1/stylus/filtered_cp'"),
        ({'publishers': (), 'topics': ('/stylus/filterd_cp',)}, "did you mean '/stylus/filterd_cp'"),
        ({'publishers': ()}, '/guidance waits for it'),
        ({'subscribers': (End('/g', 'std_msgs/msg/String'),)}, '/g expects std_msgs/msg/String, but'),
        ({'publishers': (End('/t', PUB.type_name, Qos(BEST_EFFORT)),)}, 'offers BEST_EFFORT, the subscription wants'),
        (
            {'subscribers': (End('/g', PUB.type_name, Qos(durability='TRANSIENT_LOCAL')),)},
            'durability: the publisher offers VOLATILE',
        ),
        ({'arrivals_ns': (), 'stamps_ns': ()}, '/tracker publishes /stylus/filtered_cp, but sent nothing within 3 s'),
        ({'stamps_ns': tuple(s - 2_000 * MS for s in STAMPS)}, 'data are 2.002 s old on arrival (limit 0.5 s)'),
        ({'stamps_ns': tuple(s + 1_000 * MS for s in STAMPS)}, '0.998 s in the future'),
        ({'stamps_ns': STAMPS[:50] + STAMPS[:49]}, 'jump back 1 time(s), by 0.490 s'),
        ({'stamps_ns': (STAMPS[60],) * 99}, 'every message carries the same stamp'),
        ({'stamps_ns': (0,) * 99}, 'marks its data as invalid'),
        ({'not_finite': 'pose.position.x'}, 'pose.position.x holds NaN or Inf'),
        ({'frame': 'traker'}, "frame 'traker' is not in tf; did you mean 'tracker'"),
        ({'frame_root': 'tracker'}, "no tf path from 'world' to 'tracker'"),
        ({'diagnostics': (Diagnostic('tracker: source', 2, 'SOURCE_STALLED', 'no frame for 3 s'),)}, 'SOURCE_STALLED'),
    ],
)
def test_each_fault_has_its_sentence(changes, sentence):
    found = wrongs(**changes)
    assert any(sentence in line for line in found), found


def test_old_data_of_a_latched_topic_are_no_fault():
    latched = (End('/c', PUB.type_name, Qos(durability='TRANSIENT_LOCAL')),)
    stamps = tuple(s - 3_600_000 * MS for s in STAMPS)
    assert wrongs(publishers=latched, stamps_ns=stamps) == []


def test_mismatch_agrees_with_rclpy():
    from rclpy.duration import Duration
    from rclpy.qos import (
        DurabilityPolicy,
        LivelinessPolicy,
        QoSCompatibility,
        QoSProfile,
        ReliabilityPolicy,
        qos_check_compatible,
    )

    def real(qos):
        profile = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy[qos.reliability],
            durability=DurabilityPolicy[qos.durability],
            liveliness=LivelinessPolicy[qos.liveliness],
        )
        if math.isfinite(qos.deadline_s):
            profile.deadline = Duration(seconds=qos.deadline_s)
        if math.isfinite(qos.lease_s):
            profile.liveliness_lease_duration = Duration(seconds=qos.lease_s)
        return profile

    kinds = [
        Qos(*words)
        for words in itertools.product(
            ('RELIABLE', 'BEST_EFFORT'),
            ('VOLATILE', 'TRANSIENT_LOCAL'),
            (math.inf, 0.5, 0.1),
            ('AUTOMATIC', 'MANUAL_BY_TOPIC'),
            (math.inf, 1.0),
        )
    ]
    for offered, wanted in itertools.product(kinds, kinds):
        verdict, _ = qos_check_compatible(real(offered), real(wanted))
        assert bool(qos_mismatch(offered, wanted)) == (verdict == QoSCompatibility.ERROR), (offered, wanted)


def test_first_not_finite_is_found_in_depth():
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from sensor_msgs.msg import JointState

    from twin_nodes.app.why_gather import first_not_finite

    message = PoseWithCovarianceStamped()
    assert first_not_finite(message) == ''
    message.pose.covariance[7] = math.nan
    assert first_not_finite(message) == 'pose.covariance[7]'
    message.pose.pose.position.y = math.inf
    assert first_not_finite(message) == 'pose.pose.position.y'
    assert first_not_finite(JointState(position=[0.0, math.nan])) == 'position[1]'


@pytest.fixture
def publishing(ros_context, in_thread):
    """Publish NaN poses in an unknown frame, BEST_EFFORT, with a RELIABLE subscriber beside."""
    import threading

    from geometry_msgs.msg import PoseStamped
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    node = Node('bad_source', context=ros_context)
    publisher = node.create_publisher(
        PoseStamped, '/why/pose', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    node.create_subscription(PoseStamped, '/why/pose', lambda _: None, QoSProfile(depth=1))

    def send():
        message = PoseStamped()
        message.header.frame_id = 'nowhere'
        message.header.stamp = node.get_clock().now().to_msg()
        message.pose.position.x = math.nan
        publisher.publish(message)

    node.create_timer(0.02, send)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    done = threading.Event()

    def spin():
        while not done.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = in_thread(spin)
    yield node
    done.set()
    thread.join()
    executor.shutdown()
    node.destroy_node()


def test_live_graph_is_gathered(publishing, capsys):
    from twin_nodes.app.why import why

    assert why('/why/pose', seconds=1.0) == 1
    out = capsys.readouterr().out
    assert '/bad_source and /bad_source do not match in reliability' in out
    assert 'pose.position.x holds NaN' in out
    assert "frame 'nowhere' is not in tf" in out
    assert 'old on arrival' in out


def test_live_unknown_topic_names_the_nearest(publishing, capsys, monkeypatch):
    from twin_nodes.app import why_gather
    from twin_nodes.app.why import why

    monkeypatch.setattr(why_gather, 'DISCOVERY_S', 1.0)
    assert why('why/pos', seconds=0.2, json=True) == 1
    assert "did you mean '/why/pose'" in capsys.readouterr().out


def test_a_file_is_no_topic():
    with pytest.raises(InputError, match=r"'config/tracker\.yaml' is no name of a topic"):
        why('config/tracker.yaml')
