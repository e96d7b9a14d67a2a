"""What the view shows at one instant, as plain values: what is drawn, what stands in the panel, and why not."""

from collections.abc import Mapping
from dataclasses import dataclass

from twin_nodes.app.view.records import (
    Event,
    Level,
    ModelShape,
    Moment,
    Regions,
    Route,
    StructureClearance,
    Surface,
)
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.zones import Zone


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


@dataclass(frozen=True, eq=False)
class ModelPicture:
    """A primitive where it is now; fixed_T_shape is None where its frame is not in tf, `live` whether that is new."""

    shape: ModelShape
    fixed_T_shape: Array | None
    live: bool


@dataclass(frozen=True, eq=False)
class TargetPicture:
    """A target in the fixed frame: place (3,), covariance (3, 3), and σ as the root of its trace [m]."""

    name: str
    place: Array
    covariance: Array
    sigma: float


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
class RegionsPicture:
    """What is forbidden, and by frame its pose in the fixed frame (4, 4), where that is known."""

    regions: Regions
    frames: Mapping[str, Array]


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
    regions: RegionsPicture


@dataclass(frozen=True)
class Overlays:
    """What is drawn besides tools and anatomy; whatever is old is left out."""

    targets: tuple[TargetPicture, ...] = ()
    routes: tuple[tuple[Route, Array], ...] = ()
    fixture: FixturePicture | None = None
    ghosts: tuple[GhostPicture, ...] = ()
    regions: RegionsPicture | None = None


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
