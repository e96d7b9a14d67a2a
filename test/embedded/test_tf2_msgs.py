"""tf2_msgs as rosidl built it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
from rclpy.serialization import deserialize_message, serialize_message
from tf2_msgs.msg import TF2Error, TFMessage
from tf2_msgs.srv import FrameGraph
from tf_frames import message, rigid

FOLDER = Path(__file__).resolve().parents[2] / 'embedded' / 'tf2_msgs'
# as published by every ROS since Iron (REP 2016)
TYPE_HASH = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'

ECHO = """
import rclpy
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage
rclpy.init()
node = rclpy.create_node('echo')
back = node.create_publisher(TFMessage, 'back', 10)
node.create_subscription(TFMessage, 'there', back.publish, 10)
rclpy.spin(node)
"""


def test_serialises_and_comes_back():
    sent = TFMessage(transforms=[message('a', 'b', rigid((0.1, 0, 0), (1, 2, 3))), message('a', 'c', seconds=2.5)])
    assert deserialize_message(serialize_message(sent), TFMessage) == sent


def test_constants_and_service():
    names = ('NO', 'LOOKUP', 'CONNECTIVITY', 'EXTRAPOLATION', 'INVALID_ARGUMENT', 'TIMEOUT', 'TRANSFORM')
    assert [getattr(TF2Error, f'{name}_ERROR') for name in names] == list(range(7))
    assert TF2Error().get_fields_and_field_types() == {'error': 'uint8', 'error_string': 'string'}
    assert FrameGraph.Response(frame_yaml='[]').frame_yaml == '[]'
    assert FrameGraph.Request().get_fields_and_field_types() == {}


def test_type_hash_is_the_official_one(ros_context, spin):
    node = rclpy.create_node('node', context=ros_context)
    node.create_publisher(TFMessage, '/tf', 1)
    spin(lambda: bool(node.get_publishers_info_by_topic('/tf')), node)
    [publisher] = node.get_publishers_info_by_topic('/tf')
    assert str(publisher.topic_type_hash).endswith(TYPE_HASH.removeprefix('RIHS01_')), publisher.topic_type_hash


def test_goes_to_another_process_and_back(ros_context, spin):
    node = rclpy.create_node('node', context=ros_context)
    there = node.create_publisher(TFMessage, 'there', 10)
    answers = []
    node.create_subscription(TFMessage, 'back', answers.append, 10)
    echo = subprocess.Popen([sys.executable, '-c', ECHO], env=os.environ)
    try:
        sent = TFMessage(transforms=[message('a', 'b', rigid((0.1, 0, 0), (1, 2, 3)))])
        spin(lambda: there.get_subscription_count() == 1 and node.count_publishers('back') == 1, node, what='the match')

        def answered():
            there.publish(sent)
            return bool(answers)

        spin(answered, node)
        assert answers[0] == sent
    finally:
        echo.kill()
        echo.wait()
        node.destroy_node()


@pytest.fixture
def backend(monkeypatch):
    """The build backend, with scikit-build-core replaced: only the checks before it are tried here."""
    from types import ModuleType

    package, build = ModuleType('scikit_build_core'), ModuleType('scikit_build_core.build')
    for hook in (
        'build_sdist',
        'build_wheel',
        'get_requires_for_build_sdist',
        'get_requires_for_build_wheel',
        'prepare_metadata_for_build_wheel',
    ):
        setattr(build, hook, lambda *_: 'built')
    package.build = build
    monkeypatch.setitem(sys.modules, 'scikit_build_core', package)
    monkeypatch.setitem(sys.modules, 'scikit_build_core.build', build)
    monkeypatch.delitem(sys.modules, 'build_tf2_msgs', raising=False)
    monkeypatch.syspath_prepend(str(FOLDER))
    import build_tf2_msgs

    yield build_tf2_msgs
    sys.modules.pop('build_tf2_msgs', None)


def test_building_stops_where_another_ros_is_sourced(backend, monkeypatch, tmp_path):
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{sys.prefix}{os.pathsep}{tmp_path / "jazzy"}')
    with pytest.raises(SystemExit, match=r'AMENT_PREFIX_PATH names another ROS .*jazzy'):
        backend.refuse_sourced_ros(tmp_path / 'wheels')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{sys.prefix}{os.pathsep}{tmp_path / "wheels"}')
    backend.refuse_sourced_ros(tmp_path / 'wheels')


def test_building_stops_without_a_compiler_and_headers(backend, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setattr(backend.sysconfig, 'get_path', lambda _: str(tmp_path))
    with pytest.raises(SystemExit, match=r'g\+\+ and python3-dev not found. Install: apt-get install g\+\+ python3'):
        backend.require_compiler()
