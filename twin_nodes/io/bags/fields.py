"""Decoded messages in one canonical form, equal exactly when every field is equal bit for bit.

Raw CDR cannot be compared: its alignment padding is not initialised by the sender.
"""

import array
import dataclasses
import importlib
import struct
from functools import lru_cache
from typing import Any

import numpy as np

from twin_nodes.core.errors import InputError

Fields = tuple[str, tuple[tuple[str, Any], ...]]
_PADDING = 'structure_needs_at_least_one_member'


def message_class(type_name: str) -> type | None:
    """Return the installed Python class of 'pkg/msg/Type', or None when the package is not installed here."""
    try:
        package, kind, name = type_name.split('/')
        return getattr(importlib.import_module(f'{package}.{kind}'), name, None)
    except (ImportError, ValueError):
        return None


def decode(type_name: str, data: bytes, *, definition: str = '') -> Any:
    """Decode CDR bytes with rclpy where it and the type are installed, with rosbags otherwise.

    Args:
        type_name: 'pkg/msg/Type'.
        data: CDR bytes with their encapsulation header.
        definition: The type's full definition, for types that are not installed.

    Raises:
        InputError: The bytes do not fit the type, or the type is known to nobody.
    """
    found = message_class(type_name)
    try:
        if found is not None:
            from rclpy.serialization import deserialize_message

            return deserialize_message(data, found)
    except ImportError:
        pass
    except Exception as error:  # RMWError is raised by the middleware's extension
        raise InputError(f'{len(data)} bytes are not a {type_name}: {error}') from error
    return decode_without_ros(type_name, data, definition=definition)


def decode_without_ros(type_name: str, data: bytes, *, definition: str = '') -> Any:
    """Decode CDR bytes with rosbags alone.

    Raises:
        InputError: The bytes do not fit the type, or the type is known neither to rosbags nor from a definition.
    """
    store = _store(type_name, definition)
    reason: Exception | None = None
    for padding in (0, 4, 8):  # Fast DDS leaves up to an alignment of 8 behind the last field; rosbags allows 3 bytes
        try:
            return store.deserialize_cdr(data[: len(data) - padding], type_name)
        except Exception as error:  # rosbags raises struct, assertion and key errors alike
            reason = reason or error
    raise InputError(f'{len(data)} bytes are not a {type_name}: {reason}') from reason


@lru_cache(maxsize=64)
def _store(type_name: str, definition: str) -> Any:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    if not definition:
        store = get_typestore(Stores.LATEST)
        if type_name not in store.types:
            raise InputError(f'{type_name} is neither installed nor defined in the bag: its messages stay undecoded')
        return store
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(definition, type_name))
    except Exception as error:  # a parser of its own, with errors of its own
        raise InputError(f'the definition of {type_name} in the bag cannot be used: {error}') from error
    return store


def decoded_fields(message: Any) -> Fields:
    """Return a message as nested tuples, the same for a class of rclpy and for one of rosbags.

    Numbers with a fraction become their IEEE bits, so -0.0 differs from 0.0 and NaN equals the same NaN; arrays of
    numbers become (element type, bytes).
    """
    return _type_name(message), tuple((name, _value(getattr(message, name))) for name in _names(message))


def _type_name(message: Any) -> str:
    told = getattr(message, '__msgtype__', '')
    if told:
        return told
    package, kind = type(message).__module__.split('.')[:2]
    return f'{package}/{kind}/{type(message).__name__}'


def _names(message: Any) -> list[str]:
    lister = getattr(message, 'get_fields_and_field_types', None)
    if lister is not None:
        return [name for name in lister() if name != _PADDING]
    names = [field.name for field in dataclasses.fields(message)]  # of rosbags: constants too, in capitals by ROS' rule
    return [name for name in names if name != _PADDING and name[0].islower()]


def _value(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return struct.pack('<d', value)
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value[0] if len(value) == 1 else _numbers(np.frombuffer(value, np.uint8))
    if isinstance(value, array.array | np.ndarray):
        return _numbers(np.asarray(value))
    if isinstance(value, list | tuple):
        return _sequence(value)
    return decoded_fields(value)


def _sequence(values: Any) -> Any:
    if values and isinstance(values[0], bool):
        return _numbers(np.array(values, dtype=bool))
    if values and isinstance(values[0], bytes):
        return _numbers(np.frombuffer(b''.join(values), np.uint8))
    return tuple(_value(value) for value in values)


def _numbers(values: np.ndarray) -> tuple[str, bytes] | tuple[()]:
    if not values.size:
        return ()  # an empty list does not tell its element type
    return values.dtype.newbyteorder('<').str, values.astype(values.dtype.newbyteorder('<')).tobytes()
