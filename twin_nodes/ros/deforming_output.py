"""What a deforming anatomy says: `anatomy/nodes`, `anatomy/targets`, `anatomy/surface`, and how the solver fares."""

import numpy as np
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.session_body import Body
from twin_nodes.core.anatomy.session_config import LiveDeformingConfig
from twin_nodes.core.anatomy.session_frame import Frame
from twin_nodes.core.anatomy.session_remaining import Remaining
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.anatomy_clouds import MAX_BYTES, NODES_DTYPE, nodes_clouds, targets_cloud
from twin_nodes.ros.conversions import wrench_stamped
from twin_nodes.ros.deformed_surfaces import DeformedSurfaces
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.marker_bytes import marker_array_bytes
from twin_nodes.ros.moved_surface import MOVED
from twin_nodes.ros.moved_vertices import MovedVertices
from twin_nodes.ros.progress import ProgressOutput, is_replay
from twin_nodes.ros.qos import LATCHED, latched, measurement

_STATES = {
    'converged': (OK, 'OK', 'at rest'),
    'out_of_time': (WARN, 'DEFORM_LATE', 'time was up: the best answer so far'),
    'not_converged': (WARN, 'DEFORM_NOT_CONVERGED', 'not at rest yet: the best answer so far'),
    'failed': (ERROR, 'DEFORM_FAILED', 'the solver found no state: the last good one stands, nothing new is sent'),
}
_CALM = 10  # frames at rest after which a warning ends


class DeformingOutput:
    """Publishes frames.

    Args:
        node: The node.
        health: Its health.
        config: Settings.
        frame: Frame of the anatomy.
        body: What deforms.
        targets: Names of the targets.
        surfaces: The structures.
        markers: Their markers, in the same order.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        config: LiveDeformingConfig,
        frame: str,
        body: Body,
        targets: tuple[str, ...],
        surfaces: list[Surface],
        markers: list[Marker],
    ) -> None:
        self._health, self._config, self._frame, self._names = health, config, frame, targets
        self._replay = is_replay(node)
        self.surfaces = DeformedSurfaces(body.model.mesh, surfaces, markers, config.surface_triangles)
        chunks = -(-body.model.count * NODES_DTYPE.itemsize // (MAX_BYTES - NODES_DTYPE.itemsize))
        self._nodes = node.create_publisher(PointCloud2, 'anatomy/nodes', _several(chunks, replay=self._replay))
        self._targets = node.create_publisher(PointCloud2, 'anatomy/targets', latched(replay=self._replay))
        self._surface = node.create_publisher(MarkerArray, 'anatomy/surface', LATCHED)
        self._original = node.create_publisher(MarkerArray, 'anatomy/surface/original', LATCHED)
        self._original.publish(MarkerArray(markers=markers))
        self._vertices = MovedVertices(body.model.mesh, surfaces, markers)
        self._moved = node.create_publisher(
            PointCloud2, MOVED, _several(self._vertices.messages, replay=self._replay)
        )  # fmt: skip
        self._progress = ProgressOutput(node, MOVED)
        self._felt = dict.fromkeys(config.tools, False)
        self._reactions = {
            tool: node.create_publisher(WrenchStamped, f'anatomy/reaction/{tool}', measurement(replay=self._replay))
            for tool in config.tools
        }
        self._due_ns = self._vertices_due_ns = 0
        self._newest: Frame | None = None
        self._took_ms: list[float] = []
        self._state, self._calm = _STATES['converged'], _CALM
        self._model = body.model

    def first(self, frame: Frame) -> None:
        """Publish the state at rest, with stamp 0: known beforehand, from the case."""
        self._due_ns = self._vertices_due_ns = 0
        self._newest = None
        self._progress.reset()
        self._publish(frame)
        self._send_vertices(0, frame)
        self.surfaces.move(frame.solution.positions, deformed=False)
        self._surface.publish(marker_array_bytes(self.surfaces.shown))
        self._say(frame, None)

    def frame(self, frame: Frame, *, took_ms: float | None = None) -> None:
        """Publish a frame; of one that failed only that it did."""
        self._say(frame, took_ms)
        if frame.solution.status == 'failed':
            self._health.count('DEFORM_FAILED')
            self._progress.say(frame.stamp_ns)
            return
        if frame.solution.status == 'out_of_time':
            self._health.count('DEFORM_LATE')
        self._publish(frame)
        self._newest = frame
        if self._replay:
            self.due(frame.stamp_ns)
            self._progress.say(frame.stamp_ns)

    def end(self) -> None:
        """Say that no frame will come any more, as the streams of a replay have ended."""
        self._progress.end()

    def due(self, now_ns: int) -> None:
        """Send the surfaces when it is time and they have moved: by the stamps in replay, else the monotonic clock."""
        if self._newest is None:
            return
        positions = self._newest.solution.positions
        moved = self._vertices.moved(positions) > self._config.vertices_motion
        if now_ns >= self._vertices_due_ns and moved:
            self._vertices_due_ns = now_ns + round(self._config.vertices_period * NANOSECONDS)
            self._send_vertices(self._newest.stamp_ns, self._newest)
        if now_ns < self._due_ns:
            return
        if self.surfaces.moved(positions) > self._config.surface_motion:
            self._due_ns = now_ns + round(self._config.surface_period * NANOSECONDS)
            self.surfaces.move(positions)
            self._surface.publish(marker_array_bytes(self.surfaces.shown))

    def leave(self, left: Remaining) -> None:
        """Show what is left of the body from the next frame on."""
        self.surfaces.leave(left)

    def cut(self, left: Remaining, normal: Array, offset: float, positions: Array) -> None:
        """Show it, and say what of the structures lay beyond a plane n · x + d > 0, for nodes at positions (n, 3)."""
        self.leave(left)
        self._vertices.cut(left, normal, offset, positions)

    def heal(self) -> None:
        """Say no more that anything was cut off."""
        self._vertices.restore()

    def _send_vertices(self, stamp_ns: int, frame: Frame) -> None:
        for cloud in self._vertices.clouds(stamp_ns, self._frame, frame.solution.positions, frame.sigma):
            self._moved.publish(cloud)
        self._progress.result(stamp_ns)

    def _publish(self, frame: Frame) -> None:
        solution = frame.solution
        for cloud in nodes_clouds(
            frame.stamp_ns, self._frame, solution.positions, solution.displacement, frame.sigma
        ):  # fmt: skip
            self._nodes.publish(cloud)
        self._publish_reactions(frame)
        ids = np.flatnonzero(frame.left)
        self._targets.publish(
            targets_cloud(frame.stamp_ns, self._frame, frame.targets[ids], frame.covariances[ids], ids)
        )  # fmt: skip

    def _publish_reactions(self, frame: Frame) -> None:
        """Say what each tool feels that holds tissue, and once that it holds none any more."""
        for tool, publisher in self._reactions.items():
            pull, felt = frame.pulled.get(tool), self._felt[tool]
            self._felt[tool] = pull is not None
            force, torque = (pull.force, pull.torque) if pull is not None else (np.zeros(3), np.zeros(3))
            if pull is not None or felt:
                publisher.publish(wrench_stamped(frame.stamp_ns, self._frame, force, torque))

    def _say(self, frame: Frame, took_ms: float | None) -> None:
        solution = frame.solution
        self._calm = self._calm + 1 if solution.is_converged else 0
        if not solution.is_converged or self._calm >= _CALM:  # else the check would flicker at the rate of the frames
            self._state = _STATES[solution.status]
        level, code, text = self._state
        if solution.reason:
            text = f'{text}: {solution.reason}'
        values: dict[str, object] = {
            'status': solution.status,
            'residual': solution.residual,
            'iterations': solution.iterations,
            'volume_change_percent': 100.0 * solution.volume_change,
            'min_volume_ratio': solution.min_volume_ratio,
            'displacement_max_mm': 1e3 * float(np.linalg.norm(solution.displacement, axis=1).max()),
            'held_nodes': frame.held,
            'last_good_stamp_ns': self._newest.stamp_ns if self._newest is not None else 0,
        }
        if took_ms is not None:
            self._took_ms = [*self._took_ms[-99:], took_ms]
            values |= {'ms': took_ms, 'ms_median': float(np.median(self._took_ms)), 'ms_max': max(self._took_ms)}
        for tool, contact in frame.pushed.items():
            values |= {f'{tool}_contacts': contact.places, f'{tool}_newton': float(np.linalg.norm(contact.force))}
        if frame.loose.parts:
            values |= {'loose_pieces': frame.loose.parts, 'loose_cm3': 1e6 * frame.loose.volume}
        if frame.seen_ns:
            values['seen_before_s'] = (frame.stamp_ns - frame.seen_ns) / NANOSECONDS
        if self.surfaces.tolerance:
            values['surface_error_mm'] = 1e3 * self.surfaces.tolerance
        self._health.set('deforming', level, code, text, values)
        if self._names:
            sigmas = np.sqrt(np.trace(frame.covariances, axis1=1, axis2=2))
            told: dict[str, object] = {}
            for index, name in enumerate(self._names):
                told[f'{index}'] = name
                if frame.left[index]:
                    told[f'{name}_sigma_mm'] = 1e3 * float(sigmas[index])
            gone = [name for name, left in zip(self._names, frame.left, strict=True) if not left]
            text = f'{len(self._names)} targets, by id' + (f'; taken away: {", ".join(gone)}' if gone else '')
            self._health.set('targets', OK, 'OK', text, told)


def _several(chunks: int, *, replay: bool) -> QoSProfile:
    """Return the profile of a state that comes in so many messages."""
    one = latched(replay=replay)
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE,
        history=HistoryPolicy.KEEP_LAST,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        depth=one.depth * chunks,
    )
