"""Write constraints.txt anew: the newest versions that all requirements of `make` agree on, build tools included.

One resolution for everything: what ROS, twin_nodes and its tests need, what builds embedded/, and pip itself. pip is
only asked (`--dry-run`); nothing is installed. Run by `make lock`, with the Python of the virtual environment.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# The versions that `make` installs and builds with, each locked. Do not edit: `make lock` writes this file anew.
# Resolved with Python {python} on {platform}; ranges are in setup.py and requirements-*.txt.
"""


def build_requirements() -> list[str]:
    """Return what the build backends of this package and of embedded/ ask for."""
    files = [ROOT / 'pyproject.toml', *sorted(ROOT.glob('embedded/*/pyproject.toml'))]
    return sorted({name for file in files for name in tomllib.loads(file.read_text())['build-system']['requires']})


def resolve(requirements: list[str]) -> dict[str, str]:
    """Ask pip which versions it would install into an empty environment.

    Returns:
        Version by name, packages of this repository left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'report.json'
        words = [sys.executable, '-m', 'pip', 'install', '-qq', '--dry-run', '--ignore-installed', '--report', report]
        for file in ('requirements-ros.txt', 'requirements-test.txt', 'requirements-docs.txt'):
            words += ['-r', ROOT / file]
        subprocess.run([*words, '--', *requirements, str(ROOT)], check=True, cwd=ROOT)
        packages = json.loads(report.read_text())['install']
    return {
        package['metadata']['name']: package['metadata']['version']
        for package in packages
        if 'dir_info' not in package['download_info']
    }


def main() -> None:
    """Resolve and write."""
    versions = {'pip': version('pip')} | resolve(build_requirements())
    head = HEAD.format(python='.'.join(map(str, sys.version_info[:2])), platform=sys.platform)
    lines = [f'{name}=={versions[name]}\n' for name in sorted(versions, key=str.lower)]
    (ROOT / 'constraints.txt').write_text(head + ''.join(lines))
    print(f'constraints.txt: {len(lines)} versions')


if __name__ == '__main__':
    main()
