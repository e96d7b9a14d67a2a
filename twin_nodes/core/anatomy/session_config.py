"""Settings of an anatomy that deforms live."""

from __future__ import annotations

import math
from dataclasses import dataclass

from twin_nodes.core.anatomy.elastic.live import LiveConfig
from twin_nodes.core.anatomy.learning_config import LearningConfig
from twin_nodes.core.anatomy.nonrigid.compliance import ComplianceConfig
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.pairing import PairingConfig


@dataclass(frozen=True)
class TissueConfig:
    """What the body is made of and what holds it."""

    young: float = setting(
        "Young's modulus of tissue that the case gives no material.", 3000.0, unit='Pa', minimum=1.0, maximum=1e11
    )
    poisson: float = setting("Poisson's ratio of the same.", 0.45, minimum=0.0, maximum=0.499)
    fixed: tuple[str, ...] = setting('Regions of the case that are held in place.', ())
    fixed_sigma: float = setting(
        'How well they are held, for the fit to what is seen.', 0.001, unit='m', minimum=1e-5, maximum=0.05
    )
    support: float = setting(
        'Stiffness of the soft surroundings, all together.', 20.0, unit='N/m', minimum=0.0, maximum=1e6
    )
    gravity: tuple[float, ...] = setting(
        'Gravity less that of the scan, in the axes of the anatomy; empty for none.', (), unit='m/s²', minimum=-30.0,
        maximum=30.0,
    )  # fmt: skip

    pressed: tuple[str, ...] = setting(
        'Regions of the case on which the pressure of `anatomy/pressure` acts; empty for all of the outside.', ()
    )
    crumb: float = setting(
        'A piece that a cut or the drill left hanging on the rest by no face, and that no fixed region holds, goes too '
        'when it is smaller than this share of the volume of the body; a greater one stays and is told.', 0.01,
        minimum=0.0, maximum=1.0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if len(self.gravity) not in (0, 3):
            raise ConfigError(f'gravity={list(self.gravity)} must have 3 numbers, or none')


@dataclass(frozen=True)
class GraspConfig:
    """How a tool holds tissue."""

    reach: float = setting(
        'A grasp farther from the surface holds nothing.', 0.008, unit='m', minimum=1e-4, maximum=0.05
    )
    radius: float = setting('Radius of the patch that a grasp holds.', 0.006, unit='m', minimum=1e-4, maximum=0.05)
    max_nodes: int = setting('Nodes that one grasp holds at most, the nearest.', 16, minimum=1, maximum=200)
    sigma: float = setting(
        'How well a grasped patch follows the tool, beside the error of its tip.', 0.001, unit='m', minimum=1e-5,
        maximum=0.02,
    )  # fmt: skip
    max_step: float = setting(
        'A tip that moved farther between two poses lets go.', 0.02, unit='m', minimum=1e-4, maximum=0.2
    )
    max_pull: float = setting(
        'Tissue pulled farther from where it lay has slipped out.', 0.08, unit='m', minimum=0.001, maximum=0.5
    )


@dataclass(frozen=True)
class ContactConfig:
    """How a tool pushes tissue that it does not hold; without friction."""

    radius: float = setting('Radius of tip and shaft.', 0.0025, unit='m', minimum=2e-4, maximum=0.05)
    shaft_length: float = setting('Length of the shaft that may touch.', 0.05, unit='m', minimum=0.0, maximum=0.5)
    shaft_direction: tuple[float, ...] = setting(
        'Unit vector in the tip frame from the tip up the shaft.', (0.0, 0.0, 1.0), minimum=-1.0, maximum=1.0
    )
    stiffness: float = setting(
        'Stiffness of a contact over that of the tissue: the tissue enters the tool by about one part in so many of '
        'its indentation.', 300.0, minimum=1.0, maximum=1e5,
    )  # fmt: skip
    max_step: float = setting(
        'A tip that moved farther between two frames goes past the tissue, not through it.', 0.02, unit='m',
        minimum=1e-4, maximum=0.2,
    )  # fmt: skip

    def __post_init__(self) -> None:
        norm = math.sqrt(sum(value * value for value in self.shaft_direction))
        if len(self.shaft_direction) != 3 or abs(norm - 1.0) > 1e-3:
            raise ConfigError(
                f'contact.shaft_direction={list(self.shaft_direction)} has norm {norm:.4g}: it must be a unit '
                'vector of 3 numbers'
            )


@dataclass(frozen=True)
class ObservedConfig:
    """Which clouds of surface points are believed."""

    sigma: float = setting(
        'Standard deviation of a coordinate of clouds without a field `sigma`.', 0.0015, unit='m', minimum=1e-5,
        maximum=0.02,
    )  # fmt: skip
    max_points: int = setting('Points that are used of a cloud, spread over it.', 1500, minimum=50, maximum=20_000)
    max_distance: float = setting(
        'Median distance to the organ as it is known, above which a cloud shows something else.', 0.03, unit='m',
        minimum=0.001, maximum=0.2,
    )  # fmt: skip
    max_amplitude: float = setting(
        'A cloud that fits only with that many times the expected deformation (compliance.amplitude) is refused.', 3.8,
        minimum=0.5, maximum=100.0,
    )  # fmt: skip
    max_displacement: float = setting(
        'A cloud that fits only with the organ displaced by more from where it is registered, RMS, is refused.', 0.018,
        unit='m', minimum=0.001, maximum=0.2,
    )  # fmt: skip
    mirror_ratio: float = setting(
        'A first cloud that mirrored fits better by this factor is refused as mirrored.', 0.6, minimum=0.0, maximum=1.0
    )
    drift: float = setting(
        'Unseen motion in a second: σ grows with the root of the time since the last cloud.', 0.001, unit='m/√s',
        minimum=0.0, maximum=0.1,
    )  # fmt: skip


@dataclass(frozen=True)
class AnatomySessionConfig:
    """An anatomy that deforms live."""

    tissue: TissueConfig = group(TissueConfig)
    grasp: GraspConfig = group(GraspConfig)
    contact: ContactConfig = group(ContactConfig)
    observed: ObservedConfig = group(ObservedConfig)
    solver: LiveConfig = group(LiveConfig)
    fit: NonrigidConfig = group(NonrigidConfig)
    compliance: ComplianceConfig = group(ComplianceConfig)


@dataclass(frozen=True)
class LiveDeformingConfig:
    """Settings of deforming in anatomy_node."""

    enabled: bool = setting('Whether the tetrahedra of the case deform live.', False)
    patient: str = setting('Reference body on the patient.', 'patient')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    tools: tuple[str, ...] = setting('Tools that may hold tissue.', ())
    pushers: tuple[str, ...] = setting(
        'Those of the tools whose tip and shaft push tissue that they do not hold (session.contact).', ()
    )
    grip: str = setting(
        'What says that jaws are closed: `<tool>/grasp` (std_msgs/Bool), or `<tool>/jaw/measured_js` '
        '(sensor_msgs/JointState, stamped; needed for replays that are alike to the bit).', 'switch',
        choices=('switch', 'jaw'),
    )  # fmt: skip
    jaw_closed: float = setting('Jaws at or below this angle are closed.', 0.1, unit='rad', minimum=-1.0, maximum=2.0)
    sensors: tuple[str, ...] = setting('Tracked implants and sensors in the tissue.', ())
    sensor_places: tuple[float, ...] = setting(
        'Where they are in the anatomy at rest: x, y, z of each.', (), unit='m', minimum=-10.0, maximum=10.0
    )
    target_structures: tuple[str, ...] = setting('Structures of the case whose centre is a target.', ())
    targets: tuple[str, ...] = setting('Names of further targets.', ())
    target_places: tuple[float, ...] = setting(
        'Where these are in the anatomy at rest: x, y, z of each.', (), unit='m', minimum=-10.0, maximum=10.0
    )
    rate: float = setting('Frames in a second.', 30.0, unit='1/s', minimum=0.5, maximum=200.0)
    budget: float = setting(
        'Time of the solver in a frame; the best answer so far counts when it is up. Not in replay.', 0.012, unit='s',
        minimum=0.001, maximum=1.0,
    )  # fmt: skip
    realtime: bool = setting(
        'Make a frame with SCHED_FIFO where the system allows it: other work does not delay it. Not in replay.', True
    )
    max_age: float = setting(
        'A tool or sensor that is unseen for longer holds nothing any more.', 0.5, unit='s', minimum=0.05, maximum=60.0
    )
    event_wait: float = setting(
        'In replay a sample of tools and sensors counts once they are this far past it: a cloud, a plane or the word '
        'of jaws that is heard by then counts from its own stamp on.', 0.2, unit='s', minimum=0.0, maximum=10.0,
    )  # fmt: skip
    surface_period: float = setting(
        'The deformed surface comes this often while it moves.', 0.1, unit='s', minimum=0.02, maximum=60.0
    )
    vertices_period: float = setting(
        'The vertices of the deforming structures, which the guidance measures to, come this often while they move.',
        0.1, unit='s', minimum=0.01, maximum=10.0,
    )  # fmt: skip
    vertices_motion: float = setting(
        'Vertices on a body whose nodes moved less are not sent again.', 0.00005, unit='m', minimum=0.0, maximum=0.01
    )
    surface_motion: float = setting(
        'A surface that moved less is not sent again.', 0.0003, unit='m', minimum=0.0, maximum=0.1
    )
    surface_triangles: int = setting(
        'Triangles of all deforming surfaces together; finer ones are decimated. 20 000 make 1.4 MB.', 20_000,
        minimum=100,
        maximum=1_000_000,
    )  # fmt: skip
    stiffness: str = setting(
        'File of learned stiffness (`twin calibrate stiffness`, `anatomy/write_stiffness`) that counts in place of the '
        'materials of the case; empty for none.', '',
    )  # fmt: skip
    learning: LearningConfig = group(LearningConfig)
    session: AnatomySessionConfig = group(AnatomySessionConfig)
    pairing: PairingConfig = group(PairingConfig)

    def __post_init__(self) -> None:
        for names, places, key in (
            (self.sensors, self.sensor_places, 'sensor_places'),
            (self.targets, self.target_places, 'target_places'),
        ):
            if len(places) != 3 * len(names):
                raise ConfigError(f'deforming.{key} has {len(places)} numbers for {len(names)} names: x, y, z of each')
        strange = sorted(set(self.pushers) - set(self.tools))
        if strange:
            raise ConfigError(
                f'deforming.pushers: {", ".join(strange)} is none of the tools {", ".join(self.tools) or "(none)"}'
            )
        deaf = sorted(set(self.learning.forces) - set(self.tools))
        if deaf:
            raise ConfigError(
                f'deforming.learning.forces: {", ".join(deaf)} is none of the tools {", ".join(self.tools) or "(none)"}'
            )
        named = (*self.tools, *self.sensors), (*self.target_structures, *self.targets)
        for names in named:
            double = sorted({name for name in names if names.count(name) > 1})
            if double:
                raise ConfigError(f'deforming: the name {double[0]!r} stands twice')
