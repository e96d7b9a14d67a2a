"""What the view is told, as plain values: no ROS, no viser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.zones import Zone


class Level(IntEnum):
    """Level of a diagnostic, as numbered in diagnostic_msgs."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Moment:
    """The two clocks at one instant.

    Args:
        ros_ns: The node's clock, simulated or not; stamps are compared with it.
        steady_ns: The monotonic clock; time-outs are counted on it.
    """

    ros_ns: int
    steady_ns: int


@dataclass(frozen=True)
class Surface:
    """One structure of the anatomy.

    Args:
        index: Number of the structure in `guidance/clearance`.
        name: Name of the structure.
        vertices_anatomy: Corners in the anatomy frame [m], shape (n, 3).
        faces: Corner numbers of each triangle, shape (m, 3).
        colour: Red, green, blue in [0, 1].
        opacity: In [0, 1].
    """

    index: int
    name: str
    vertices_anatomy: Array
    faces: Array
    colour: tuple[float, float, float]
    opacity: float


@dataclass(frozen=True)
class StructureClearance:
    """How far the guided tool is from one structure.

    Args:
        structure: Number of the structure.
        closest_anatomy: Closest point on the structure in the anatomy frame [m], shape (3,).
        distance: Signed distance [m], negative inside.
        sigma: Its standard deviation [m].
        probability: Probability of a breach, in [0, 1].
        time_to_contact: In seconds, -1 when there is none.
        zone: The zone that the guidance states.
        at_shaft: Whether the shaft, not the tip, is closest.
    """

    structure: int
    closest_anatomy: Array
    distance: float
    sigma: float
    probability: float
    time_to_contact: float
    zone: Zone
    at_shaft: bool


@dataclass(frozen=True)
class Clearance:
    """One message of the guidance: stamp of the tool's sample and one row per structure."""

    stamp_ns: int
    rows: tuple[StructureClearance, ...]


@dataclass(frozen=True)
class Check:
    """One diagnostic status.

    Args:
        node: Name of the node, before the colon.
        check: Name of the check, after it.
        level: How well it is.
        code: Stable code, '' when none was given.
        message: One line for a person.
        values: Further values, as written.
        stamp_ns: Stamp of the array that carried it.
        namespace: Namespace of the node, '' for the root.
    """

    node: str
    check: str
    level: Level
    code: str
    message: str
    values: dict[str, str] = field(default_factory=dict)
    stamp_ns: int = 0
    namespace: str = ''


@dataclass(frozen=True)
class Link:
    """A tie in the tree of frames with its covariance.

    Args:
        parent: Parent frame.
        child: Child frame.
        covariance: Order x y z rx ry rz, axes of the parent [m², rad²], shape (6, 6).
        stamp_ns: Time of the measurement; 0 for one that was known beforehand, from a file.
    """

    parent: str
    child: str
    covariance: Array
    stamp_ns: int


@dataclass(frozen=True)
class Event:
    """One entry of the time line, stamped on the ROS clock."""

    stamp_ns: int
    level: Level
    code: str
    text: str


@dataclass(frozen=True, eq=False)
class ModelShape:
    """One primitive of a model, fixed to a frame.

    Args:
        key: What names it, unique on the page.
        frame: Frame that it hangs on.
        kind: 'cylinder', 'sphere' or 'box'.
        size: Radius and length, radius, or x y z [m].
        frame_T_shape: Pose of its centre [m], shape (4, 4).
        colour: Red, green, blue in [0, 1].
    """

    key: str
    frame: str
    kind: str
    size: tuple[float, ...]
    frame_T_shape: Array
    colour: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Target:
    """A hidden target: its name, place [m], shape (3,), and covariance [m²], shape (3, 3), in a frame; its id."""

    name: str
    frame: str
    place: Array
    covariance: Array
    index: int = 0


@dataclass(frozen=True, eq=False)
class Region:
    """A plane, cone or depth stop that the tip must not cross: corners of its triangles in a frame [m], (3n, 3)."""

    name: str
    frame: str
    corners: Array


@dataclass(frozen=True, eq=False)
class Regions:
    """All that is forbidden to the tip.

    Args:
        shapes: Planes, cones and depth stops.
        margins: How far the region of a structure reaches beyond its surface [m], by the structure's number.
    """

    shapes: tuple[Region, ...] = ()
    margins: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Route:
    """A way to a target: points (n, 3) in a frame [m], what is said of it, and whether it was chosen."""

    frame: str
    points: Array
    text: str
    chosen: bool
