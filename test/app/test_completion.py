"""Completion of `twin` as bash runs it, and what it costs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twin_nodes.app import cli, complete
from twin_nodes.app.completion import SHELLS

# what bash does at the tab key: set the words, call the function that `complete -F` named, read COMPREPLY
TAB = """
eval "$(twin completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
$(complete -p twin | sed 's/.*-F \\([^ ]*\\).*/\\1/') twin
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def press_tab(words):
    folder = str(Path(sys.executable).parent)
    environment = {**os.environ, 'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}'}
    done = subprocess.run(
        ['bash', '--norc', '-c', TAB.format(words=words)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        ('twin dem', ['demo']),
        ('twin explain TOOL_L', ['TOOL_LOST']),
        ('twin export bag --to le', ['lerobot']),
    ],
)
def test_bash_completes(words, expected):
    assert press_tab(words) == expected


@pytest.mark.parametrize(
    ('shell', 'mark'), [('bash', 'complete -o default -F'), ('zsh', 'compdef'), ('fish', 'complete')]
)
def test_each_shell_has_a_script(capsys, shell, mark):
    assert cli.main(['completion', shell]) == 0
    script = capsys.readouterr().out
    assert mark in script and '_TWIN_COMPLETE' in script


def test_without_a_shell_it_says_where_the_line_goes(capsys, monkeypatch):
    monkeypatch.setenv('SHELL', '/usr/bin/fish')
    assert cli.main(['completion']) == 0
    assert SHELLS['fish'][0] in capsys.readouterr().out
    assert cli.main(['completion', 'csh']) == 1
    assert 'is none of bash, zsh, fish' in capsys.readouterr().err


def test_words_of_arguments():
    assert ('TOOL_LOST', 'a tool is not seen') not in complete.codes('X')
    assert [code for code, _ in complete.codes('tool-lo')] == ['TOOL_LOST']
    assert complete.benches('trac') == ['tracking']
    assert 'twin.launch.xml' in complete.launch_files('')
    assert 'room' in complete.scenes('')


def test_completing_imports_nothing_heavy():
    text = (
        'import sys; from twin_nodes.app import cli; cli.main([]); '
        'print("HEAVY", sorted({"numpy", "rclpy", "numba", "yaml"} & set(sys.modules)), file=sys.stderr)'
    )
    environment = {**os.environ, 'COMP_WORDS': 'twin dem', 'COMP_CWORD': '1', '_TWIN_COMPLETE': 'complete_bash'}
    done = subprocess.run([sys.executable, '-c', text], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == 'demo'
    assert done.stderr.endswith('HEAVY []\n')
