"""Topics, services and qualities of service of each node: started with the shipped settings and asked what it made.

What a node makes only when something comes (the distance to each structure, say) is found in its source, with `<…>`
where a name is put in.
"""

import ast
import importlib
import inspect
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from pages import ROOT, heading, table
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from small_case import small_case

from twin_nodes.app.config_files import load
from twin_nodes.app.demo_session import free_port
from twin_nodes.io.link_key import make_key
from twin_nodes.ros.registry import CONFIGS

QUIET = {'rosout', 'parameter_events'}
ABSOLUTE = {'/tf', '/tf_static', '/diagnostics', '/clock'}
# what a node makes with other settings than the shipped ones: the setting in words, and its values
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    'simulated_robot_node': ('`task: none`', {'task': 'none'}),
    'compensation_node': ('`role: leader`', {'role': 'leader'}),
    'registration_node': ('`structure: bone`', {'structure': 'bone'}),
    'anatomy_node': (
        '`deforming.enabled` and `deforming.learning.enabled`',
        {
            'case': '',
            'structures': [],
            'files': [],
            'carving.enabled': False,
            'carving.protected': [],
            'deforming.enabled': True,
            'deforming.tools': ['drill'],
            'deforming.learning.enabled': True,
            'deforming.learning.forces': ['drill'],
        },
    ),
}
# settings that would take a port that may be in use
FREE_PORT = {'room_node': 'port', 'relay_node': 'leader_port', 'wan_bridge_node': 'bind_port', 'view_node': 'port'}


@dataclass(frozen=True)
class Topic:
    """One topic of a node.

    Args:
        way: out, in, or service.
        name: With `<…>` where it holds a name that is known only at work.
        kind: Type of the message or service.
        quality: What is offered or asked, in words; '' where only the source tells of the topic.
    """

    way: str
    name: str
    kind: str
    quality: str


def topics_page() -> str:
    """Return the page of topics as Markdown."""
    lines = [
        '# Topics and services',
        '',
        'What each node publishes (out), takes in (in) and answers with the settings in `config/`: tool `drill`, '
        'patient `patient`, structures `bone`, `nerve`, `artery`, arms `PSM1` and `PSM2`. Names are relative: a '
        'namespace moves them all. `<…>` stands for a name that comes while the node runs.',
        '',
    ]
    context = Context()
    rclpy.init(context=context, args=[])
    try:
        with tempfile.TemporaryDirectory() as folder:
            for executable in CONFIGS:
                lines += _section(executable, context, Path(folder))
    finally:
        rclpy.try_shutdown(context=context)
    return '\n'.join(lines) + '\n'


def _section(executable: str, context: Context, folder: Path) -> list[str]:
    kind = _node_class(executable)
    found = _made(executable, {}, context, folder)
    lines = [*heading(executable, 2), str(kind.__doc__).strip().splitlines()[0], '', *_rows(found)]
    for name, (setting, values) in VARIANTS.items():
        if name == executable:
            known = {(one.way, one.name) for one in found}
            more = {one for one in _made(executable, values, context, folder) if (one.way, one.name) not in known}
            lines += [f'With {setting} besides:', '', *_rows(more)]
    return lines


def _made(executable: str, values: dict[str, Any], context: Context, folder: Path) -> set[Topic]:
    """Start a node and return what it made."""
    kind = _node_class(executable)
    node = kind(context=context, parameter_overrides=_overrides(executable, values, folder))
    try:
        found = {_topic('out', one) for one in node.publishers} | {_topic('in', one) for one in node.subscriptions}
        found |= {
            Topic('service', one.srv_name.removeprefix('/'), _kind(one.srv_type), '')
            for one in node.services
            if not _of_parameters(one.srv_name)
        }
    finally:
        node.destroy_node()
    found = {one for one in found if one.name not in QUIET}
    return found | set(_later(executable, 'create_publisher', [one.name for one in found if one.way == 'out']))


def _rows(topics: set[Topic]) -> list[str]:
    rows = sorted(topics, key=lambda one: (('out', 'in', 'service').index(one.way), one.name))
    return table(('', 'topic', 'type', 'quality'), [(t.way, f'`{t.name}`', t.kind, t.quality) for t in rows])


def _node_class(executable: str) -> type[Node]:
    module = importlib.import_module(f'twin_nodes.nodes.{executable}')
    (found,) = (
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Node) and one.__module__ == module.__name__
    )
    return found


def _overrides(executable: str, more: dict[str, Any], folder: Path) -> list[Parameter]:
    _, values = load(ROOT / 'config' / f'{executable.removesuffix("_node")}.yaml')
    flat = dict(_flat(values)) | more
    if 'case' in flat and (executable == 'haptics_node' or flat.get('deforming.enabled')):
        flat['case'] = str(small_case(folder))
    if executable in FREE_PORT:
        flat[FREE_PORT[executable]] = free_port()
    if 'endpoint' in flat:
        flat['endpoint'] = f'tcp/127.0.0.1:{free_port()}'
    if 'key_file' in flat:
        key = folder / executable
        flat['key_file'] = str(key)
        if not key.exists():
            make_key(key)
    return [Parameter(key, value=value) if value != [] else Parameter(key) for key, value in flat.items()]


def _flat(values: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _topic(way: str, one: Any) -> Topic:
    name = one.topic_name if one.topic_name in ABSOLUTE else one.topic_name.removeprefix('/')
    return Topic(way, name, _kind(one.msg_type), _quality(one.qos_profile))


def _kind(message: type) -> str:
    return f'{message.__module__.partition(".")[0]}/{message.__name__}'


def _quality(qos: Any) -> str:
    words = [qos.reliability.name.lower().replace('_', ' ')]
    if qos.durability.name == 'TRANSIENT_LOCAL':
        words.append('latched')
    if qos.history.name == 'KEEP_LAST':
        words.append(f'depth {qos.depth}')
    for name in ('deadline', 'lifespan'):
        seconds = getattr(qos, name).nanoseconds * 1e-9
        if 0.0 < seconds < 1e6:
            words.append(f'{name} {seconds:g} s')
    return ', '.join(words)


def _later(executable: str, call_name: str, known: list[str]) -> Iterator[Topic]:
    """What the source of a node creates besides what it had made at its start."""
    module = importlib.import_module(f'twin_nodes.nodes.{executable}')
    for call in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(call, ast.Call) or getattr(call.func, 'attr', '') != call_name or len(call.args) < 2:
            continue
        kind, name = call.args[0], call.args[1]
        if isinstance(kind, ast.Name) and isinstance(name, ast.Constant | ast.JoinedStr):
            text, pattern = _spelled(name)
            if not any(re.fullmatch(pattern, one.lstrip('/')) for one in known):
                yield Topic('out', text.lstrip('/'), _kind(getattr(module, kind.id)), 'when needed')


def _spelled(name: ast.Constant | ast.JoinedStr) -> tuple[str, str]:
    """Return a topic's name as people read it, and as a regular expression."""
    if isinstance(name, ast.Constant):
        return str(name.value), re.escape(str(name.value).lstrip('/'))
    text, pattern = '', ''
    for part in name.values:
        if isinstance(part, ast.Constant):
            text, pattern = text + part.value, pattern + re.escape(part.value)
        else:
            word = re.search(r'\w+(?=\W*$)', ast.unparse(part.value))
            text, pattern = f'{text}<{word.group() if word else "name"}>', f'{pattern}[^/]+'
    return text, pattern


def _of_parameters(name: str) -> bool:
    """Whether a service is one of the seven that each node has."""
    return name.rsplit('/', 1)[-1] in {
        'describe_parameters', 'get_parameter_types', 'get_parameters', 'list_parameters', 'set_parameters',
        'set_parameters_atomically', 'get_type_description',
    }  # fmt: skip


if __name__ == '__main__':
    sys.stdout.write(topics_page())
