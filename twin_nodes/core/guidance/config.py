"""Settings of the guidance."""

import math
from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.guidance.time_to_contact import AlarmConfig


@dataclass(frozen=True)
class ToolShapeConfig:
    """The part of the tool that may touch: a ball at the tip and a straight round shaft behind it."""

    tip_radius: float = setting('Radius of the burr or ball at the tip.', 0.0, unit='m', minimum=0.0, maximum=0.05)
    shaft_length: float = setting(
        'Length of the shaft behind the tip that is watched; 0 watches the tip alone.',
        0.0,
        unit='m',
        minimum=0.0,
        maximum=1.0,
    )
    shaft_radius: float = setting('Radius of the shaft.', 0.0, unit='m', minimum=0.0, maximum=0.05)
    shaft_direction: tuple[float, ...] = setting(
        'Unit vector in the tip frame that points from the tip along the shaft; must be given with a shaft.',
        (0.0, 0.0, 0.0),
        minimum=-1.0,
        maximum=1.0,
    )
    shaft_samples: int = setting(
        'Points along the shaft that are always looked at; more are added where the minimum can lie between two.',
        16,
        minimum=1,
        maximum=1000,
    )

    def __post_init__(self) -> None:
        if len(self.shaft_direction) != 3:
            raise ConfigError(f'shaft_direction={list(self.shaft_direction)} must have 3 numbers')
        norm = math.sqrt(sum(value * value for value in self.shaft_direction))
        if self.shaft_length > 0.0 and abs(norm - 1.0) > 1e-3:
            raise ConfigError(
                f'shaft_direction={list(self.shaft_direction)} has norm {norm:.4g}; with shaft_length='
                f'{self.shaft_length} m it must be a unit vector in the tip frame'
            )


@dataclass(frozen=True)
class ZoneConfig:
    """Limits of the zones clear, near and inside, with hysteresis on the way out."""

    near_distance: float = setting(
        'Below this distance a structure is near.', 0.005, unit='m', minimum=0.0, maximum=0.1
    )
    near_hysteresis: float = setting(
        'A structure stops being near only this much above near_distance.', 0.001, unit='m', minimum=0.0, maximum=0.1
    )
    inside_hysteresis: float = setting(
        'The tool stops being inside only this far outside the surface.', 0.0005, unit='m', minimum=0.0, maximum=0.05
    )
    dwell: float = setting(
        'How long the distance must stay above the leaving limit; entering never waits.',
        0.2,
        unit='s',
        minimum=0.0,
        maximum=10.0,
    )

    def __post_init__(self) -> None:
        if self.inside_hysteresis > self.near_distance + self.near_hysteresis:
            raise ConfigError(
                f'inside_hysteresis={self.inside_hysteresis} m must not exceed near_distance + near_hysteresis='
                f'{self.near_distance + self.near_hysteresis} m'
            )


@dataclass(frozen=True)
class GuidanceConfig:
    """Settings of distances, zones and alarms, each a group."""

    tool: ToolShapeConfig = group(ToolShapeConfig)
    zones: ZoneConfig = group(ZoneConfig)
    alarms: AlarmConfig = group(AlarmConfig)
