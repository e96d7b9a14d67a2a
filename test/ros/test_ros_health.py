"""Health: a change is said at once, everything once a second, and no count is lost between threads."""

import threading

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.qos import DIAGNOSTICS


class Listener(Node):
    def __init__(self, context):
        super().__init__('listener', context=context)
        self.messages = []
        self.create_subscription(DiagnosticArray, '/diagnostics', self.messages.append, DIAGNOSTICS)

    def statuses(self, check):
        return [status for message in self.messages for status in message.status if status.name.endswith(f': {check}')]


def values_of(status):
    return {pair.key: pair.value for pair in status.values}


@pytest.fixture
def pair(ros_context, spin):
    """A health that a listener hears already, and the listener."""
    node, listener = Node('sample', context=ros_context), Listener(ros_context)
    health = Health(node, hardware_id='box 7')
    spin(lambda: health._publisher.get_subscription_count() > 0, node, listener, what='the match')
    yield node, health, listener
    listener.destroy_node()
    node.destroy_node()


def test_a_new_code_or_level_is_said_at_once_and_a_repetition_is_not(pair, spin):
    node, health, listener = pair
    node.destroy_timer(health._timer)  # nothing but changes speaks now
    health.set('drill', OK, 'OK', 'tracked', {'rate_hz': 59.87654321})
    health.set('drill', OK, 'OK', 'tracked still', {'rate_hz': 60.0})
    health.set('drill', WARN, 'TOOL_LOST', 'hidden')
    health.set('drill', WARN, 'TOOL_LOST', 'hidden still')
    health.set('drill', ERROR, 'TOOL_LOST', 'hidden for long')
    health.set('end', OK, 'OK', '')
    spin(lambda: listener.statuses('end'), what='the last status')
    said = listener.statuses('drill')
    assert [(s.level, s.message) for s in said] == [(OK, 'tracked'), (WARN, 'hidden'), (ERROR, 'hidden for long')]
    assert said[0].name == 'sample: drill' and said[0].hardware_id == 'box 7'
    assert values_of(said[0]) == {'code': 'OK', 'rate_hz': '59.8765'}
    assert [s.values[0].key for s in said] == ['code'] * 3


def test_everything_is_said_each_second_with_the_newest_text(pair, spin):
    _, health, listener = pair
    health.set('drill', OK, 'OK', 'first')
    health.set('drill', OK, 'OK', 'newest')
    health.count('GATED', 3)
    health.count('GATED')
    health.set_count('CRC_WRONG', 7)
    spin(lambda: 'newest' in [s.message for s in listener.statuses('drill')], what='the second')
    counters = listener.statuses('counters')[-1]
    assert values_of(counters) == {'code': 'OK', 'GATED': '4', 'CRC_WRONG': '7'}
    assert counters.message == 'CRC_WRONG 7, GATED 4'
    assert listener.messages[-1].header.stamp.sec > 0


def test_counters_and_checks_of_many_threads_are_exact(pair):
    _, health, _ = pair

    def work(number):
        for i in range(200):
            health.count('GATED')
            health.set(f'check {number}', OK if i % 2 else WARN, 'OK', str(i))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert health.counters == {'GATED': 800}
    assert {name: status.message for name, status in health._checks.items()} == {f'check {n}': '199' for n in range(4)}


def test_the_copy_of_the_counters_is_a_copy(pair):
    _, health, _ = pair
    health.count('GATED')
    health.counters['GATED'] = 99
    assert health.counters == {'GATED': 1}


def test_a_warning_is_counted_each_time(pair):
    _, health, _ = pair
    for _ in range(5):
        health.warn('FRAME_MISMATCH', 'another frame')
    assert health.counters == {'FRAME_MISMATCH': 5}


def test_nothing_is_sent_after_shutdown(ros_context):
    import rclpy

    node = Node('sample', context=ros_context)
    health = Health(node)
    rclpy.shutdown(context=ros_context)
    health.set('late', ERROR, 'TOOL_LOST', 'after the end')
    health.publish()
