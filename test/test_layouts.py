"""The layouts for RViz, Foxglove and PlotJuggler name nothing that no node publishes."""

import ast
import dataclasses
import importlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LAYOUTS = ROOT / 'layouts'
# what a display of RViz can show
DISPLAYS = {
    'MarkerArray': 'MarkerArray',
    'PoseWithCovariance': 'PoseWithCovarianceStamped',
    'PointCloud2': 'PointCloud2',
}
PACKAGES = ('geometry_msgs', 'std_msgs', 'sensor_msgs', 'visualization_msgs', 'diagnostic_msgs')


def message_class(name):
    for package in PACKAGES:
        found = getattr(importlib.import_module(f'{package}.msg'), name, None)
        if found is not None:
            return found
    raise AssertionError(f'{name} is in none of {PACKAGES}')


def pattern_of(node):
    """A regular expression for the name of a topic, or None where it is a variable."""
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return ''.join(
            '[^/]+' if isinstance(part, ast.FormattedValue) else re.escape(part.value) for part in node.values
        )
    return None


@pytest.fixture(scope='module')
def published():
    """Pattern of each topic that the code publishes, and its type."""
    found = []
    for path in (*(ROOT / 'twin_nodes' / 'nodes').glob('*.py'), *(ROOT / 'twin_nodes' / 'ros').glob('*.py')):
        for call in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(call, ast.Call)
                and getattr(call.func, 'attr', '') == 'create_publisher'
                and len(call.args) > 1
            ):
                pattern = pattern_of(call.args[1])
                if pattern and isinstance(call.args[0], ast.Name) and call.args[0].id[0].isupper():
                    found.append((re.compile('/?' + pattern.lstrip('/')), call.args[0].id))
    assert len(found) > 10
    return found


def type_of(topic, published):
    kinds = {kind for pattern, kind in published if pattern.fullmatch(topic)}
    assert len(kinds) == 1, f'{topic} is published as {sorted(kinds) or "nothing"}'
    return kinds.pop()


def check_field(kind, fields):
    message = message_class(kind)()
    for name in fields:
        assert hasattr(message, name), f'{type(message).__name__} has no field {name}'
        message = getattr(message, name)
    assert isinstance(message, (int, float))


def test_rviz_shows_what_is_published(published):
    layout = yaml.safe_load((LAYOUTS / 'twin.rviz').read_text())
    displays = [one for one in layout['Visualization Manager']['Displays'] if 'Topic' in one]
    assert len(displays) >= 5
    for display in displays:
        wanted = DISPLAYS[display['Class'].rsplit('/', 1)[1]]
        assert type_of(display['Topic']['Value'], published) == wanted


def test_rviz_asks_for_what_is_offered(published):
    """A latched topic taken as volatile shows nothing to who joins late; the other way round they never match."""
    layout = yaml.safe_load((LAYOUTS / 'twin.rviz').read_text())
    for display in layout['Visualization Manager']['Displays']:
        if 'Topic' not in display:
            continue
        topic, durability = display['Topic']['Value'], display['Topic']['Durability Policy']
        offered = ' '.join(offers(topic)).lower()
        if 'latched' in offered:
            assert durability == 'Transient Local', topic
        elif 'measurement' in offered:
            assert durability == 'Volatile', topic


def offers(topic):
    """How the quality of service of a topic's publishers is written in the code."""
    for path in (*(ROOT / 'twin_nodes' / 'nodes').glob('*.py'), *(ROOT / 'twin_nodes' / 'ros').glob('*.py')):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, 'attr', '') == 'create_publisher':
                pattern = pattern_of(call.args[1]) if len(call.args) > 2 else None
                named = pattern and not pattern.endswith('[^/]+')  # else any name at all
                if named and re.fullmatch('/?' + pattern.lstrip('/'), topic):
                    yield ast.unparse(call.args[2])


def test_rviz_and_foxglove_stand_on_the_root_of_the_tree():
    from twin_nodes.nodes.tracker_node import TrackerNodeConfig

    world = {item.name: item.default for item in dataclasses.fields(TrackerNodeConfig)}['world_frame']
    rviz = yaml.safe_load((LAYOUTS / 'twin.rviz').read_text())
    assert rviz['Visualization Manager']['Global Options']['Fixed Frame'] == world
    assert json.loads((LAYOUTS / 'twin_foxglove.json').read_text())['configById']['3D!twin']['followTf'] == world


def test_panels_and_displays_are_of_kinds_that_exist():
    kinds = {'3D', 'Plot', 'DiagnosticSummary', 'RawMessages'}  # of Foxglove and Lichtblick
    layout = json.loads((LAYOUTS / 'twin_foxglove.json').read_text())
    assert {name.partition('!')[0] for name in layout['configById']} <= kinds
    displays = {*DISPLAYS, 'Grid', 'TF'}  # of rviz_default_plugins
    rviz = yaml.safe_load((LAYOUTS / 'twin.rviz').read_text())['Visualization Manager']
    assert {one['Class'].rsplit('/', 1)[1] for one in rviz['Displays']} <= displays


def test_foxglove_shows_what_is_published(published):
    layout = json.loads((LAYOUTS / 'twin_foxglove.json').read_text())
    panels = layout['configById']
    placed = set(re.findall(r'"([^"]+![^"]+)"', json.dumps(layout['layout'])))
    assert placed == set(panels)
    for topic in panels['3D!twin']['topics']:
        type_of(topic, published)
    paths = [path['value'] for name, panel in panels.items() if name.startswith('Plot!') for path in panel['paths']]
    assert paths
    for path in paths:
        topic, *fields = path.split('.')
        check_field(type_of(topic, published), fields)
    assert type_of(panels['DiagnosticSummary!health']['topicToRender'], published) == 'DiagnosticArray'
    assert type_of(panels['RawMessages!events']['topicPath'], published) == 'DiagnosticArray'


def test_plotjuggler_shows_what_is_published(published):
    curves = [curve.get('name') for curve in ElementTree.parse(LAYOUTS / 'twin_plotjuggler.xml').iter('curve')]
    assert len(curves) > 5
    for curve in curves:
        parts = curve.strip('/').split('/')
        for cut in range(len(parts) - 1, 0, -1):
            topic = '/' + '/'.join(parts[:cut])
            if any(pattern.fullmatch(topic) for pattern, _ in published):
                check_field(type_of(topic, published), parts[cut:])
                break
        else:
            raise AssertionError(f'{curve} begins with no topic that is published')


def test_clouds_have_the_fields_that_are_coloured():
    from twin_nodes.ros.clouds import CLEARANCE_DTYPE

    layout = json.loads((LAYOUTS / 'twin_foxglove.json').read_text())
    assert layout['configById']['3D!twin']['topics']['/guidance/clearance']['colorField'] in CLEARANCE_DTYPE.names
