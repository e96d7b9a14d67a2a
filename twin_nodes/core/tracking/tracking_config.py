"""Settings of the way of a sample, from the source to the filtered pose."""

from collections import Counter
from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.tracking.clock import ClockConfig
from twin_nodes.core.tracking.filter import PoseFilterConfig
from twin_nodes.core.tracking.gate import GateConfig
from twin_nodes.core.tracking.rate import RateConfig


@dataclass(frozen=True)
class TrackingConfig:
    """Settings of the way of a sample."""

    tools: tuple[str, ...] = setting('Names of the tools in ROS; each is a topic prefix and a frame.')
    device_names: tuple[str, ...] = setting(
        'What the source calls them, in the same order; empty for the same names.', ()
    )
    lost_after: float = setting(
        'For sources that send each tool on its own: silence of a tool, in time of the others, that means lost.',
        0.1,
        unit='s',
        minimum=0.001,
        maximum=10.0,
    )
    jump: float = setting('Time going back further than this clears all state.', 1.0, unit='s', minimum=0.01)
    filter: PoseFilterConfig = group(PoseFilterConfig)
    clock: ClockConfig = group(ClockConfig)
    gate: GateConfig = group(GateConfig)
    rate: RateConfig = group(RateConfig)

    def __post_init__(self) -> None:
        if not self.tools:
            raise ConfigError('tools is empty: name at least one tool')
        if self.device_names and len(self.device_names) != len(self.tools):
            raise ConfigError(
                f'device_names has {len(self.device_names)} entries, tools has {len(self.tools)}: '
                'they must pair up, or leave device_names empty'
            )
        for key, names in (('tools', self.tools), ('device_names', self.device_names)):
            twice = sorted(name for name, times in Counter(names).items() if times > 1)
            if twice or '' in names:
                raise ConfigError(f'{key}={list(names)}: ' + (f'{twice[0]!r} twice' if twice else 'an empty name'))
