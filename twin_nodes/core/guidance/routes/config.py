"""Settings of the planning of routes."""

from dataclasses import dataclass

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError


@dataclass(frozen=True)
class RouteConfig:
    """The tool, what counts as safe, and how routes are ranked."""

    tool_radius: float = setting('Radius of the tool.', 0.001, unit='m', minimum=0.0, maximum=0.05)
    bend_radius: float = setting(
        'Radius of the circle along which a bent tool runs; 0 for a straight tool.', 0.0, unit='m', minimum=0.0,
        maximum=10.0,
    )  # fmt: skip
    bend_turns: int = setting('Directions about the chord into which a bent tool is tried.', 12, minimum=1, maximum=72)
    max_length: float = setting('Longest way in that the tool or the robot reaches.', 0.25, unit='m', minimum=0.001,
                                maximum=1.0)  # fmt: skip
    max_tilt: float = setting(
        'Largest angle between the way in and the axis of approach.', 1.0, unit='rad', minimum=0.01, maximum=1.5708
    )
    fine: float = setting('Distance between the entry points that are told apart.', 0.001, unit='m', minimum=1e-4,
                          maximum=0.05)  # fmt: skip
    coarse: float = setting('Size of the groups in which entry points are looked at first.', 0.006, unit='m',
                            minimum=2e-4, maximum=0.1)  # fmt: skip
    sigmas: float = setting(
        'Standard deviations of the distance that are taken off the clearance for the ranking.', 2.0, minimum=0.0,
        maximum=6.0,
    )  # fmt: skip
    length_cost: float = setting('Clearance that a metre of length is worth.', 0.005, unit='m', minimum=0.0,
                                 maximum=1.0)  # fmt: skip
    tissue_cost: float = setting('Clearance that a metre through a costly tissue is worth.', 0.02, unit='m',
                                 minimum=0.0, maximum=1.0)  # fmt: skip
    max_breach: float = setting('Probability of a breach above which a route is not offered.', 0.05, minimum=1e-6,
                                maximum=0.5)  # fmt: skip
    routes: int = setting('Routes that are offered.', 3, minimum=1, maximum=20)
    separation: float = setting('Least distance between the entries of two offered routes.', 0.008, unit='m',
                                minimum=0.0, maximum=0.2)  # fmt: skip
    leave_distance: float = setting('A tool farther than this from its route has left it.', 0.004, unit='m',
                                    minimum=1e-4, maximum=0.1)  # fmt: skip
    return_distance: float = setting('A tool that left is back on its route below this distance.', 0.003, unit='m',
                                     minimum=1e-4, maximum=0.1)  # fmt: skip

    def __post_init__(self) -> None:
        if self.coarse < self.fine:
            raise ConfigError(f'coarse={self.coarse} m must be at least fine={self.fine} m')
        if self.return_distance > self.leave_distance:
            raise ConfigError(
                f'return_distance={self.return_distance} m must not be above leave_distance={self.leave_distance} m'
            )
