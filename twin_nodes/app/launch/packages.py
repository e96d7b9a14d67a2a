"""Where packages and executables are: ament prefixes first, then this Python environment, then the source tree."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError

OURS = 'twin_nodes'
_INDEX = Path('share') / 'ament_index' / 'resource_index' / 'packages'


def source_root() -> Path:
    """Return the folder that holds the `twin_nodes` package (the repository root in an editable install)."""
    return Path(__file__).resolve().parents[3]


def prefixes(environment: Mapping[str, str]) -> list[Path]:
    """List the install prefixes, the most specific first; this Python environment is always the last."""
    named = [Path(item) for item in environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if item]
    here = Path(sys.prefix)
    return named if here in named else [*named, here]


def _prefix(package: str, environment: Mapping[str, str]) -> Path | None:
    for prefix in prefixes(environment):
        if (prefix / _INDEX / package).is_file() or (prefix / 'share' / package / 'package.xml').is_file():
            return prefix
    return None


def find_prefix(package: str, environment: Mapping[str, str]) -> Path:
    """Return the install prefix of a package.

    Raises:
        ConfigError: when no prefix holds it, with the nearest package name.
    """
    found = _prefix(package, environment)
    if found is not None:
        return found
    if package == OURS:
        return Path(sys.prefix)
    raise _unknown(package, environment)


def find_share(package: str, environment: Mapping[str, str]) -> Path:
    """Return the share folder of a package; for twin_nodes without one, the source tree.

    Raises:
        ConfigError: when no prefix holds it, with the nearest package name.
    """
    found = _prefix(package, environment)
    if found is not None and (found / 'share' / package).is_dir():
        return found / 'share' / package
    if package == OURS:
        return source_root()
    raise _unknown(package, environment)


def _unknown(package: str, environment: Mapping[str, str]) -> ConfigError:
    known = {OURS}
    for prefix in prefixes(environment):
        if (prefix / _INDEX).is_dir():
            known.update(path.name for path in (prefix / _INDEX).iterdir())
    where = os.pathsep.join(str(prefix) for prefix in prefixes(environment))
    return ConfigError(f'package {package!r} is in none of {where}{nearest(package, known)}')


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _console_script(package: str, executable: str) -> bool:
    """Whether this environment's console script of that name belongs to the package."""
    from importlib.metadata import entry_points

    scripts = entry_points(group='console_scripts', name=executable)
    return any(script.module.split('.')[0] == package for script in scripts)


def resolve(package: str, executable: str, environment: Mapping[str, str]) -> list[str]:
    """Return the command that starts an executable of a package.

    Looked for in `lib/<package>/` of each prefix (colcon, ROS), then among the console scripts of this Python, then,
    for twin_nodes, among its node modules.

    Raises:
        ConfigError: when it is nowhere, with the nearest name.
    """
    for prefix in prefixes(environment):
        if _is_program(program := prefix / 'lib' / package / executable):
            return [str(program)]
    script = Path(sys.executable).parent / executable
    if package == OURS and executable in own_nodes():
        return [str(script)] if _is_program(script) else [sys.executable, '-m', f'{OURS}.nodes.{executable}']
    if _is_program(script) and _console_script(package, executable):
        return [str(script)]
    known = set(own_nodes()) if package == OURS else set()
    for folder in (prefix / 'lib' / package for prefix in prefixes(environment)):
        known.update(path.name for path in folder.iterdir() if _is_program(path)) if folder.is_dir() else None
    if package != OURS and not known and _prefix(package, environment) is None:
        raise _unknown(package, environment)
    listing = f' (it has: {", ".join(sorted(known))})' if known else ''
    raise ConfigError(f'package {package!r} has no executable {executable!r}{nearest(executable, known)}{listing}')


def own_nodes() -> list[str]:
    """List the node modules of twin_nodes."""
    return sorted(path.stem for path in (source_root() / OURS / 'nodes').glob('*_node.py'))


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """Return the path of a program on PATH.

    Raises:
        ConfigError: when it is not there.
    """
    found = shutil.which(name, path=environment.get('PATH'))
    if found is None:
        raise ConfigError(f'program {name!r} is not on PATH')
    return found
