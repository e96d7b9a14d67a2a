"""Files of YAML that people and programs write: one reader, one way of refusing."""

from pathlib import Path
from typing import Any

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.yaml_text import parse_yaml
from twin_nodes.io.whole_files import MAX_FILE_BYTES, read_bytes_whole


def read_yaml(path: Path | str, what: str, *, most: int = MAX_FILE_BYTES) -> Any:
    """Read a YAML file.

    Args:
        path: The file.
        what: What it should be, for the error.
        most: Its largest size [bytes].

    Raises:
        ConfigError: naming the file, the line and what is wrong with it; see `parse_yaml`.
    """
    data = read_bytes_whole(path, what, most=most)
    try:
        return parse_yaml(data, str(path), most=most)
    except ConfigError as error:
        raise ConfigError(f'{error}: no {what}') from None


def read_mapping(path: Path | str, what: str, *, most: int = MAX_FILE_BYTES) -> dict[Any, Any]:
    """Read a YAML file of keys and values.

    Raises:
        ConfigError: As `read_yaml`, or it holds something else.
    """
    document = read_yaml(path, what, most=most)
    if not isinstance(document, dict):
        raise ConfigError(f'{path}: expected keys and values, got {type(document).__name__}: no {what}')
    return document
