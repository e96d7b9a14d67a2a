"""What a simulated transfer is run with, and what comes of it."""

import math
from dataclasses import dataclass, field

from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig
from twin_nodes.core.telesurgery.operator.config import OperatorConfig, TaskConfig
from twin_nodes.core.telesurgery.operator.direct import Transfer
from twin_nodes.core.telesurgery.passivity import FixtureConfig

MODES = ('direct', 'bridge', 'prediction', 'twin')


@dataclass(frozen=True)
class TrialConfig:
    """Everything of a trial but its link and its seed."""

    operator: OperatorConfig = field(default_factory=OperatorConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    leader: LeaderConfig = field(default_factory=LeaderConfig)
    follower: FollowerConfig = field(default_factory=FollowerConfig)
    fixture: FixtureConfig = field(default_factory=FixtureConfig)
    registration: float = 3e-4  # error of the twin's anatomy per axis [m]
    assisted: bool = False  # whether the robot completes in outages what it carries


@dataclass(frozen=True)
class TrialResult:
    """How a trial went.

    Args:
        transfer: The task.
        path_rms: Distance of the robot from the path of the commands, time left out [m].
        path_max: The largest [m].
        reconnect_step: Largest step of the set point in one tick in the first second after a reconnection [m].
        reconnect_speed: Largest speed then [m/s].
        reconnections: How often.
        hold_seconds: Times from the last valid command to standstill (below 0.5 mm/s) of each outage [s].
        lowest_energy: Lowest energy that the passivity observer saw [J].
        modes: Share of time in each mode.
        lag: Mean lag of the robot behind the hand [s].
        completed: How often the robot completed by itself what it carried.
        hold_longest: Longest that the robot moved after a valid command without another, in any mode [s].
        felt: Steps in which a fixture was felt or the passivity controller worked.
        forged_refused: Datagrams of an attacker, or damaged by him, that were refused.
        forged_applied: Those that were not.
    """

    transfer: Transfer
    path_rms: float = math.nan
    path_max: float = math.nan
    reconnect_step: float = 0.0
    reconnect_speed: float = 0.0
    reconnections: int = 0
    hold_seconds: tuple[float, ...] = ()
    lowest_energy: float = 0.0
    modes: dict[str, float] = field(default_factory=dict)
    lag: float = 0.0
    completed: int = 0
    hold_longest: float = 0.0
    felt: int = 0
    forged_refused: int = 0
    forged_applied: int = 0

    @property
    def moved(self) -> bool:
        """Whether the robot followed commands at all, so that its path can be judged."""
        return not math.isnan(self.path_rms)
