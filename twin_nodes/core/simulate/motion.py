"""Smooth hand motion: minimum-jerk moves between waypoints (Flash and Hogan 1985)."""

from dataclasses import dataclass

from twin_nodes.core.geometry.se3 import Array


def minimum_jerk(progress: float) -> float:
    """Return the travelled fraction 10τ³ − 15τ⁴ + 6τ⁵, 0 before the start and 1 after the end."""
    tau = min(max(progress, 0.0), 1.0)
    return tau**3 * (10.0 - 15.0 * tau + 6.0 * tau**2)


@dataclass(frozen=True)
class Waypoint:
    """A point at which the hand rests.

    Args:
        arrive_s: When the hand comes to rest [s].
        leave_s: When it moves on [s].
        position: Shape (3,), metres.
    """

    arrive_s: float
    leave_s: float
    position: Array


def position_along(waypoints: list[Waypoint], time_s: float) -> Array:
    """Return the position (3,) [m] at a time, resting at waypoints and moving with minimum jerk between them."""
    previous = waypoints[0]
    for waypoint in waypoints:
        if time_s < waypoint.arrive_s:
            fraction = minimum_jerk((time_s - previous.leave_s) / (waypoint.arrive_s - previous.leave_s))
            return previous.position + fraction * (waypoint.position - previous.position)
        if time_s <= waypoint.leave_s:
            return waypoint.position
        previous = waypoint
    return previous.position
