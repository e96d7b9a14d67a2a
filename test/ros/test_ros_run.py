"""A node that cannot start says why in one line and exits with 1."""

import subprocess
import sys
from pathlib import Path

import pytest


def _run(tmp_path: Path, content: str | None) -> subprocess.CompletedProcess[str]:
    file = tmp_path / 'tracker.yaml'
    if content is not None:
        file.write_text(content)
    command = [sys.executable, '-m', 'twin_nodes.nodes.tracker_node', '--ros-args', '--params-file', str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, 'Error opening YAML file'),
        ('tracker:\n  ros__parameters:\n    source: "x\n', 'tracker.yaml'),
        (
            'tracker:\n  ros__parameters:\n    source: recording\n    tracking:\n      tools: [a]\n'
            '    recording:\n      path: nowhere.igs.mha\n',
            'nowhere.igs.mha',
        ),
        ('tracker:\n  ros__parameters:\n    sorce: crtk\n', "did you mean 'source'"),
    ],
    ids=['no file', 'no YAML', 'no recording', 'unknown key'],
)
def test_says_in_one_line_why_it_does_not_start(tmp_path: Path, content: str | None, said: str) -> None:
    done = _run(tmp_path, content)
    assert done.returncode == 1
    assert said in done.stderr
    assert 'Traceback' not in done.stderr
    ours = [line for line in done.stderr.strip().splitlines() if '[rcl]' not in line]  # rcl adds a line of its own
    assert len(ours) == 1
