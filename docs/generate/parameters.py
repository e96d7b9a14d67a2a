"""One page per node: each parameter with its type, default, bounds, unit and meaning, from the config class."""

import dataclasses
from typing import Any

from pages import heading, table

from twin_nodes.core.config import Setting, settings_of
from twin_nodes.ros.registry import CONFIGS, config_type


def parameter_pages() -> dict[str, str]:
    """Return the Markdown of each page by its name, with an index first."""
    pages = {executable: _page(executable) for executable in CONFIGS}
    index = [
        *heading('Parameters', 1),
        'Every parameter of every node. `config/<node>.yaml` lists the same; a wrong key, type or value is refused '
        'with the nearest valid one. None can be changed while a node runs: what changes then is a message.',
        '',
        '```{toctree}',
        *pages,
        '```',
        '',
    ]
    return {'index': '\n'.join(index), **pages}


def _page(executable: str) -> str:
    config = config_type(executable)
    groups: dict[str, list[Setting]] = {}
    for item in settings_of(config):
        groups.setdefault(item.key.rpartition('.')[0], []).append(item)
    lines = heading(executable, 1)
    lines += [
        f'Section `/**/{executable.removesuffix("_node")}` of `config/{executable.removesuffix("_node")}.yaml`.',
        '',
    ]
    for group, items in groups.items():
        if group:
            lines += heading(f'`{group}`', 2)
        lines += table(('parameter', 'type', 'default', 'bounds', 'meaning'), map(_row, items))
    return '\n'.join(lines)


def _row(item: Setting) -> tuple[str, ...]:
    unit = f' [{item.info.unit}]' if item.info.unit else ''
    kind = f'list of {item.scalar.__name__}' if item.is_list else item.scalar.__name__
    return (f'`{item.key}`', kind, _default(item.default), _bounds(item), f'{item.info.meaning}{unit}')


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return '**required**'
    if isinstance(value, tuple):
        return f'`[{", ".join(map(_word, value))}]`'
    return f'`{_word(value)}`'


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _bounds(item: Setting) -> str:
    info = item.info
    if info.choices:
        return ', '.join(f'`{choice}`' if choice else "`''`" for choice in info.choices)
    if info.minimum is None and info.maximum is None:
        return ''
    low, high = ('' if limit is None else f'{limit:g}' for limit in (info.minimum, info.maximum))
    return f'{low} … {high}'.strip()
