"""The pages of the documentation: each in the table of contents, each link to something that is there."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import typer
import yaml

from twin_nodes.app.cli import app
from twin_nodes.core.config import settings_of
from twin_nodes.ros.registry import CONFIGS, config_type

DOCS = Path(__file__).resolve().parents[1] / 'docs'
PAGES = sorted(path for path in DOCS.rglob('*.md') if 'reference' not in path.parts)
LINK = re.compile(r'\]\(([^)#\s]+)(#[^)\s]*)?\)')
GENERATED = {'reference/commands.md', 'reference/topics.md', 'reference/codes.md', 'reference/sources.md'}


def test_every_page_is_in_the_contents():
    index = (DOCS / 'index.md').read_text()
    blocks = re.findall(r'```\{toctree\}\n(.*?)```', index, re.DOTALL)
    named = {line.strip() for block in blocks for line in block.splitlines() if line and not line.startswith(':')}
    pages = {path.relative_to(DOCS).with_suffix('').as_posix() for path in PAGES} - {'index'}
    assert pages <= named, f'add to a toctree of docs/index.md: {sorted(pages - named)}'
    gone = {name for name in named if not name.startswith('reference/')} - pages
    assert not gone


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(page):
    for target, _ in LINK.findall(page.read_text()):
        if target.startswith(('http://', 'https://', 'mailto:')):
            continue
        place = (page.parent / target).resolve()
        assert place.exists() or place.relative_to(DOCS).as_posix() in GENERATED, f'{page.name}: {target}'


ROOT = typer.main.get_command(app)
SH = re.compile(r'^```sh(\n.*?)^```$', re.MULTILINE | re.DOTALL)
SHELL = re.compile(r'^ {4,}(twin .*)$', re.MULTILINE)
INLINE = re.compile(r'`(twin [^`]+)`')


def commands(page):
    """The commands that a page shows, in its text and as examples, without comments and what they are piped into."""
    text = page.read_text()
    examples = SH.sub(lambda fence: fence[1].replace('\n', '\n    '), text)
    examples = re.sub(r' *\\\n *', ' ', examples)
    found = INLINE.findall(' '.join(text.split())) + SHELL.findall(examples)
    return [re.split(r'\s#|\s[|>]\s', one)[0].split()[1:] for one in found]


def opened(words):
    """The command that words open, the words that are left for it, and whether it is a command at all."""
    command, rest = ROOT, list(words)
    while rest and rest[0].strip(',.;:') in getattr(command, 'commands', {}):
        command = command.commands[rest.pop(0).strip(',.;:')]
    group_of_nothing = bool(getattr(command, 'commands', {})) and bool(rest) and rest[0].isalpha() and rest[0].islower()
    return command, rest, not group_of_nothing


@pytest.mark.parametrize('page', [*PAGES, *DOCS.parent.glob('*.md')], ids=lambda path: path.stem)
def test_commands_on_the_pages_exist_with_their_options(page):
    for words in commands(page):
        command, rest, exists = opened(words)
        assert exists, f'{page.name}: twin {" ".join(words)}: there is no such command'
        options = {name for item in command.params for name in (*item.opts, *item.secondary_opts)} | {'--help'}
        told = {word.strip('[].,;:)') for word in rest if re.match(r'\[?--?[a-z]', word)}
        assert told <= options, f'{page.name}: twin {" ".join(words)}: {sorted(told - options)}'


OURS = ('how_to', 'tutorials', 'concepts')
FENCE = re.compile(r'^ *```(python|yaml)\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
CODE = [(path, language, text) for path in PAGES if path.parent.name in OURS
        for language, text in FENCE.findall(path.read_text())]  # fmt: skip


def code(language):
    found = [(path, text) for path, of, text in CODE if of == language]
    return pytest.mark.parametrize(('page', 'text'), found, ids=[path.stem for path, _ in found])


@code('python')
def test_python_on_the_pages_names_what_there_is(page, text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith('twin_nodes'):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), f'{page.name}: {ast.unparse(node)}'


def keys_of(values, prefix=''):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from keys_of(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'


@code('yaml')
def test_settings_on_the_pages_exist(page, text):
    values = yaml.safe_load(text)
    if 'interface' in values:
        return  # of AMBF, not ours
    known = {item.key for executable in CONFIGS for item in settings_of(config_type(executable))}
    assert not set(keys_of(values)) - known, page.name
