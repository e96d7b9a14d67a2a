"""Settings of carving."""

import math
from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.pairing import PairingConfig

BALL, CYLINDER = 'ball', 'cylinder'


@dataclass(frozen=True)
class BurrConfig:
    """Shape of the burr."""

    shape: str = setting(
        'A ball about the tip, or a cylinder from the tip (centre of its front face) backwards along `axis`.',
        BALL,
        choices=(BALL, CYLINDER),
    )
    radius: float = setting('Radius.', 0.002, unit='m', minimum=1e-4, maximum=0.02)
    length: float = setting('Length of a cylinder.', 0.005, unit='m', minimum=1e-4, maximum=0.05)
    axis: tuple[float, ...] = setting(
        'Unit vector in the tip frame from the tip along the shaft, away from the bone.',
        (0.0, 0.0, 1.0),
        minimum=-1.0,
        maximum=1.0,
    )

    def __post_init__(self) -> None:
        norm = math.sqrt(sum(value * value for value in self.axis))
        if len(self.axis) != 3 or abs(norm - 1.0) > 1e-3:
            raise ConfigError(f'burr axis={list(self.axis)} has norm {norm:.4g}: it must be a unit vector of 3 numbers')


@dataclass(frozen=True)
class CarvingConfig:
    """Which poses carve."""

    burr: BurrConfig = group(BurrConfig)
    max_gap: float = setting(
        'Longest time between two poses of one path; after it a new path begins.',
        0.2,
        unit='s',
        minimum=0.001,
        maximum=2.0,
    )
    max_step: float = setting(
        'Farthest that the tip may have moved between two poses of one path.',
        0.01,
        unit='m',
        minimum=1e-4,
        maximum=0.1,
    )
    max_sigma: float = setting(
        'Poses with a greater standard deviation of the tip do not carve.', 0.002, unit='m', minimum=1e-5, maximum=0.05
    )
    depth_reach: float = setting(
        'How far in front of and around the burr structures are looked for.',
        0.01,
        unit='m',
        minimum=1e-3,
        maximum=0.05,
    )


@dataclass(frozen=True)
class LiveCarvingConfig:
    """Settings of carving in anatomy_node."""

    enabled: bool = setting('Whether a drill carves the structures.', False)
    tool: str = setting('The drill.', 'drill')
    patient: str = setting('Reference body on the patient.', 'patient')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    drill_switch: bool = setting(
        'Whether the drill cuts only while `<tool>/drilling` (std_msgs/Bool) says so; else it always cuts.', False
    )
    switch_stamped: bool = setting(
        '`<tool>/drilling` is a sensor_msgs/Joy, whose first button says so. It has a stamp, which a Bool lacks: a '
        'replay cuts with the same poses.', False,
    )  # fmt: skip
    switch_wait: float = setting(
        'How far poses must be past the stamp of a Joy before it counts, in replay.', 0.2, unit='s', minimum=0.0,
        maximum=10.0,
    )  # fmt: skip
    protected: tuple[str, ...] = setting('Structures whose cutting is an alarm.', ())
    voxel_size: float = setting(
        'Edge of the voxels that meshes are filled with; label volumes keep theirs.',
        0.0005,
        unit='m',
        minimum=5e-5,
        maximum=0.01,
    )
    tissue_sigma: float = setting(
        'Tissue that deforms is cut where it is predicted while σ of its place at the tip is not greater (root of the '
        'trace). Of an organ that nobody has seen since the scan it is several millimetres: raise this to cut it '
        'still. The drill itself has carver.max_sigma.', 0.002, unit='m', minimum=1e-5, maximum=0.05,
    )  # fmt: skip
    snapshot_period: float = setting(
        'A snapshot of all that is gone comes this often while it changes.', 2.0, unit='s', minimum=0.2, maximum=60.0
    )
    surface_period: float = setting(
        'The whole surface comes this often while it changes.', 2.0, unit='s', minimum=0.2, maximum=60.0
    )
    carver: CarvingConfig = group(CarvingConfig)
    pairing: PairingConfig = group(PairingConfig)
