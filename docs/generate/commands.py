"""The page of the command line, from the commands themselves."""

from collections.abc import Iterator
from typing import Any

import typer
from pages import heading, table

from twin_nodes.app.cli import app


def commands_page() -> str:
    """Return the page as Markdown."""
    root = typer.main.get_command(app)
    lines = [
        *heading('The `twin` command', 1),
        'Each command ends with 0 when all went well, with 1 when something is wrong (one line says what, and what to '
        'type), with 2 when it was typed wrongly. `--debug` before the command shows a traceback.',
        '',
    ]
    for words, command in _commands(root, ()):
        lines += [*heading(f'twin {" ".join(words)}', 2), str(command.help or '').strip(), '']
        lines += [f'`twin {" ".join(words)} {_usage(command)}`'.replace(' `', '`'), '']
        rows = [row for parameter in command.params if (row := _row(parameter)) is not None]
        lines += table(('', 'meaning', 'default'), rows) if rows else []
    return '\n'.join(lines)


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in sorted(getattr(command, 'commands', {}).items()):
        if child.hidden:
            continue
        if getattr(child, 'commands', None):
            yield from _commands(child, (*words, name))
        else:
            yield (*words, name), child


def _usage(command: Any) -> str:
    words = []
    for parameter in command.params:
        if parameter.param_type_name == 'argument':
            word = parameter.name.upper() + (' …' if parameter.nargs == -1 else '')
            words.append(word if parameter.required else f'[{word}]')
    return ' '.join(words)


def _row(parameter: Any) -> tuple[str, str, str] | None:
    if parameter.param_type_name == 'argument':
        name = f'`{parameter.name.upper()}`'
    elif parameter.name == 'help':
        return None
    else:
        name = ', '.join(f'`{word}`' for word in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = '' if default is None or default in (False, (), '') or callable(default) else f'`{default}`'
    if parameter.required:
        shown = '**required**'
    return name, _plain(getattr(parameter, 'help', None) or ''), shown


def _plain(text: str) -> str:
    return text.replace('<', '&lt;').replace('*', '\\*')
