"""Which elements and attributes a launch file may hold: those of ros2/launch that twin launch runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from twin_nodes.app.launch.element import Element
from twin_nodes.app.launch.substitution import parse_template
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError

_CONDITIONS = frozenset({'if', 'unless'})
_PROCESS = frozenset({
    'args', 'cwd', 'emulate_tty', 'launch-prefix', 'on_exit', 'output', 'respawn', 'respawn_delay',
    'respawn_max_retries',
})  # fmt: skip
_LITERAL = frozenset({'description', 'choice', 'type', 'value-sep'})


@dataclass(frozen=True)
class Shape:
    """What one element may hold.

    Args:
        required: Attributes that must be there.
        optional: Attributes that may be there.
        children: Child elements, by name; None for any action.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    children: dict[str, Shape] | None = field(default_factory=dict)

    @property
    def attributes(self) -> frozenset[str]:
        """All attributes."""
        return self.required | self.optional


def _shape(
    required: str = '', optional: str = '', children: dict[str, Shape] | None = None, *, action: bool = True
) -> Shape:
    more = _CONDITIONS if action else frozenset()
    return Shape(frozenset(required.split()), frozenset(optional.split()) | more, children or {})


_PAIR = _shape('name value', action=False)
_REMAP = _shape('from to', action=False)
_PARAM = Shape(optional=frozenset({'name', 'value', 'value-sep', 'type', 'from', 'allow_substs'}), children={})
assert _PARAM.children is not None
_PARAM.children['param'] = _PARAM

ACTIONS: dict[str, Shape] = {
    'arg': _shape('name', 'default description', {'choice': _shape('value', action=False)}),
    'let': _shape('name value'),
    'group': Shape(optional=_CONDITIONS | {'scoped'}, children=None),
    'include': _shape('file', children={'arg': _PAIR}),
    'node': Shape(
        frozenset({'pkg', 'exec'}),
        _CONDITIONS | _PROCESS | {'name', 'namespace', 'exec_name', 'ros_args'},
        {'param': _PARAM, 'remap': _REMAP, 'env': _PAIR},
    ),
    'executable': Shape(frozenset({'cmd'}), _CONDITIONS | (_PROCESS - {'args'}) | {'name'}, {'env': _PAIR}),
    'push_ros_namespace': _shape('namespace'),
    'push-ros-namespace': _shape('namespace'),
    'set_env': _shape('name value'),
    'unset_env': _shape('name'),
    'set_parameter': _shape('name value'),
    'set_remap': _shape('from to'),
    'log': _shape('message', 'level'),
}
ROOT = Shape(optional=frozenset({'version', 'deprecated'}), children=None)


def check_element(element: Element, shape: Shape = ROOT) -> None:
    """Check an element and all below it, so that a mistake shows even where a condition would hide it.

    Raises:
        ConfigError: naming file, line, element, attribute and the nearest valid name.
    """
    for name, value in element.attributes.items():
        if name not in shape.attributes:
            raise element.fail(f'unknown attribute {name!r}{nearest(name, shape.attributes)}')
        if name not in _LITERAL:
            _check_template(element, name, value)
    for name in sorted(shape.required - set(element.attributes)):
        raise element.fail(f'attribute {name!r} is missing')
    if set(element.attributes) >= _CONDITIONS:
        raise element.fail('if and unless exclude each other; use one')
    known = ACTIONS if shape.children is None else shape.children
    for child in element.children:
        if child.tag not in known:
            inside = f' inside <{element.tag}>'
            raise child.fail(f'is not an element that twin launch runs{inside}{nearest(child.tag, known)}')
        check_element(child, known[child.tag])


def _check_template(element: Element, name: str, value: str) -> None:
    try:
        parse_template(value)
    except ConfigError as error:
        raise element.fail(f'{name}={value!r}: {error}') from None
