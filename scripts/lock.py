"""Write constraints.txt anew: the newest versions that all requirements of `make` agree on, build tools included.

One resolution for everything: what ROS, twin_nodes and its tests need, what builds embedded/, and pip itself. pip is
only asked (`--dry-run`); nothing is installed. Run by `make lock`, with the Python of the virtual environment. Where
the newest version asks for a later Python than `setup.py` does, the newest one that does not is taken.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

from pip._vendor.packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
OLDEST = '3.11.0'  # python_requires of setup.py; Debian 12 has 3.11.2
HEAD = """\
# The versions that `make` installs and builds with, each locked. Do not edit: `make lock` writes this file anew.
# Resolved with Python {python} on {platform}; ranges are in setup.py and requirements-*.txt.
"""


def build_requirements() -> list[str]:
    """Return what the build backends of this package and of embedded/ ask for."""
    files = [ROOT / 'pyproject.toml', *sorted(ROOT.glob('embedded/*/pyproject.toml'))]
    return sorted({name for file in files for name in tomllib.loads(file.read_text())['build-system']['requires']})


def resolve(requirements: list[str]) -> dict[str, str]:
    """Ask pip which versions it would install into an empty environment, each of them good for the oldest Python.

    Returns:
        Version by name, packages of this repository left out.
    """
    older: list[str] = []
    while True:
        packages = ask(requirements, older)
        late = [package for package in packages if OLDEST not in SpecifierSet(package.get('requires_python', ''))]
        if not late:
            return {package['name']: package['version'] for package in packages}
        older += [f'{package["name"]}<{package["version"]}' for package in late]


def ask(requirements: list[str], older: list[str]) -> list[dict[str, str]]:
    """Ask pip once; return the metadata of each package that is not of this repository.

    Args:
        requirements: What the build backends ask for.
        older: Constraints, of packages whose newest versions are too new.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, limits = Path(folder) / 'report.json', Path(folder) / 'limits.txt'
        limits.write_text('\n'.join(older))
        words = [sys.executable, '-m', 'pip', 'install', '-qq', '--dry-run', '--ignore-installed', '--report', report]
        words += ['-c', limits]
        for file in ('requirements-ros.txt', 'requirements-test.txt', 'requirements-docs.txt'):
            words += ['-r', ROOT / file]
        subprocess.run([*words, '--', *requirements, str(ROOT)], check=True, cwd=ROOT)
        packages = json.loads(report.read_text())['install']
    return [package['metadata'] for package in packages if 'dir_info' not in package['download_info']]


def main() -> None:
    """Resolve and write."""
    versions = {'pip': version('pip')} | resolve(build_requirements())
    head = HEAD.format(python='.'.join(map(str, sys.version_info[:2])), platform=sys.platform)
    lines = [f'{name}=={versions[name]}\n' for name in sorted(versions, key=str.lower)]
    (ROOT / 'constraints.txt').write_text(head + ''.join(lines))
    print(f'constraints.txt: {len(lines)} versions')


if __name__ == '__main__':
    main()
