"""Listener, broadcasters, waiting and clock jumps over real middleware."""

import os
import subprocess
import sys
import threading
import time

import pytest
import rclpy
from builtin_interfaces.msg import Time as TimeMsg
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage
from tf2_msgs.srv import FrameGraph
from tf2_ros import (
    Buffer,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    StaticTransformBroadcaster,
    TransformBroadcaster,
    TransformListener,
)
from tf_frames import SECOND, at, message, numbers, rigid, stamp_ns


@pytest.fixture
def make_node(ros_context):
    nodes = []

    def make(name, **options):
        nodes.append(rclpy.create_node(name, context=ros_context, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_what_is_broadcast_is_looked_up(make_node, spin):
    sender, receiver = make_node('sender'), make_node('receiver')
    buffer = Buffer()
    listener = TransformListener(buffer, receiver)
    moving, fixed = TransformBroadcaster(sender), StaticTransformBroadcaster(sender)
    fixed.sendTransform(message('tool', 'tip', rigid(position=(0, 0, 0.1))))
    fixed.sendTransform([message('tracker', 'patient')])
    spin(lambda: moving.pub_tf.get_subscription_count() == 1, sender, receiver, what='the match')
    sent = message('tracker', 'tool', rigid((0.1, 0.2, 0.3), (1, 2, 3)), 1.0)
    moving.sendTransform(sent)
    moving.sendTransform((message('tracker', 'tool', seconds=2.0), message('tracker', 'probe', seconds=2.0)))
    spin(lambda: buffer.can_transform('patient', 'tip', at(1)) and buffer.can_transform('tracker', 'probe', at(2)))
    got = buffer.lookup_transform('tracker', 'tool', at(1))
    assert (got.header, got.child_frame_id) == (sent.header, sent.child_frame_id)
    assert got.transform.translation == sent.transform.translation
    assert listener.dropped == 0


def test_who_comes_late_gets_every_static_frame_at_its_newest_place(make_node, spin):
    sender, receiver = make_node('sender'), make_node('receiver')
    fixed = StaticTransformBroadcaster(sender)
    fixed.sendTransform(message('a', 'b', rigid(position=(1, 0, 0))))
    fixed.sendTransform(message('a', 'c'))
    fixed.sendTransform(message('a', 'b', rigid(position=(2, 0, 0))))
    buffer = Buffer()
    listener = TransformListener(buffer, receiver)
    spin(lambda: buffer.can_transform('b', 'c', Time()), sender, receiver)
    assert buffer.lookup_transform('a', 'b', Time()).transform.translation.x == 2.0
    assert listener.tf_static_sub.handle is not None


def test_qos_is_that_of_tf2(make_node):
    node = make_node('node')
    TransformBroadcaster(node), StaticTransformBroadcaster(node)
    listener = TransformListener(Buffer(), node)
    moving, fixed = listener.tf_sub.qos_profile, listener.tf_static_sub.qos_profile
    assert (moving.depth, moving.reliability, moving.durability) == (
        100,
        ReliabilityPolicy.RELIABLE,
        DurabilityPolicy.VOLATILE,
    )
    assert (fixed.depth, fixed.durability) == (100, DurabilityPolicy.TRANSIENT_LOCAL)


def test_bad_transforms_are_dropped_counted_and_said_with_their_sender(make_node, spin, monkeypatch):
    sender, receiver = make_node('drill_node'), make_node('receiver')
    said = []
    monkeypatch.setattr(receiver, 'get_logger', lambda: type('Log', (), {'warning': staticmethod(said.append)}))
    buffer = Buffer()
    listener = TransformListener(buffer, receiver)
    broadcaster = TransformBroadcaster(sender)
    spin(lambda: broadcaster.pub_tf.get_subscription_count() == 1, sender, receiver, what='the match')
    bad = numbers('a', 'b', (0.0, float('nan'), 0.0, 0.0, 0.0, 0.0, 1.0))
    broadcaster.sendTransform([bad, bad, message('a', 'a'), message('a', 'good')])
    spin(lambda: buffer.can_transform('a', 'good', at(1)))
    assert listener.dropped == 3
    assert len(said) == 2  # once for each frame
    assert 'Dropped a transform from /tf (publishers: drill_node)' in said[0]
    assert 'NaN or Inf for "b"' in said[0]


def test_a_lookup_waits_for_data_that_another_thread_takes_in(make_node, spin, in_thread):
    sender, receiver = make_node('sender'), make_node('receiver')
    buffer = Buffer()
    TransformListener(buffer, receiver, spin_thread=False)
    broadcaster = TransformBroadcaster(sender)
    answers = []
    in_thread(lambda: answers.append(buffer.lookup_transform('a', 'b', at(1), Duration(seconds=30))))
    spin(lambda: broadcaster.pub_tf.get_subscription_count() == 1 and buffer._waiting == 1, sender, receiver)
    broadcaster.sendTransform(message('a', 'b'))
    spin(lambda: bool(answers), sender, receiver)
    assert stamp_ns(answers[0]) == SECOND


def test_spin_thread_takes_data_in_and_ends(make_node):
    sender, receiver = make_node('sender'), make_node('receiver')
    buffer = Buffer()
    listener = TransformListener(buffer, receiver, spin_thread=True)
    StaticTransformBroadcaster(sender).sendTransform(message('a', 'b'))
    assert buffer.can_transform('a', 'b', Time(), timeout=Duration(seconds=20))
    listener._stop_spinning()
    assert not listener.dedicated_listener_thread.is_alive()


@pytest.mark.parametrize('shut_down', [False, True])
def test_a_process_with_a_spin_thread_ends_well(shut_down):
    program = """if True:
        import rclpy
        from rclpy.duration import Duration
        from tf2_ros import Buffer, TransformListener
        rclpy.init()
        node = rclpy.create_node('short_lived')
        listener = TransformListener(Buffer(node=node), node, spin_thread=True)
        listener.buffer.can_transform('a', 'b', rclpy.time.Time(), Duration(nanoseconds=1_000_000))
        ENDING
    """.replace('ENDING', 'rclpy.shutdown()' if shut_down else '')
    ended = subprocess.run(
        [sys.executable, '-c', program], env=os.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, '')


@pytest.mark.parametrize('full', [False, True])
def test_waiting_inside_a_callback_of_the_only_thread_ends_at_the_timeout(make_node, spin, full):
    node = make_node('node')
    buffer = Buffer()
    TransformListener(buffer, node)
    reasons = []

    def look():
        timer.cancel()
        begin = time.monotonic()
        try:
            if full:
                buffer.lookup_transform_full('a', at(1), 'b', at(1), 'c', Duration(seconds=0.1))
            else:
                buffer.lookup_transform('a', 'b', at(1), Duration(seconds=0.1))
        except LookupException as reason:
            reasons.append((reason, time.monotonic() - begin))

    timer = node.create_timer(0.0, look)
    spin(lambda: bool(reasons), node)
    assert reasons[0][1] >= 0.1


def test_waiting_does_not_begin_where_no_data_can_help():
    with pytest.raises(InvalidArgumentException):
        Buffer().lookup_transform('a', '/b', at(1), Duration(seconds=3600))


def test_can_transform_waits_and_says_why_not():
    buffer = Buffer()
    assert not buffer.can_transform('a', 'b', at(1), Duration(nanoseconds=1_000_000))
    buffer.set_transform(message('a', 'b'), 'test')
    assert buffer.can_transform('a', 'b', at(1), timeout=Duration(seconds=3600))
    possible, reason = buffer.can_transform('a', 'b', at(2), Duration(nanoseconds=1_000_000), return_debug_tuple=True)
    assert not possible
    assert 'extrapolation' in reason


def test_a_coroutine_gets_its_transform_when_it_comes(make_node, ros_context):
    node = make_node('node')
    buffer = Buffer()
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    task = executor.create_task(buffer.lookup_transform_async('a', 'b', at(1.5)))
    full = executor.create_task(buffer.lookup_transform_full_async('a', at(2), 'b', at(1), 'a'))
    for seconds in (1.0, 2.0):
        assert not task.done()
        executor.spin_once(timeout_sec=0.01)
        buffer.set_transform(message('a', 'b', rigid(position=(seconds, 0, 0)), seconds), 'test')
    executor.spin_until_future_complete(task, timeout_sec=20)
    executor.spin_until_future_complete(full, timeout_sec=20)
    assert task.result().transform.translation.x == pytest.approx(1.5)
    assert full.result().transform.translation.x == pytest.approx(1.0)
    assert buffer._requests == []
    executor.shutdown()


def test_futures_end_by_an_answer_a_lasting_reason_or_a_cancel():
    buffer = Buffer()
    wanted = buffer.wait_for_transform_async('a', 'b', at(1))
    given_up = buffer.wait_for_transform_async('a', 'c', at(1))
    wrong = buffer.wait_for_transform_async('a', '/b', at(1))
    assert isinstance(wrong.exception(), InvalidArgumentException)
    given_up.cancel()
    assert len(buffer._requests) == 1
    buffer.set_transform(message('a', 'b'), 'test')
    assert stamp_ns(wanted.result()) == SECOND
    assert buffer.wait_for_transform_async('a', 'b', at(1)).done()
    assert buffer.wait_for_transform_full_async('a', at(1), 'b', at(1), 'a').done()
    assert buffer._requests == []


def test_many_threads_look_up_while_samples_come_in(in_thread):
    buffer = Buffer(cache_time=Duration(seconds=0.5))
    buffer.set_transform(message_at_x(1.0), 'test')
    wrong, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                got = buffer.lookup_transform('a', 'b', Time())
                if abs(got.transform.translation.x - stamp_ns(got) / SECOND) > 1e-9:
                    wrong.append(got)
            except ExtrapolationException as error:
                wrong.append(error)

    threads = [in_thread(read) for _ in range(3)]
    for step in range(3000):
        seconds = 1.0 + step / 1000
        buffer.set_transform(message_at_x(seconds), 'test')
    stop.set()
    for thread in threads:
        thread.join(timeout=5)
    assert wrong == []


def message_at_x(seconds):
    return numbers('a', 'b', (seconds, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), seconds)


@pytest.mark.parametrize('buffer_knows_node', [False, True])
def test_a_clock_that_jumps_back_clears_what_moves(make_node, spin, buffer_knows_node):
    room = make_node('room')
    node = make_node('node', parameter_overrides=[Parameter('use_sim_time', value=True)])
    buffer = Buffer(node=node if buffer_knows_node else None)
    listener = TransformListener(buffer, node)
    clock = room.create_publisher(Clock, '/clock', 1)
    spin(lambda: clock.get_subscription_count() == 1, room, node, what='the match')

    def tick(seconds):
        def reached():
            clock.publish(Clock(clock=TimeMsg(sec=seconds)))
            return node.get_clock().now().nanoseconds == seconds * SECOND

        spin(reached, what=f'/clock at {seconds} s')

    tick(100)
    listener.callback(TFMessage(transforms=[message('a', 'b', seconds=100.0)]))
    listener.static_callback(TFMessage(transforms=[message('b', 'c')]))
    tick(101)
    assert buffer.can_transform('a', 'c', at(100))
    tick(5)
    assert not buffer.can_transform('a', 'c', Time())
    assert buffer.can_transform('b', 'c', Time())
    listener.callback(TFMessage(transforms=[message('a', 'b', seconds=5.0)]))
    assert buffer.can_transform('a', 'c', at(5))


def test_a_buffer_of_a_node_offers_its_frames(make_node, spin):
    node = make_node('node')
    buffer = Buffer(node=node)
    buffer.set_transform(message('a', 'b'), 'test')
    client = node.create_client(FrameGraph, 'tf2_frames')
    spin(client.service_is_ready, node)
    future = client.call_async(FrameGraph.Request())
    spin(future.done)
    assert future.result().frame_yaml == buffer.all_frames_as_yaml()
