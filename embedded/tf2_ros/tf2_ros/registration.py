"""Which types `Buffer.transform()` can turn, and into which others they convert."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

from std_msgs.msg import Header


class TypeException(Exception):  # noqa: N818  (its name in tf2)
    """A type that nobody registered.

    Args:
        errstr: What is missing.
    """

    def __init__(self, errstr: str) -> None:
        super().__init__(errstr)
        self.errstr = errstr


class NotImplementedException(Exception):  # noqa: N818  (its name in tf2)
    """A buffer that cannot look up."""

    def __init__(self) -> None:
        self.errstr = 'CanTransform or LookupTransform not implemented'
        super().__init__(self.errstr)


def _registered(table: dict[Any, Callable], key: Any) -> Callable:
    try:
        return table[key]
    except KeyError:
        raise TypeException(f'Type {key} is not loaded or supported: register it first') from None


class TransformRegistration:
    """The functions that carry an object into another frame, one per type, shared by all buffers."""

    _functions: ClassVar[dict[Any, Callable]] = {}

    def add(self, key: type, callback: Callable) -> None:
        """Register `callback(object, transform)` for a type."""
        self._functions[key] = callback

    def get(self, key: type) -> Callable:
        """The function of a type; TypeException where there is none."""
        return _registered(self._functions, key)


class ConvertRegistration:
    """The functions that turn one type into another, shared by all."""

    _to_msg: ClassVar[dict[Any, Callable]] = {}
    _from_msg: ClassVar[dict[Any, Callable]] = {}
    _direct: ClassVar[dict[Any, Callable]] = {}

    def add_to_msg(self, key: type, callback: Callable) -> None:
        """Register how a type becomes a message."""
        self._to_msg[key] = callback

    def add_from_msg(self, key: type, callback: Callable) -> None:
        """Register how a type comes from a message."""
        self._from_msg[key] = callback

    def add_convert(self, key: tuple[type, type], callback: Callable) -> None:
        """Register how the first type becomes the second without a message between."""
        self._direct[key] = callback

    def get_to_msg(self, key: type) -> Callable:
        """How a type becomes a message; TypeException where nobody knows."""
        return _registered(self._to_msg, key)

    def get_from_msg(self, key: type) -> Callable:
        """How a type comes from a message; TypeException where nobody knows."""
        return _registered(self._from_msg, key)

    def get_convert(self, key: tuple[type, type]) -> Callable:
        """How the first type becomes the second; TypeException where nobody knows."""
        return _registered(self._direct, key)


def convert(a: Any, b_type: type) -> Any:
    """An object as another type: by its own conversion, as a copy when it has the type, else through a message."""
    known = ConvertRegistration()
    try:
        return known.get_convert((type(a), b_type))(a)
    except TypeException:
        if type(a) is b_type:
            return deepcopy(a)
    return known.get_from_msg(b_type)(known.get_to_msg(type(a))(a))


def Stamped(obj: Any, stamp: Any, frame_id: str) -> Any:
    """Give an object a header, and return it."""
    obj.header = Header(frame_id=frame_id, stamp=stamp)
    return obj
