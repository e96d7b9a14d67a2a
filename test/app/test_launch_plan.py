"""What a launch file comes to. The expected values are those of ros2/launch and launch_ros for the same files."""

import contextlib
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.app.launch.arguments import declared_arguments
from twin_nodes.app.launch.evaluate import plan_launch
from twin_nodes.app.launch.expression import evaluate
from twin_nodes.app.launch.parameters import InlineParameters
from twin_nodes.app.launch.substitution import is_literal, parse_template
from twin_nodes.core.errors import ConfigError


@pytest.fixture
def prefix(tmp_path):
    """An install prefix with one package and one program."""
    root = tmp_path / 'prefix'
    program = root / 'lib' / 'demo_pkg' / 'talker'
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\n')
    program.chmod(0o755)
    marker = root / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'demo_pkg'
    marker.parent.mkdir(parents=True)
    marker.touch()
    (root / 'share' / 'demo_pkg').mkdir()
    return root


@pytest.fixture
def plan(tmp_path, prefix):
    def make(body, arguments=None, env=None, name='test.launch.xml'):
        file = tmp_path / name
        file.write_text(f'<launch>{body}</launch>', encoding='utf-8')
        return plan_launch(file, arguments or {}, {**os.environ, 'AMENT_PREFIX_PATH': str(prefix), **(env or {})})

    return make


def one(plan):
    assert len(plan.processes) == 1
    return plan.processes[0]


def values(process):
    merged = {}
    for item in process.parameters:
        if isinstance(item, InlineParameters):
            merged.update(item.values)
    return merged


NODE = '<node pkg="demo_pkg" exec="talker" name="n">{}</node>'


@pytest.mark.parametrize(
    ('attributes', 'expected'),
    [
        ('value="10"', 10),
        ('value="1.0"', 1.0),
        ('value="1e-3"', '1e-3'),
        ('value="1.0e-3"', 0.001),
        ('value="0x10"', 16),
        ('value="\'10\'"', '10'),
        ('value="10" type="str"', '10'),
        ('value="1" type="float"', 1.0),
        ('value="1" type="bool"', True),
        ('value="on"', True),
        ('value=""', ''),
        ('value="  padded "', 'padded'),
        ('value="[1, 2, 3]"', [1, 2, 3]),
        ('value="[true, false]" type="list_of_bool"', [True, False]),
        ('value="a;b" value-sep=";"', ['a', 'b']),
        ('value="3;$(var a)" value-sep=";"', [3, 3]),
        ('value="$(var a)"', 3),
        ('value="$(var a).5"', 3.5),
        ('value="[$(var a), 4]"', [3, 4]),
        ('value="$(var a) $(var a)"', '3 3'),
        ('value="\\$(var a)"', '$(var a)'),
        ('value="price $5"', 'price $5'),
        ('value="$(equals $(var a) 3.0)"', True),
        ('value="$(not-equals ab ac)"', True),
        ('value="$(and true $(not 0))"', True),
        ('value="$(if true \'yes please\' no)"', 'yes please'),
        ('value="$(eval \'$(var a) + 1\')"', 4),
        ('value="$(var none 7)"', 7),
        ('value="$(env TWIN_NOT_SET ok)"', 'ok'),
    ],
)
def test_parameter_is_typed_as_launch_does(plan, attributes, expected):
    result = plan(
        f'<arg name="a" default="3"/>{NODE.format(f"<param name=$p$ {attributes}/>".replace("$", chr(34), 2))}'
    )
    found = values(one(result))['p']
    assert found == expected
    assert type(found) is type(expected)


def test_node_command_is_that_of_launch_ros(plan, prefix, tmp_path):
    parameters = tmp_path / 'n.yaml'
    parameters.write_text('/**:\n  ros__parameters:\n    x: 1\n')
    body = f"""
      <arg name="s" default="x y"/>
      <group><push-ros-namespace namespace="or1"/>
        <set_parameter name="gp" value="0.5"/><set_remap from="/r1" to="/r2"/>
        <node pkg="demo_pkg" exec="talker" name="n" namespace="sub" args="-v 'b c' $(var s)/z"
          ros_args="--log-level debug">
          <param from="{parameters}"/><param name="a"><param name="b" value="1"/></param><remap from="p" to="~/q"/>
        </node>
      </group>"""
    process = one(plan(body))
    assert process.node == '/or1/sub/n'
    assert process.program == (str(prefix / 'lib' / 'demo_pkg' / 'talker'), '-v', 'b c', 'x y/z')
    assert process.ros_arguments == (
        *('--ros-args', '--log-level', 'debug', '--ros-args', '-r', '__node:=n', '-r', '__ns:=/or1/sub'),
        *('-p', 'gp:=0.5'),
    )
    words = process.command(tmp_path)
    assert words[-4:] == ['-r', '/r1:=/r2', '-r', 'p:=~/q']
    assert words[words.index('--params-file') + 1] == str(parameters)
    written = [word for word in words if 'launch_params_' in word]
    assert len(written) == 1
    assert Path(written[0]).read_text() == '/or1/sub/n:\n  ros__parameters:\n    a.b: 1\n'


def test_node_without_name_or_namespace_gets_neither(plan):
    process = one(plan('<node pkg="demo_pkg" exec="talker"><param name="a" value="1"/></node>'))
    assert process.ros_arguments == ('--ros-args',)
    assert process.parameters[0].section == '/**'


def test_scopes_keep_what_they_set_to_themselves(plan):
    body = """
      <let name="v" value="out"/><set_env name="T_E" value="out"/>
      <group><let name="v" value="in"/><set_env name="T_E" value="in"/><push_ros_namespace namespace="a"/>
        <node pkg="demo_pkg" exec="talker" name="inner_$(var v)"/></group>
      <node pkg="demo_pkg" exec="talker" name="outer_$(var v)"/>
      <group scoped="false"><let name="v" value="leaked"/></group>
      <node pkg="demo_pkg" exec="talker" name="after_$(var v)"/>"""
    inner, outer, after = plan(body).processes
    assert (inner.node, inner.environment['T_E']) == ('/a/inner_in', 'in')
    assert '__node:=outer_out' in outer.ros_arguments
    assert outer.environment['T_E'] == 'out'
    assert '__ns:=/a' not in outer.ros_arguments
    assert '__node:=after_leaked' in after.ros_arguments


def test_include_sets_arguments_and_dirname(plan, tmp_path):
    folder = tmp_path / 'inner'
    folder.mkdir()
    (folder / 'inc.launch.xml').write_text(
        '<launch><arg name="who"/><arg name="opt" default="o"/>'
        '<node pkg="demo_pkg" exec="talker" name="$(var who)"><param name="d" value="$(dirname)"/></node></launch>'
    )
    body = """<include file="$(dirname)/inner/inc.launch.xml"><arg name="who" value="she"/></include>
      <node pkg="demo_pkg" exec="talker" name="$(var who)_$(var opt)"><param name="d" value="$(dirname)"/></node>"""
    first, second = plan(body).processes
    assert '__node:=she' in first.ros_arguments
    assert values(first)['d'] == str(folder)
    assert '__node:=she_o' in second.ros_arguments  # an include opens no scope, as in ros2/launch
    assert values(second)['d'] == str(tmp_path)
    assert [argument.name for argument in plan(body).arguments] == ['opt']


@pytest.mark.parametrize(('word', 'count'), [('true', 1), ('1', 1), (' True ', 1), ('false', 0), ('0', 0)])
def test_conditions(plan, word, count):
    assert len(plan(f'<node pkg="demo_pkg" exec="talker" if="{word}"/>').processes) == count
    assert len(plan(f'<node pkg="demo_pkg" exec="talker" unless="{word}"/>').processes) == 1 - count


def test_arguments_are_listed_with_defaults_and_choices(tmp_path):
    file = tmp_path / 'a.launch.xml'
    file.write_text(
        '<launch><arg name="mode" default="b" description="How."><choice value="a"/><choice value="b"/></arg>'
        '<arg name="must"/></launch>'
    )
    mode, must = declared_arguments(file, os.environ)
    assert str(mode) == "mode: How. (default: 'b'; one of: a, b)"
    assert str(must) == 'must: no description (must be given)'


def test_environment_has_defaults_that_never_overrule_the_user(plan):
    process = one(plan(NODE.format(''), env={'OMP_NUM_THREADS': '7', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}))
    assert process.environment['OMP_NUM_THREADS'] == '7'
    assert process.environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'SUBNET'
    assert process.environment['MKL_NUM_THREADS'] == '1'
    assert process.environment['PYTHONUNBUFFERED'] == '1'
    own = one(plan(NODE.format('<env name="T_A" value="1"/>'), env={'ROS_DOMAIN_ID': '9'})).environment
    assert (own['T_A'], own['ROS_DOMAIN_ID']) == ('1', '9')


def test_guard_of_the_wheels_stays_only_where_it_is_right(plan):
    lib = f'{sys.prefix}/lib'
    guard = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'
    foreign = one(plan(NODE.format(''), env={guard: '1', 'LD_LIBRARY_PATH': f'{lib}:/opt/other'})).environment
    assert guard not in foreign
    assert foreign['LD_LIBRARY_PATH'] == '/opt/other'
    ours = f'<executable cmd="{sys.executable} -c pass"/>'
    assert guard in one(plan(ours, env={guard: '1', 'LD_LIBRARY_PATH': lib})).environment
    assert guard not in one(plan(ours, env={guard: '1', 'LD_LIBRARY_PATH': ''})).environment


def test_own_nodes_are_found_without_an_installation(plan):
    process = one(plan('<node pkg="twin_nodes" exec="tracker_node" name="t"/>'))
    assert process.program[-1].endswith('tracker_node')
    share = values(one(plan(NODE.format('<param name="s" value="$(find-pkg-share twin_nodes)"/>'))))['s']
    assert (Path(share) / 'launch').is_dir()


def test_launch_files_of_the_package_are_read(tmp_path):
    from twin_nodes.app.launch.command import own_files

    files = own_files()
    assert files
    for file in files:
        arguments = declared_arguments(file, os.environ)
        assert all(argument.description for argument in arguments), file


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_parsed_or_refused(text):
    try:
        template = parse_template(text)
    except ConfigError:
        return
    if is_literal(template) and '\\' not in text:
        assert ''.join(part.text for part in template) == text


@given(st.text(alphabet="0123456789.+-*/%()<>=!' andortuefls[],", max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_expression_is_evaluated_or_refused(text):
    with contextlib.suppress(ConfigError):
        evaluate(text)


@pytest.mark.parametrize(
    ('expression', 'expected'),
    [
        ('1 < 2 < 3', 'True'),
        ("'a' in ['a', 'b']", 'True'),
        ('not (1 == 2) and 3 >= 3', 'True'),
        ("'x' if 2 > 1 else 'y'", 'x'),
        ('7 // 2 + 7 % 2 - -1', '5'),
        ("'a' + 'b'", 'ab'),
    ],
)
def test_eval_of_the_restricted_language(expression, expected):
    assert evaluate(expression) == expected
    assert str(eval(expression)) == expected


@pytest.mark.parametrize(
    'expression',
    [
        '__import__("os").system("true")',
        'open("x")',
        '9**9**9',
        '"a" * 10**9',
        '(1).real',
        '[x for x in [1]]',
        'a',
        '1/0',
        '',
    ],
)
def test_eval_refuses_all_else(expression):
    with pytest.raises(ConfigError, match='eval'):
        evaluate(expression)
