"""Xacro files: their arguments, the packages that they name, and their expansion by `xacrodoc`."""

import re
import shlex
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.robot.model import REFUSED
from twin_nodes.io.xml_safe import parse_xml, read_bytes_bounded

PACKAGE = 'package.xml'
MAX_UP = 8
MAX_BESIDE = 200
_FIND = re.compile(rb'\$\(find\s+([\w.-]+)\s*\)')
_ARGUMENT = re.compile(rb'\$\(arg\s+([\w.-]+)\s*\)|<xacro:arg\s[^>]*?\bname\s*=\s*["\']([\w.-]+)["\']')
_GIVEN = re.compile(r'\s+(?=[\w.-]+:=)')


def is_xacro(path: Path, data: bytes) -> bool:
    """Whether a file is to be expanded first."""
    return path.suffix == '.xacro' or b'xacro:' in data[:65536]


def split_arguments(source: str) -> tuple[str, dict[str, str]]:
    """Part `FILE name:=value …`, as xacro's own command line has it; a value with spaces stands in quotes.

    Raises:
        ConfigError: A word that is no name:=value.
    """
    name, *rest = _GIVEN.split(source.strip(), maxsplit=1)
    return name, arguments_of(_words(rest[0])) if rest else {}


def arguments_of(words: list[str]) -> dict[str, str]:
    """Return the arguments that words such as `tool:=420006` give.

    Raises:
        ConfigError: A word that is no name:=value, or a name that is there twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, given, value = word.partition(':=')
        if not given or not re.fullmatch(r'[\w.-]+', name):
            raise ConfigError(f'{word!r} is no argument of a xacro file; expected name:=value')
        if name in found:
            raise ConfigError(f'the argument {name!r} is given twice: {found[name]!r} and {value!r}')
        found[name] = value
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f'{text!r}: {error}; expected name:=value, a value with spaces in quotes') from None


def expand_xacro(path: Path, data: bytes, arguments: Mapping[str, str]) -> bytes:
    """Expand xacro; `$(find NAME)` finds the package of the file, those beside it, and those of a sourced ROS.

    Args:
        path: The file.
        data: Its text.
        arguments: Values of its arguments.

    Raises:
        ConfigError: No xacrodoc, or an argument that the file does not have.
        InputError: MODEL_REFUSED: what xacro says, or a file that breaks the rules of a URDF.
    """
    packages = _packages_about(path)
    named, known = _check_included(path, data, packages)
    missing = sorted(named - set(packages))
    for name in arguments:
        if name not in known and not missing:
            raise ConfigError(
                f'{path}: no argument {name!r}{nearest(name, known)}; it has {", ".join(sorted(known)) or "none"}'
            )
    try:
        xacrodoc: Any = import_module('xacrodoc')
    except ModuleNotFoundError:
        raise ConfigError(f'{path}: xacro files need xacrodoc: pip install xacrodoc') from None
    try:
        import_module('xacro').init_stacks(str(path.resolve()))  # where relative paths of its includes begin
        xacrodoc.packages.reset()  # those of the file before
        xacrodoc.packages.update_package_cache(packages)
        document = xacrodoc.XacroDoc.from_file(str(path), resolve_packages=False, subargs=dict(arguments))
        text: str = document.to_urdf_string()
    except Exception as error:  # xacrodoc raises whatever its expressions raise
        reason = ' '.join(str(error).split())
        if missing and ('AMENT_PREFIX_PATH' in reason or 'ackage' in reason):
            reason = f'package {", ".join(missing)} is not found: put its folder beside that of the file, or source ROS'
        elif 'Undefined substitution argument' in reason:
            reason += ': it has no default; add name:=value behind the name of the file, or --arg name:=value'
        raise InputError(f'{path}: xacro: {reason}', code=REFUSED) from None
    return text.encode()


def _packages_about(path: Path) -> dict[str, Path]:
    """Return the folders of the ROS package that holds a file and of those beside it, by their names."""
    own = next((folder for folder in list(path.resolve().parents)[:MAX_UP] if (folder / PACKAGE).is_file()), None)
    found: dict[str, Path] = {}
    for manifest in [own / PACKAGE, *sorted(own.parent.glob(f'*/{PACKAGE}'))[:MAX_BESIDE]] if own else []:
        try:
            root = parse_xml(read_bytes_bounded(manifest, code=REFUSED), where=str(manifest), code=REFUSED)
        except InputError:
            continue  # no package that can be used
        found.setdefault((root.findtext('name') or '').strip(), manifest.parent)
    return found


def _check_included(path: Path, data: bytes, packages: dict[str, Path]) -> tuple[set[str], set[str]]:
    """Hold all that a xacro file may include to the same rules; return the packages and arguments named in it."""
    named: set[str] = set()
    known: set[str] = set()
    folders, seen = [path.parent], set()
    while folders:
        folder = folders.pop().resolve()
        for file in (path, *folder.rglob('*.xacro')) if folder not in seen else ():
            text = data if file == path else read_bytes_bounded(file, code=REFUSED)
            parse_xml(text, where=str(file), code=REFUSED)
            known |= {(used or declared).decode() for used, declared in _ARGUMENT.findall(text)}
            new = {name.decode('utf-8', 'replace') for name in _FIND.findall(text)} - named
            named |= new
            folders += [packages[name] for name in new if name in packages]
        seen.add(folder)
    return named, known
