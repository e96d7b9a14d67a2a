"""What a route is, and what it keeps from each structure."""

from dataclasses import dataclass

from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class RouteClearance:
    """What a route keeps from one structure.

    Args:
        structure: Its name.
        clearance: Least distance between tool and structure [m].
        sigma: Standard deviation of that distance [m].
        breach_probability: Largest probability of a breach along the route.
        depth: How far along the route the least distance is [m].
    """

    structure: str
    clearance: float
    sigma: float
    breach_probability: float
    depth: float


@dataclass(frozen=True, eq=False)
class Route:
    """A way from an entry to a target in the anatomy frame.

    Args:
        entry: Where the tool goes in [m], shape (3,).
        target: Where its tip ends [m], shape (3,).
        points: The way as a polyline from entry to target [m], shape (33, 3), or (2, 3) when straight.
        length: Its length [m].
        clearances: One for each structure that is guarded, nearest first.
        tissues: Length through each costly tissue [m].
        margin: Least clearance less the standard deviations of the settings [m].
        cost: What the ranking went by [m]; less is better.
    """

    entry: Array
    target: Array
    points: Array
    length: float
    clearances: tuple[RouteClearance, ...]
    tissues: dict[str, float]
    margin: float
    cost: float
