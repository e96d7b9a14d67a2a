"""`twin demo --scene liver` as a user types it, through the real nodes."""

import json
import subprocess
import sys


def test_the_liver_is_built_launched_and_followed(tmp_path):
    command = [sys.executable, '-m', 'twin_nodes', 'demo', '--scene', 'liver', '--headless', '--json', '--no-bag']
    done = subprocess.run(
        [*command, '--seconds', '60', '--out', str(tmp_path)], capture_output=True, text=True, timeout=200, check=False
    )
    figures = {row['figure']: row for row in map(json.loads, done.stdout.splitlines())}
    said = done.stdout + done.stderr + (tmp_path / 'log.txt').read_text()
    assert figures['target_messages']['value'] >= 1, said
    # how often and how late depends on what else the machine does; where the lesions are does not
    mean, rigid = figures['target_error_mean_mm'], figures['target_error_rigid_mm']
    assert mean['value'] < 0.6 * rigid['value'] and figures['solver_failures']['value'] == 0, said
    assert figures['clouds_refused']['value'] >= 1, said
    assert (tmp_path / 'case' / 'manifest.json').is_file() and (tmp_path / 'config' / 'anatomy.yaml').is_file()
