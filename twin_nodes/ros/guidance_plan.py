"""`guidance/depth`: how deep the burr may still go to a planned surface, and what has been cut beyond it."""

from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import PointCloud2

from twin_nodes.core.config import group, setting
from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.clearance import Field
from twin_nodes.core.guidance.depth_guard import DepthAdvice, DepthBand, DepthConfig, DepthGuard, overcut_volume
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.carved_structures import CarvedStructures
from twin_nodes.ros.clouds import cloud_from_array
from twin_nodes.ros.conversions import ns_to_stamp
from twin_nodes.ros.health import ERROR, OK, WARN
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import measurement

DEPTH = 'guidance/depth'
DEPTH_DTYPE = np.dtype(
    [(name, np.float32) for name in ('x', 'y', 'z', 'depth', 'sigma', 'time_to_surface', 'overcut_mm3', 'ahead')]
    + [('band', np.uint8)]
)
BANDS = (DepthBand.FREE, DepthBand.CLOSE, DepthBand.LAST, DepthBand.BEYOND)  # in the order of the field 'band'
_STATES = {
    DepthBand.FREE: (OK, 'OK', 'far from the planned surface'),
    DepthBand.CLOSE: (WARN, 'PLAN_CLOSE', 'near the planned surface'),
    DepthBand.LAST: (WARN, 'PLAN_CLOSE', 'at the planned surface'),
    DepthBand.BEYOND: (ERROR, 'PLAN_PASSED', 'beyond the planned surface'),
}
_NEVER = -1.0
_OVERCUT_NS = NANOSECONDS  # of stamps, between two looks at what was cut


@dataclass(frozen=True)
class PlanConfig:
    """A planned surface: what lies outside of it is to be removed, what lies inside must stay."""

    structure: str = setting(
        'Structure of anatomy/surface that is the planned surface; it is not guarded itself. Empty for none.', ''
    )
    depth: DepthConfig = group(DepthConfig)


class GuidancePlan:
    """Holds the burr against the planned surface.

    Args:
        node: The node that it is part of.
        config: Settings.
        frame: Frame of the anatomy.
        radius: Of the burr [m].
        carved: Knows what is gone.
        events: Where changes of the band are told.
    """

    def __init__(
        self, node: Node, config: PlanConfig, frame: str, radius: float, carved: CarvedStructures, events: Publisher
    ) -> None:
        self._config, self._frame, self._radius, self._carved = config, frame, radius, carved
        self._events = events
        self._guard: DepthGuard | None = None
        self._publisher = node.create_publisher(PointCloud2, DEPTH, measurement(replay=is_replay(node)))
        self.reset()

    def reset(self) -> None:
        """Begin anew, after a jump of the clock."""
        self._band: DepthBand | None = None
        self._looked_ns, self._counted, self._overcut = -_OVERCUT_NS, -1, 0.0

    def set_plan(self, planned: Field) -> None:
        """Take the planned surface."""
        self._guard = DepthGuard(self._config.depth, planned)
        self.reset()

    def update(self, advice: Advice) -> None:
        """Publish what is left at the predicted pose, and whether the band has changed."""
        if self._guard is None:
            return
        centre = advice.predicted[:3, 3]
        found = self._guard.advise(centre, self._radius, advice.velocity[:3], advice.covariance[:3, :3])
        self._look_at_cut(advice.stamp_ns, self._guard)
        row = np.zeros(1, DEPTH_DTYPE)
        row['x'], row['y'], row['z'] = centre
        row['depth'], row['sigma'], row['ahead'] = found.depth, found.sigma, advice.ahead
        row['time_to_surface'] = _NEVER if found.time_to_surface is None else found.time_to_surface
        row['overcut_mm3'], row['band'] = 1e9 * self._overcut, BANDS.index(found.band)
        self._publisher.publish(cloud_from_array(advice.stamp_ns, self._frame, row))
        if found.band is not self._band:
            self._band = found.band
            self._events.publish(self._event(advice.stamp_ns, found))

    def _look_at_cut(self, stamp_ns: int, guard: DepthGuard) -> None:
        """Count what was cut beyond the plan, when more is gone, at most once a second of stamps."""
        if self._looked_ns <= stamp_ns < self._looked_ns + _OVERCUT_NS or self._carved.gone == self._counted:
            return
        self._looked_ns, self._counted = stamp_ns, self._carved.gone
        voxels, anatomy_T_index = self._carved.cut()
        self._overcut = overcut_volume(voxels, anatomy_T_index, guard.planned)

    def _event(self, stamp_ns: int, found: DepthAdvice) -> DiagnosticArray:
        level, code, text = _STATES[found.band]
        status = DiagnosticStatus(
            name='guidance: plan', level=level, message=f'{text}: {1e3 * found.depth:.1f} mm left'
        )
        values = {'code': code, 'band': found.band.value, 'depth_mm': f'{1e3 * found.depth:.3f}',
                  'sigma_mm': f'{1e3 * found.sigma:.3f}', 'overcut_mm3': f'{1e9 * self._overcut:.2f}'}  # fmt: skip
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), self._frame
        return message
