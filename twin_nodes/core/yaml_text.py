"""YAML text, read in one way: bounded, each key once, one kind of refusal."""

from __future__ import annotations

from typing import Any

import yaml

from twin_nodes.core.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_VALUES = 4_000_000
_BAD_VALUES = (ValueError, AttributeError, LookupError, TypeError, ArithmeticError)  # such as `!!timestamp x`


_Scanner: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


class _Loader(yaml.composer.Composer, _Scanner):  # type: ignore[misc]
    """Scans in C where that is there, and composes in Python: a text nested too deep is an error there, no crash."""

    def __init__(self, text: str | bytes) -> None:
        yaml.composer.Composer.__init__(self)
        _Scanner.__init__(self, text)


def parse_yaml(text: str | bytes, where: str, *, most: int = MAX_BYTES) -> Any:
    """Read one document of plain values; JSON is YAML.

    Args:
        text: The document.
        where: What it is called in errors, such as the file.
        most: Its largest size [bytes, or characters of a str].

    Raises:
        ConfigError: naming the line and what is wrong: no YAML, a tag that is not plain, too large, or a key that
            stands twice in one map, of which YAML would keep the last in silence.
    """
    if len(text) > most:
        raise ConfigError(f'{where}: above {most >> 10} KiB, too large to be read as YAML')
    try:
        loader = _Loader(text)
    except (yaml.YAMLError, ValueError) as error:
        raise _refusal(where, error) from None
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _size(root, where, {})
        return loader.construct_document(root)
    except ConfigError:
        raise
    except (yaml.YAMLError, RecursionError, *_BAD_VALUES) as error:
        raise _refusal(where, error) from None
    finally:
        loader.dispose()


def key_lines(text: str | bytes) -> dict[tuple[str, ...], int]:
    """Map the path of each key to its line, from 1; below the first level dotted keys are split.

    Args:
        text: A document that `parse_yaml` accepts.
    """
    return _lines(yaml.compose(text, Loader=_Loader), ())


def _lines(node: yaml.Node | None, path: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, *str(key.value).split('.')) if path else (str(key.value),)
            found[inner] = key.start_mark.line + 1
            found.update(_lines(value, inner))
    return found


def _size(node: yaml.Node, where: str, sizes: dict[int, int]) -> int:
    """Count the values that a node stands for with its aliases written out, and refuse what no file of ours holds.

    Args:
        node: The node.
        where: As in `parse_yaml`.
        sizes: What is known of the nodes by id; 0 for those that are being counted.
    """
    known = sizes.get(id(node))
    if known is not None:
        if not known:
            raise ConfigError(f'{where}:{node.start_mark.line + 1}: a value that holds itself')
        return known
    sizes[id(node)] = 0
    inner = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        _refuse_twice([key for key, _ in node.value], where)
        inner = [part for pair in node.value for part in pair]
    size = 1 + sum(_size(part, where, sizes) for part in inner)
    if size > MAX_VALUES:
        raise ConfigError(f'{where}:{node.start_mark.line + 1}: above {MAX_VALUES} values with its aliases written out')
    sizes[id(node)] = size
    return size


def _refuse_twice(keys: list[yaml.Node], where: str) -> None:
    names = set()
    for key in keys:
        name = (key.tag, str(key.value))
        if name in names:
            raise ConfigError(f'{where}:{key.start_mark.line + 1}: {key.value!r} stands twice in one map')
        names.add(name)


def _refusal(where: str, error: Exception) -> ConfigError:
    mark = getattr(error, 'problem_mark', None)
    line = f':{mark.line + 1}' if mark is not None else ''
    lines = str(error).splitlines()
    reason = getattr(error, 'problem', None) or (lines[0] if lines else type(error).__name__)
    return ConfigError(f'{where}{line}: not readable as YAML: {reason}')
