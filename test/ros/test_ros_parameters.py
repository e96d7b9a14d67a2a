"""Parameters become configs or one clear line; ROS knows each with unit and bounds, and none changes later."""

import sys
from dataclasses import MISSING, dataclass

import pytest
from rcl_interfaces.msg import ParameterType
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.node import Node
from rclpy.parameter import Parameter

from twin_nodes.core.config import group, setting, settings_of
from twin_nodes.core.errors import ConfigError
from twin_nodes.ros.parameters import declare_config, parameter_files
from twin_nodes.ros.registry import CONFIGS, config_type


@dataclass(frozen=True)
class Limits:
    speed: float = setting('Fastest move.', 1.0, unit='m/s', minimum=0.1, maximum=2.0)
    count: int = setting('How many.', 3, minimum=1)


@dataclass(frozen=True)
class SampleConfig:
    tool: str = setting('The tool.')
    mode: str = setting('How.', 'fast', choices=('fast', 'slow'))
    names: tuple[str, ...] = setting('Some names.', ())
    offsets: tuple[float, ...] = setting('Offsets.', (0.0, 1.0), unit='m', minimum=-1.0)
    on: bool = setting('Whether.', True)
    limits: Limits = group(Limits)

    def __post_init__(self):
        if self.tool == 'forbidden':
            raise ConfigError('tool=forbidden cannot be')


@pytest.fixture
def node_with(ros_context, monkeypatch):
    """Makes nodes with parameter overrides, and with a file on the command line when `file` is given."""
    nodes = []

    def make(name='sample', *, file=None, **overrides):
        monkeypatch.setattr(sys, 'argv', ['node', *(['--ros-args', '--params-file', str(file)] if file else [])])
        parameters = [Parameter(key.replace('__', '.'), value=value) for key, value in overrides.items()]
        node = Node(name, context=ros_context, parameter_overrides=parameters)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()


def test_given_values_and_defaults_make_the_config(node_with):
    node = node_with(tool='drill', limits__speed=0.5, names=['a', 'b'], on=False)
    config = declare_config(node, SampleConfig)
    assert config == SampleConfig('drill', names=('a', 'b'), on=False, limits=Limits(speed=0.5))
    assert node.get_parameter('limits.speed').value == 0.5
    assert node.get_parameter('limits.count').value == 3
    assert list(node.get_parameter('names').value) == ['a', 'b']


def test_unit_bounds_and_meaning_stand_in_the_descriptor(node_with):
    node = node_with(tool='drill')
    declare_config(node, SampleConfig)
    speed, count = node.describe_parameter('limits.speed'), node.describe_parameter('limits.count')
    assert speed.description == 'Fastest move. [m/s]'
    assert (speed.floating_point_range[0].from_value, speed.floating_point_range[0].to_value) == (0.1, 2.0)
    assert count.integer_range[0].from_value == 1 and count.integer_range[0].to_value > 10**9
    assert 'fast, slow' in node.describe_parameter('mode').additional_constraints
    assert node.describe_parameter('on').type == ParameterType.PARAMETER_BOOL
    assert all(node.describe_parameter(item.key).read_only for item in settings_of(SampleConfig))


@pytest.mark.parametrize(
    ('given', 'match'),
    [
        ({'tool': 'a', 'limits__sped': 1.0}, r"unknown key 'limits.sped'; did you mean 'limits.speed'"),
        ({'tool': 'a', 'qqqqqq': 1.0}, r"unknown key 'qqqqqq'$"),
        ({}, 'tool has no default and must be given: The tool'),
        ({'tool': 3}, 'tool=3: expected str, got int'),
        ({'tool': 'a', 'on': 1}, 'expected bool'),
        ({'tool': 'a', 'limits__count': 2.0}, 'expected int'),
        ({'tool': 'a', 'limits__count': True}, 'expected int'),
        ({'tool': 'a', 'limits__speed': '1.0'}, 'expected float'),
        ({'tool': 'a', 'limits__speed': 2.1}, r'2.1 m/s is above its maximum 2.0 m/s'),
        ({'tool': 'a', 'limits__speed': 0.09}, r'0.09 m/s is below its minimum'),
        ({'tool': 'a', 'limits__speed': float('nan')}, 'not finite'),
        ({'tool': 'a', 'mode': 'fats'}, "none of fast, slow; did you mean 'fast'"),
        ({'tool': 'a', 'names': 'one'}, 'expected a list'),
        ({'tool': 'a', 'names': [1, 2]}, 'expected str'),
        ({'tool': 'a', 'offsets': [0.0, -1.5]}, 'below its minimum'),
        ({'tool': 'forbidden'}, 'tool=forbidden cannot be'),
    ],
    ids=str,
)
def test_a_wrong_configuration_is_refused_in_one_line(node_with, given, match):
    with pytest.raises(ConfigError, match=match) as caught:
        declare_config(node_with(**given), SampleConfig)
    assert str(caught.value).startswith('node sample: ')
    assert '\n' not in str(caught.value)


def test_a_whole_number_does_for_a_float(node_with):
    node = node_with(tool='a', limits__speed=2)
    assert declare_config(node, SampleConfig).limits.speed == 2.0
    assert node.get_parameter('limits.speed').type_ is Parameter.Type.DOUBLE


def test_what_ros_itself_declares_is_not_unknown(node_with):
    node = node_with(tool='a', use_sim_time=True, **{'qos_overrides./tf.publisher.depth': 5})
    assert declare_config(node, SampleConfig).tool == 'a'


def test_nothing_changes_after_the_start(node_with):
    node = node_with(tool='drill')
    declare_config(node, SampleConfig)
    for key, value in (('tool', 'saw'), ('limits.speed', 1.5), ('names', ['x'])):
        (result,) = node.set_parameters([Parameter(key, value=value)])
        assert not result.successful and 'read-only' in result.reason
    assert node.get_parameter('tool').value == 'drill'
    with pytest.raises(ParameterNotDeclaredException):
        node.get_parameter('tools')


def test_an_empty_list_in_yaml_is_an_empty_list(ros_context, tmp_path, monkeypatch):
    file = tmp_path / 'sample.yaml'
    file.write_text('sample:\n  ros__parameters:\n    tool: drill\n    names: []\n    offsets: []\n')
    monkeypatch.setattr(sys, 'argv', ['node', '--ros-args', '--params-file', str(file)])
    node = Node('sample', context=ros_context, cli_args=['--ros-args', '--params-file', str(file)])
    config = declare_config(node, SampleConfig)
    node.destroy_node()
    assert config.names == () and config.offsets == ()


def test_the_message_names_the_file(ros_context, tmp_path, monkeypatch):
    file = tmp_path / 'mine.yaml'
    file.write_text('sample:\n  ros__parameters:\n    tol: drill\n')
    monkeypatch.setattr(sys, 'argv', ['node', '--ros-args', '--params-file', str(file)])
    node = Node('sample', context=ros_context, cli_args=['--ros-args', '--params-file', str(file)])
    with pytest.raises(ConfigError, match=r"mine.yaml \(node sample\): unknown key 'tol'; did you mean 'tool'"):
        declare_config(node, SampleConfig)
    node.destroy_node()


SECTIONS = (
    'sample',
    '/sample',
    '*',
    '/*',
    '**',
    '/**',
    '/**/sample',
    '/*/sample',
    '/room/*',
    '/room/sample',
    'room/sample',
)


@pytest.mark.parametrize('namespace', ['', '/room'])
@pytest.mark.parametrize('section', SECTIONS)
def test_a_file_is_taken_where_ros_takes_it_and_refused_where_ros_ignores_it(
    ros_context, tmp_path, monkeypatch, section, namespace
):
    file = tmp_path / 'p.yaml'
    file.write_text(f'"{section}":\n  ros__parameters:\n    tool: drill\n')
    line = ['--ros-args', '--params-file', str(file)]
    monkeypatch.setattr(sys, 'argv', ['node', *line])
    node = Node('sample', namespace=namespace, context=ros_context, cli_args=line)
    try:
        if 'tool' in node._parameter_overrides:
            assert declare_config(node, SampleConfig).tool == 'drill'
        else:
            with pytest.raises(ConfigError, match='do not name this node'):
                declare_config(node, SampleConfig)
    finally:
        node.destroy_node()


@pytest.mark.parametrize('section', ['samples', 'Sample', '/other/sample', 'sample_node', '/*/sample'])
def test_a_file_for_another_node_is_refused(node_with, tmp_path, section):
    file = tmp_path / 'p.yaml'
    file.write_text(f'"{section}":\n  ros__parameters:\n    tool: drill\n')
    with pytest.raises(ConfigError, match=r"p.yaml: its sections .* do not name this node '/sample'"):
        declare_config(node_with('sample', tool='drill', file=file), SampleConfig)


def test_a_file_that_is_no_yaml_is_refused(node_with, tmp_path):
    file = tmp_path / 'p.yaml'
    file.write_text('sample: [')
    with pytest.raises(ConfigError, match='not readable as YAML'):
        declare_config(node_with(tool='drill', file=file), SampleConfig)


def test_parameter_files_of_a_command_line():
    line = ['node', '--ros-args', '--params-file', 'a.yaml', '-p', 'x:=1', '--params-file', 'b.yaml', '--params-file']
    assert parameter_files(line) == ['a.yaml', 'b.yaml']


@pytest.mark.parametrize('executable', sorted(CONFIGS))
def test_every_node_refuses_an_unknown_key_and_names_the_nearest(node_with, executable):
    kind = config_type(executable)
    key = next(item.key for item in settings_of(kind) if '.' not in item.key)
    node = node_with('any', **{f'{key}x': 'value'})
    with pytest.raises(ConfigError, match=f"unknown key '{key}x'; did you mean '{key}'"):
        declare_config(node, kind)


@pytest.mark.parametrize('executable', sorted(CONFIGS))
def test_every_node_has_a_setting_that_must_be_given(node_with, executable):
    kind = config_type(executable)
    required = [item.key for item in settings_of(kind) if item.default is MISSING]
    # where one of two must be given, the node says so when it has neither
    text = rf'{required[0]}.* has no default and must be given' if required else r'must be given|give `'
    with pytest.raises(ConfigError, match=text):
        declare_config(node_with('any'), kind)
