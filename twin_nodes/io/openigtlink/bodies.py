"""The content of each message type: records to bytes and back. Millimetres live only here.

Layouts after the OpenIGTLink specification, version 3; all numbers big-endian.
"""

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.openigtlink.fields import name_from_wire, name_to_wire, text_from_wire, text_to_wire
from twin_nodes.io.openigtlink.messages import (
    Capability,
    GetMessage,
    Message,
    Point,
    PointElement,
    Position,
    QTData,
    QTElement,
    ReadyMessage,
    StartMessage,
    Status,
    StopMessage,
    String,
    TData,
    TElement,
    Transform,
)

TYPE_BYTES = 12
DATA_TYPES = ('TRANSFORM', 'POSITION', 'TDATA', 'QTDATA', 'STATUS', 'STRING', 'POINT', 'CAPABIL')
_MM_PER_M = 1000.0
_MATRIX = struct.Struct('>12f')
_T_ELEMENT = struct.Struct('>20sBx12f')
_QT_ELEMENT = struct.Struct('>20sBx7f')
_QT_DTYPE = np.dtype([('name', 'S20'), ('kind', 'u1'), ('pad', 'u1'), ('values', '>f4', 7)])
_POINT = struct.Struct('>64s32s4B4f20s')
_STATUS = struct.Struct('>Hq20s')
_STRING = struct.Struct('>HH')
_START = struct.Struct('>I32s')

Header = dict[str, Any]


def _refuse(type_name: str, size: int, expected: str) -> InputError:
    return InputError(f'{type_name}: content of {size} bytes, expected {expected}', code='PROTOCOL')


def _pack_floats(layout: struct.Struct, *values: Any) -> bytes:
    try:
        return layout.pack(*values)
    except (OverflowError, struct.error) as error:
        raise InputError(f'a value does not fit its field on the wire: {error}', code='PROTOCOL') from None


def _wire_matrix(pose: Array) -> list[float]:
    """The 12 floats of a pose [m]: R11 R21 R31 R12 … R33 TX TY TZ [mm]."""
    columns = np.asarray(pose, float)[:3].T
    return [*columns[:3].ravel().tolist(), *(columns[3] * _MM_PER_M).tolist()]


def _pose(values: tuple[float, ...]) -> Array:
    r11, r21, r31, r12, r22, r32, r13, r23, r33, x, y, z = values
    return np.array(
        (
            (r11, r12, r13, x / _MM_PER_M),
            (r21, r22, r23, y / _MM_PER_M),
            (r31, r32, r33, z / _MM_PER_M),
            (0.0, 0.0, 0.0, 1.0),
        )
    )


def _pack_transform(message: Transform) -> bytes:
    return _pack_floats(_MATRIX, *_wire_matrix(message.pose))


def _unpack_transform(content: bytes, header: Header) -> Message:
    if len(content) != _MATRIX.size:
        raise _refuse('TRANSFORM', len(content), '48')
    return Transform(pose=_pose(_MATRIX.unpack(content)), **header)


def _pack_position(message: Position) -> bytes:
    values = [component * _MM_PER_M for component in message.position.tolist()]
    if message.quat_xyzw is not None:
        values += message.quat_xyzw.tolist()
    return _pack_floats(struct.Struct(f'>{len(values)}f'), *values)


def _fourth_component(x: float, y: float, z: float) -> float:
    """The w ≥ 0 that the sender left out, for a unit quaternion; float32 rounding may leave 1e-6 too much."""
    square = 1.0 - x * x - y * y - z * z
    if not square >= -1e-6:
        raise InputError(f'POSITION: quaternion part ({x}, {y}, {z}) is longer than 1', code='NOT_A_ROTATION')
    return math.sqrt(max(square, 0.0))


def _unpack_position(content: bytes, header: Header) -> Message:
    if len(content) not in (12, 24, 28):
        raise _refuse('POSITION', len(content), '12, 24 or 28')
    values = struct.unpack(f'>{len(content) // 4}f', content)
    quat = values[3:] if len(values) != 6 else (*values[3:], _fourth_component(*values[3:]))
    return Position(
        position=np.array(values[:3]) / _MM_PER_M, quat_xyzw=np.array(quat) if len(quat) else None, **header
    )


def _pack_tdata(message: TData) -> bytes:
    return b''.join(
        _pack_floats(_T_ELEMENT, name_to_wire(e.name, 20, what='tool name'), e.kind, *_wire_matrix(e.pose))
        for e in message.elements
    )


def _unpack_tdata(content: bytes, header: Header) -> Message:
    if len(content) % _T_ELEMENT.size:
        raise _refuse('TDATA', len(content), 'a multiple of 70')
    elements = [
        TElement(name_from_wire(name), kind, _pose(tuple(values)))
        for name, kind, *values in _T_ELEMENT.iter_unpack(content)
    ]
    return TData(elements=tuple(elements), **header)


def _pack_qtdata(message: QTData) -> bytes:
    return b''.join(
        _pack_floats(
            _QT_ELEMENT,
            name_to_wire(e.name, 20, what='tool name'),
            e.kind,
            *(e.position * _MM_PER_M).tolist(),
            *e.quat_xyzw.tolist(),
        )
        for e in message.elements
    )


def _unpack_qtdata(content: bytes, header: Header) -> Message:
    if len(content) % _QT_ELEMENT.size:
        raise _refuse('QTDATA', len(content), 'a multiple of 50')
    records = np.frombuffer(content, dtype=_QT_DTYPE)
    values = records['values'].astype(np.float64)
    positions, quats = values[:, :3] / _MM_PER_M, values[:, 3:]
    elements = [
        QTElement(name_from_wire(content[at : at + 20]), content[at + 20], positions[i], quats[i])
        for i, at in enumerate(range(0, len(content), _QT_ELEMENT.size))
    ]
    return QTData(elements=tuple(elements), **header)


def _pack_status(message: Status) -> bytes:
    name = name_to_wire(message.error_name, 20, what='error name')
    return _pack_floats(_STATUS, message.code, message.subcode, name) + message.text.encode() + b'\0'


def _unpack_status(content: bytes, header: Header) -> Message:
    if len(content) < _STATUS.size:
        raise _refuse('STATUS', len(content), 'at least 30')
    code, subcode, name = _STATUS.unpack_from(content)
    text = name_from_wire(content[_STATUS.size :])
    return Status(code=code, subcode=subcode, error_name=name_from_wire(name), text=text, **header)


def _pack_string(message: String) -> bytes:
    text, encoding = text_to_wire(message.text)
    if len(text) > 0xFFFF:
        raise InputError(f'STRING: text of {len(text)} bytes, at most 65535', code='PROTOCOL')
    return _STRING.pack(encoding, len(text)) + text


def _unpack_string(content: bytes, header: Header) -> Message:
    if len(content) < _STRING.size:
        raise _refuse('STRING', len(content), 'at least 4')
    encoding, length = _STRING.unpack_from(content)
    if len(content) != _STRING.size + length:
        raise _refuse('STRING', len(content), f'{_STRING.size + length}')
    return String(text=text_from_wire(content[_STRING.size :], encoding), **header)


def _pack_point(message: Point) -> bytes:
    return b''.join(
        _pack_floats(
            _POINT,
            name_to_wire(p.name, 64, what='point name'),
            name_to_wire(p.group, 32, what='group name'),
            *p.rgba,
            *(p.position * _MM_PER_M).tolist(),
            p.diameter * _MM_PER_M,
            name_to_wire(p.owner, 20, what='owner name'),
        )
        for p in message.points
    )


def _unpack_point(content: bytes, header: Header) -> Message:
    if len(content) % _POINT.size:
        raise _refuse('POINT', len(content), 'a multiple of 136')
    points = [
        PointElement(
            name_from_wire(name),
            name_from_wire(group),
            (r, g, b, a),
            np.array((x, y, z)) / _MM_PER_M,
            diameter / _MM_PER_M,
            name_from_wire(owner),
        )
        for name, group, r, g, b, a, x, y, z, diameter, owner in _POINT.iter_unpack(content)
    ]
    return Point(points=tuple(points), **header)


def _pack_capability(message: Capability) -> bytes:
    return b''.join(name_to_wire(t, TYPE_BYTES, what='type').ljust(TYPE_BYTES, b'\0') for t in message.types)


def _unpack_capability(content: bytes, header: Header) -> Message:
    if len(content) % TYPE_BYTES:
        raise _refuse('CAPABIL', len(content), 'a multiple of 12')
    cuts = range(0, len(content), TYPE_BYTES)
    return Capability(types=tuple(name_from_wire(content[at : at + TYPE_BYTES]) for at in cuts), **header)


def _pack_start(message: StartMessage) -> bytes:
    coordinate = name_to_wire(message.coordinate, 32, what='coordinate name')
    return _pack_floats(_START, message.resolution_ms, coordinate)


def _unpack_start(target: str, content: bytes, header: Header) -> Message:
    if not content:
        return StartMessage(target=target, **header)
    if len(content) != _START.size:
        raise _refuse(f'STT_{target}', len(content), '0 or 36')
    resolution_ms, coordinate = _START.unpack(content)
    return StartMessage(target=target, resolution_ms=resolution_ms, coordinate=name_from_wire(coordinate), **header)


def _unpack_ready(target: str, content: bytes, header: Header) -> Message:
    if len(content) != 1:
        raise _refuse(f'RTS_{target}', len(content), '1')
    return ReadyMessage(target=target, status=content[0], **header)


def _bodiless(prefix: str, message_type: type[GetMessage] | type[StopMessage]) -> Callable[..., Message]:
    def unpack(target: str, content: bytes, header: Header) -> Message:
        if content:
            raise _refuse(f'{prefix}{target}', len(content), '0')
        return message_type(target=target, **header)

    return unpack


_QUERY_UNPACKERS = {
    'GET_': _bodiless('GET_', GetMessage),
    'STT_': _unpack_start,
    'STP_': _bodiless('STP_', StopMessage),
    'RTS_': _unpack_ready,
}


def _for_target(unpack: Callable[..., Message], target: str) -> Callable[[bytes, Header], Message]:
    return lambda content, header: unpack(target, content, header)


def query_type(prefix: str, target: str) -> str:
    """The type name of a query, cut to 12 characters as all libraries cut it: GET_TRANSFOR."""
    return f'{prefix}{target}'[:TYPE_BYTES]


PACKERS: dict[type[Message], tuple[str, Callable[[Any], bytes]]] = {
    Transform: ('TRANSFORM', _pack_transform),
    Position: ('POSITION', _pack_position),
    TData: ('TDATA', _pack_tdata),
    QTData: ('QTDATA', _pack_qtdata),
    Status: ('STATUS', _pack_status),
    String: ('STRING', _pack_string),
    Point: ('POINT', _pack_point),
    Capability: ('CAPABIL', _pack_capability),
    GetMessage: ('GET_', lambda message: b''),
    StartMessage: ('STT_', _pack_start),
    StopMessage: ('STP_', lambda message: b''),
    ReadyMessage: ('RTS_', lambda message: _pack_floats(struct.Struct('>B'), message.status)),
}

UNPACKERS: dict[bytes, Callable[[bytes, Header], Message]] = {
    b'TRANSFORM': _unpack_transform,
    b'POSITION': _unpack_position,
    b'TDATA': _unpack_tdata,
    b'QTDATA': _unpack_qtdata,
    b'STATUS': _unpack_status,
    b'STRING': _unpack_string,
    b'POINT': _unpack_point,
    b'CAPABIL': _unpack_capability,
} | {
    query_type(prefix, target).encode(): _for_target(unpack, target)
    for prefix, unpack in _QUERY_UNPACKERS.items()
    for target in DATA_TYPES
}
