"""Every mistake in a launch file is named with file, line, element and the nearest valid name."""

import os

import pytest

from twin_nodes.app.launch.evaluate import plan_launch
from twin_nodes.core.errors import ConfigError

GOOD = 'pkg="twin_nodes" exec="tracker_node"'


def attempt(tmp_path, text, arguments=None, env=None):
    file = tmp_path / 'bad.launch.xml'
    file.write_text(text, encoding='utf-8')
    plan_launch(file, arguments or {}, {**os.environ, **(env or {})})


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ('<nod/>', r"bad.launch.xml:2: <nod>: is not an element .* did you mean 'node'"),
        (f'<node {GOOD} respwan="true"/>', r":2: <node>: unknown attribute 'respwan'; did you mean 'respawn'"),
        ('<node pkg="twin_nodes"/>', r":2: <node>: attribute 'exec' is missing"),
        (f'<node {GOOD} if="1" unless="0"/>', 'exclude each other'),
        (f'<node {GOOD} if="maybe"/>', "'maybe' is not a condition"),
        ('<node pkg="twin_nodes" exec="traker_node"/>', "no executable 'traker_node'; did you mean 'tracker_node'"),
        ('<node pkg="rclpyy" exec="x"/>', "package 'rclpyy' is in none of .*did you mean 'rclpy'"),
        (f'<node {GOOD} name="1x"/>', "name='1x' is not a node name"),
        (f'<node {GOOD} namespace="a//b"/>', 'between single slashes'),
        (f'<node {GOOD} output="scren"/>', "did you mean 'screen'"),
        (f'<node {GOOD} on_exit="restart"/>', 'only shutdown is known'),
        (f'<node {GOOD} respawn="true" respawn_delay="-1"/>', 'seconds from 0'),
        (f'<node {GOOD} respawn="true" respawn_max_retries="x"/>', 'not a whole number'),
        (f'<node {GOOD} args="\'open"/>', 'No closing quotation'),
        (f'<node {GOOD}><param name="a"/></node>', 'needs either a value or nested'),
        (f'<node {GOOD}><param value="1"/></node>', 'give either name or from'),
        (f'<node {GOOD}><param name="a" value="x" type="int"/></node>', "'x' is not of type int"),
        (f'<node {GOOD}><param name="a" value="1" type="itn"/></node>', "did you mean 'int'"),
        (f'<node {GOOD}><param name="a" value="[1, x]"/></node>', 'all of one type'),
        (f'<node {GOOD}><param name="a" value="null"/></node>', 'which a parameter cannot be'),
        (f'<node {GOOD}><param from="/no/such.yaml"/></node>', ':2: <param>: parameter file .* does not exist'),
        (f'<node {GOOD}><remap from="a"/></node>', "<remap>: attribute 'to' is missing"),
        (f'<node {GOOD}><prm name="a" value="1"/></node>', "inside <node>; did you mean 'param'"),
        ('<arg name="a"/>', "argument 'a' must be given"),
        ('<let name="a" value="$(vra b)"/>', r"\$\(vra …\).*did you mean 'var'"),
        (
            '<arg name="abc" default="1"/><let name="a" value="$(var abd)"/>',
            "no such launch argument.*did you mean 'abc'",
        ),
        ('<let name="a" value="$(env TWIN_NOT_SET)"/>', 'no such environment variable'),
        ('<let name="a" value="$(var b"/>', 'is not closed'),
        ('<let name="a" value="$(var)"/>', 'takes 1 to 2 argument'),
        ('<let name="a" value="$(var a  b)"/>', 'an argument is empty'),
        ('<let name="a" value="$(var \'b)"/>', 'quote .* is not closed'),
        ('<let name="a" value="$(command ls)"/>', 'is not a substitution that twin launch knows'),
        ('<let name="a" value="$(find-pkg-share geometry_msg)"/>', "did you mean 'geometry_msgs'"),
        ('<include file="nope.launch.xml"/>', 'nope.launch.xml does not exist'),
        ('<include file="$(filename)"/>', 'include each other more than'),
        ('<executable cmd="no-such-program-here"/>', 'is not on PATH'),
        ('some text', "text 'some text' inside <launch>"),
        ('<node>', 'not well-formed XML'),
    ],
)
def test_mistake_is_named(tmp_path, body, message):
    with pytest.raises(ConfigError, match=message):
        attempt(tmp_path, f'<launch>\n{body}\n</launch>')


def test_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE launch [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><launch><log message="&b;"/></launch>'
    with pytest.raises(ConfigError, match='document types and entities are refused'):
        attempt(tmp_path, bomb)


def test_deep_nesting_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='nested more than 100 deep'):
        attempt(tmp_path, f'<launch>{"<group>" * 200}{"</group>" * 200}</launch>')
    with pytest.raises(ConfigError, match='nested more than 32 deep'):
        attempt(tmp_path, f'<launch><let name="a" value="{"$(var " * 99}"/></launch>')


def test_wrong_root_and_kind(tmp_path):
    with pytest.raises(ConfigError, match='root element'):
        attempt(tmp_path, '<lunch/>')
    python = tmp_path / 'x.launch.py'
    python.write_text('')
    with pytest.raises(ConfigError, match='reads XML launch files only'):
        plan_launch(python, {}, os.environ)
    with pytest.raises(ConfigError, match='No such file'):
        plan_launch(tmp_path / 'none.launch.xml', {}, os.environ)


def test_unknown_argument_names_the_nearest(tmp_path):
    text = '<launch><arg name="config" default="1"/></launch>'
    with pytest.raises(ConfigError, match="no argument 'confg'; did you mean 'config'"):
        attempt(tmp_path, text, {'confg': '2'})


def test_choice_outside_the_list(tmp_path):
    text = '<launch><arg name="m" default="fast"><choice value="fast"/><choice value="slow"/></arg></launch>'
    with pytest.raises(ConfigError, match="m:='slo' is none of fast, slow; did you mean 'slow'"):
        attempt(tmp_path, text, {'m': 'slo'})


@pytest.mark.parametrize(
    ('content', 'message'),
    [('[]', 'expected a map'), ('tracker:\n  a: 1\n', 'no ros__parameters'), ('a: [', 'not readable as YAML')],
)
def test_parameter_file_that_ros_would_ignore(tmp_path, content, message):
    file = tmp_path / 'p.yaml'
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        attempt(tmp_path, f'<launch><node {GOOD}><param from="{file}"/></node></launch>')


def test_other_middleware_is_explained(tmp_path):
    with pytest.raises(ConfigError, match='rmw_cyclonedds_cpp: ROS 2 from wheels has rmw_fastrtps_cpp only'):
        attempt(tmp_path, '<launch/>', env={'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'})
