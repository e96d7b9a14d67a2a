"""The imports go one way: nodes → ros → core, nodes → io → core, app → all."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'twin_nodes'

ROS_MODULES = ('rclpy', 'tf2_ros', 'tf2_msgs', 'tf_transformations', 'rcl_interfaces', 'builtin_interfaces')
FORBIDDEN = {
    'core': ('twin_nodes.io', 'twin_nodes.ros', 'twin_nodes.nodes', 'twin_nodes.app'),
    'io': ('twin_nodes.ros', 'twin_nodes.nodes', 'twin_nodes.app'),
    'ros': ('twin_nodes.io', 'twin_nodes.nodes', 'twin_nodes.app'),
    'nodes': (),
}
HEAVY = ('torch', 'open3d', 'matplotlib', 'viser', 'skimage', 'SimpleITK', 'pyvista')


def modules(folder: str) -> list[Path]:
    return sorted((PACKAGE / folder).rglob('*.py'))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    return found


def starts_with(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f'{prefix}.') for prefix in prefixes)


def is_ros(name: str) -> bool:
    return starts_with(name, ROS_MODULES) or name.split('.')[0].endswith(('_msgs', '_srvs'))


@pytest.mark.parametrize('folder', FORBIDDEN)
def test_imports_go_one_way(folder):
    wrong = [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in modules(folder)
        for name in sorted(imports(path))
        if starts_with(name, FORBIDDEN[folder])
    ]
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('folder', ['core'])
def test_core_knows_no_ros_and_no_clock(folder):
    wrong = []
    for path in modules(folder):
        names = imports(path)
        wrong += [f'{path.relative_to(ROOT)} imports {name}' for name in names if is_ros(name) or name == 'time']
        calls = {
            node.func.id
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        wrong += [f'{path.relative_to(ROOT)} calls {name}()' for name in calls & {'print', 'open', 'input'}]
    assert not wrong, '\n'.join(wrong)


def test_nothing_but_app_and_nodes_reaches_for_the_app():
    wrong = [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in modules('nodes')
        if path.name != 'view_node.py'  # the view is the app's page behind a node
        for name in imports(path)
        if starts_with(name, ('twin_nodes.app',))
    ]
    assert not wrong, '\n'.join(wrong)


def test_heavy_libraries_are_imported_lazily():
    wrong = []
    for folder in ('core', 'io', 'ros', 'nodes'):
        for path in modules(folder):
            for node in parsed(path).body:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                wrong += [f'{path.relative_to(ROOT)} imports {name}' for name in names if starts_with(name, HEAVY)]
    assert not wrong, '\n'.join(wrong)


def test_every_node_has_a_config_in_the_registry():
    from twin_nodes.ros.registry import CONFIGS, config_type

    nodes = {path.stem for path in (PACKAGE / 'nodes').glob('*_node.py')}
    assert nodes == set(CONFIGS)
    for node in nodes:
        assert config_type(node).__doc__


def settings(tree: ast.Module) -> list[tuple[str, str]]:
    """Class and name of each setting of a module, without classes that hand all of theirs to a kernel, by order."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    by_name = [one for one in classes if not any(getattr(part, 'name', '') == 'parameters' for part in one.body)]
    return [
        (one.name, part.target.id)
        for one in by_name
        for part in one.body
        if isinstance(part, ast.AnnAssign)
        and isinstance(part.value, ast.Call)
        and isinstance(part.value.func, ast.Name)
        and part.value.func.id == 'setting'
    ]


def test_every_setting_is_read_somewhere():
    source = {path: path.read_text() for path in PACKAGE.rglob('*.py')}
    lines = '\n'.join(re.sub(r'^ *from .*$', '', text, flags=re.MULTILINE) for text in source.values())
    read = re.findall(r"\.(\w+)|'(\w+)'", lines)
    names = {name for pair in read for name in pair}
    found = [one for path, text in source.items() if 'setting(' in text for one in settings(parsed(path))]
    assert len(found) > 1000
    assert not [f'{config}.{name}' for config, name in found if name not in names]


def said_codes(tree: ast.Module) -> set[str]:
    """Codes that a module gives to an error (`code=`) or to the health of a node."""
    place = {'warn': 0, 'count': 0, 'set_count': 0, 'set': 2}
    values = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == 'code':
            values.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in place:
            values += node.args[place[node.func.attr] :][:1]
    texts = {value.value for value in values if isinstance(value, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r'[A-Z][A-Z0-9_]+', text)}


def test_codes_that_are_said_can_be_explained_and_the_others_are_not_kept():
    from twin_nodes.core.codes import CODES

    source = {path: path.read_text() for path in PACKAGE.rglob('*.py') if path != PACKAGE / 'core' / 'codes.py'}
    said = set().union(*(said_codes(parsed(path)) for path in source))
    assert len(said) > 60 and not said - set(CODES)
    words = set(re.findall(r'\b[A-Z][A-Z0-9_]+\b', '\n'.join(source.values())))
    assert not set(CODES) - words
