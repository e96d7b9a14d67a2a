"""Messages to draw from, and a comparison that looks into their arrays."""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from twin_nodes.io.openigtlink.bodies import DATA_TYPES
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


def names(width: int) -> st.SearchStrategy[str]:
    text = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=width)
    return text.filter(lambda name: len(name.encode()) <= width)


def floats32(limit: float = 1e6) -> st.SearchStrategy[float]:
    return st.floats(-limit, limit, width=32, allow_subnormal=False)


def metres() -> st.SearchStrategy[float]:
    """Lengths that are a float32 number of millimetres, so that the wire keeps them."""
    return floats32(2.0**20).map(lambda mm: mm / 1000.0)


def vectors(components: st.SearchStrategy[float], size: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(components, min_size=size, max_size=size).map(lambda values: np.array(values, float))


@st.composite
def poses(draw: st.DrawFn) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = draw(vectors(floats32(2.0), 9)).reshape(3, 3)
    pose[:3, 3] = draw(vectors(metres(), 3))
    return pose


@st.composite
def messages(draw: st.DrawFn) -> Message:
    version = draw(st.sampled_from((1, 2)))
    header = {
        'device': draw(names(20)),
        'stamp_ns': draw(st.integers(0, (1 << 32) * 10**9 - 1)),
        'version': version,
    }
    if version == 2:
        header['message_id'] = draw(st.integers(0, 2**32 - 1))
        header['metadata'] = draw(st.dictionaries(names(40), names(200), max_size=3))
    kinds = st.integers(0, 255)
    target = st.sampled_from(DATA_TYPES)
    position, quat = vectors(metres(), 3), vectors(floats32(2.0), 4)
    t_element = st.builds(TElement, names(20), kinds, poses())
    qt_element = st.builds(QTElement, names(20), kinds, position, quat)
    byte = st.integers(0, 255)
    point = st.builds(
        PointElement, names(64), names(32), st.tuples(byte, byte, byte, byte), position, metres(), names(20)
    )
    contents = {
        Transform: {'pose': poses()},
        Position: {'position': position, 'quat_xyzw': st.one_of(st.none(), quat)},
        TData: {'elements': st.lists(t_element, max_size=4).map(tuple)},
        QTData: {'elements': st.lists(qt_element, max_size=4).map(tuple)},
        Status: {
            'code': st.integers(0, 0xFFFF),
            'subcode': st.integers(-(2**63), 2**63 - 1),
            'error_name': names(20),
            'text': names(200),
        },
        String: {'text': st.text(st.characters(exclude_categories=['Cs']), max_size=200)},
        Point: {'points': st.lists(point, max_size=3).map(tuple)},
        Capability: {'types': st.lists(names(12), max_size=4).map(tuple)},
        GetMessage: {'target': target},
        StartMessage: {'target': target, 'resolution_ms': st.integers(0, 2**32 - 1), 'coordinate': names(32)},
        StopMessage: {'target': target},
        ReadyMessage: {'target': target, 'status': byte},
    }
    kind = draw(st.sampled_from(list(contents)))
    return kind(**header, **{name: draw(strategy) for name, strategy in contents[kind].items()})


def same(first: object, second: object) -> bool:
    """Whether two messages, elements or faults are equal field by field; NaN equals NaN."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second, equal_nan=True)
    if type(first) is not type(second):
        return False
    if isinstance(first, (tuple, list)):
        return len(first) == len(second) and all(map(same, first, second))
    if dataclasses.is_dataclass(first):
        return all(same(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(first))
    return first == second


def pose_at(x: float, y: float = 0.2, z: float = 0.3) -> np.ndarray:
    """A pose [m] rotated by 90° about z, so that rows and columns cannot be mistaken."""
    return np.array([[0.0, -1.0, 0.0, x], [1.0, 0.0, 0.0, y], [0.0, 0.0, 1.0, z], [0.0, 0.0, 0.0, 1.0]])
