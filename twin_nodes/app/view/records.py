"""What the view is told and what it shows, as plain values: no ROS, no viser."""

from dataclasses import dataclass, field
from enum import IntEnum

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.zones import Zone as Zone


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
class ToolPicture:
    """One tool as it is shown.

    Args:
        name: Name of the tool.
        fixed_T_tool: Last known pose of the marker body, None when never seen.
        fixed_T_tip: Last known pose of the tip, None without calibration.
        live: Whether the pose is current; otherwise it is drawn grey.
        reason: Why it is not live, or why the tip is missing; '' when all is well.
        sigma: 1-sigma of the position [m], None when not known.
        rate_hz: Poses per second, None when not known.
        age_s: Age of the last pose [s], None when never seen.
    """

    name: str
    fixed_T_tool: Array | None
    fixed_T_tip: Array | None
    live: bool
    reason: str
    sigma: float | None
    rate_hz: float | None
    age_s: float | None


@dataclass(frozen=True)
class DistancePicture:
    """One structure's distance as it is shown.

    Args:
        index: Number of the structure.
        name: Name of the structure.
        zone: Zone; WITHDRAWN when the guidance withdrew it, fell silent or never spoke.
        row: The clearance behind it, None when there is none to show.
        reason: Why there is none.
    """

    index: int
    name: str
    zone: Zone
    row: StructureClearance | None
    reason: str


@dataclass(frozen=True)
class SubsystemPicture:
    """One subsystem's state line.

    Args:
        name: Name of the subsystem.
        level: Its worst check.
        text: What that check says: the state, or the reason when it is not well.
        code: Its stable code, '' when none was given.
        rate_hz: Messages of its main output per second, None when it does not stream.
        age_s: Age of its newest output [s], None when there is none, or it is from a file.
        error: Its error in words, '' when it states none.
    """

    name: str
    level: Level
    text: str
    code: str
    rate_hz: float | None = None
    age_s: float | None = None
    error: str = ''


@dataclass(frozen=True)
class LinkPicture:
    """Error of one link: sigmas in metres and radians, age [s] of the tie; None for one from a file."""

    parent: str
    child: str
    sigma_position: float
    sigma_angle: float
    age_s: float | None


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
class ModelPicture:
    """A primitive where it is now; fixed_T_shape is None where its frame is not in tf, `live` whether that is new."""

    shape: ModelShape
    fixed_T_shape: Array | None
    live: bool


@dataclass(frozen=True, eq=False)
class Target:
    """A hidden target: its name, place [m], shape (3,), and covariance [m²], shape (3, 3), in a frame; its id."""

    name: str
    frame: str
    place: Array
    covariance: Array
    index: int = 0


@dataclass(frozen=True, eq=False)
class TargetPicture:
    """A target in the fixed frame: place (3,), covariance (3, 3), and σ as the root of its trace [m]."""

    name: str
    place: Array
    covariance: Array
    sigma: float


@dataclass(frozen=True, eq=False)
class Route:
    """A way to a target: points (n, 3) in a frame [m], what is said of it, and whether it was chosen."""

    frame: str
    points: Array
    text: str
    chosen: bool


@dataclass(frozen=True, eq=False)
class FixturePicture:
    """The force of the virtual fixture [N], shape (3,), at a point, shape (3,), both in the fixed frame."""

    point: Array
    force: Array


@dataclass(frozen=True, eq=False)
class GhostPicture:
    """Where a tool will be: its tip in the fixed frame, shape (4, 4), and how long after its newest pose [s]."""

    name: str
    fixed_T_tip: Array
    ahead_s: float


@dataclass(frozen=True, eq=False)
class SiteTool:
    """One arm at one site.

    Args:
        name: Name of the arm.
        fixed_T_tip: The robot of the twin, or the measured one where there is no twin, shape (4, 4).
        fixed_T_seen: The robot as it was last seen, where the other is a twin's.
        live: Whether the first is current.
        seen_live: Whether what is seen still comes.
        delay_s: Age of what is seen, by its stamp [s].
        gap: Between the two tips [m].
        mode: Mode of the compensation, '' when none was told.
        is_twin: Whether the first is that of the twin.
    """

    name: str
    fixed_T_tip: Array | None
    fixed_T_seen: Array | None
    live: bool
    seen_live: bool
    delay_s: float | None
    gap: float | None
    mode: str
    is_twin: bool


@dataclass(frozen=True, eq=False)
class SitePicture:
    """One site of telesurgery: where it stands on the page, its arms, its anatomy, and a line about the link."""

    name: str
    fixed_T_site: Array
    tools: tuple[SiteTool, ...]
    surfaces: tuple[Surface, ...]
    surfaces_version: int
    fixed_T_anatomy: Array | None
    link: str


@dataclass(frozen=True)
class Overlays:
    """What is drawn besides tools and anatomy; whatever is old is left out."""

    targets: tuple[TargetPicture, ...] = ()
    routes: tuple[tuple[Route, Array], ...] = ()
    fixture: FixturePicture | None = None
    ghosts: tuple[GhostPicture, ...] = ()


@dataclass(frozen=True)
class Picture:
    """Everything on the page at one instant; poses in the frame named `fixed_frame`."""

    moment: Moment
    fixed_frame: str
    frame_note: str
    fixed_T_tracker: Array | None
    fixed_T_patient: Array | None
    fixed_T_anatomy: Array | None
    tools: tuple[ToolPicture, ...]
    patient: ToolPicture
    surfaces: tuple[Surface, ...]
    surfaces_version: int
    distances: tuple[DistancePicture, ...]
    subsystems: tuple[SubsystemPicture, ...]
    links: tuple[LinkPicture, ...]
    events: tuple[Event, ...]
    trail_frame: str
    trail: Array
    trail_version: int
    dropped: int
    models: tuple[ModelPicture, ...] = ()
    overlays: Overlays = Overlays()
    sites: tuple[SitePicture, ...] = ()
