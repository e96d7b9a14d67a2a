"""What haptics_node says: the wrench, the tissue about the jaws, and what both rest on."""

import numpy as np
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Bool

from twin_nodes.core.anatomy.haptics import CODES, HapticAnswer, HapticSession, HapticState, Touched
from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.anatomy_clouds import nodes_from, touched_cloud
from twin_nodes.ros.conversions import stamp_to_ns, wrench_stamped
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import LATCHED, latched, measurement, measurement_subscription

_TEXT = {
    HapticState.FREE: 'the jaws are open',
    HapticState.REDUCED: 'by the reduced model',
    HapticState.ELSEWHERE: 'no patch was learned where the jaws closed',
    HapticState.OUTSIDE: 'beyond what was learned',
    HapticState.APART: 'the tissue lies elsewhere than the reduced model says',
}
_SAY_NS = NANOSECONDS // 2


class HapticsOutput:
    """Publishes answers; where the reduced model has none, the last frame of the full one, with its own stamp.

    Args:
        node: The node.
        health: Its health.
        session: Compared with the frames of the full model.
        tool: The tool.
        frame: Frame of the anatomy.
        cloud_rate: Tissue about the jaws in a second.
        max_age: A frame of the full model that is older stands in for nothing [s].
        alarm_force: Force that is too high [N].
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        session: HapticSession,
        *,
        tool: str,
        frame: str,
        cloud_rate: float,
        max_age: float,
        alarm_force: float,
    ) -> None:
        self._health, self._session, self._frame, self._alarm = health, session, frame, alarm_force
        self._cloud_ns, self._max_age_ns = round(NANOSECONDS / cloud_rate), round(max_age * NANOSECONDS)
        replay = is_replay(node)
        qos = measurement(replay=replay)
        self._wrench = node.create_publisher(WrenchStamped, f'haptics/{tool}/reaction', qos)
        self._touched = node.create_publisher(PointCloud2, f'haptics/{tool}/touched', qos)
        self._in_span = node.create_publisher(Bool, f'haptics/{tool}/in_span', LATCHED)
        full = measurement_subscription(replay=replay)
        node.create_subscription(WrenchStamped, f'anatomy/reaction/{tool}', self._on_full_wrench, full)
        node.create_subscription(PointCloud2, 'anatomy/nodes', self._on_nodes, latched(replay=replay))
        self._count_in_span = self._count = 0
        self.reset()

    def reset(self) -> None:
        """Forget the frames of the full model."""
        self._full_wrench: WrenchStamped | None = None
        self._full: Touched | None = None
        self._full_ns = self._cloud_due_ns = self._said_ns = self._sent_full_ns = 0
        self._state: HapticState | None = None

    def say(self, answer: HapticAnswer) -> None:
        """Publish an answer."""
        self._count += 1
        changed, self._state = answer.state is not self._state, answer.state
        if answer.is_full:
            self._send_full(answer.stamp_ns, again=changed)
        else:
            self._count_in_span += answer.state is HapticState.REDUCED
            frame = self._frame
            self._wrench.publish(wrench_stamped(answer.stamp_ns, frame, answer.force, answer.torque))
            if answer.touched is not None and answer.stamp_ns >= self._cloud_due_ns:
                self._cloud_due_ns = answer.stamp_ns + self._cloud_ns
                self._touched.publish(_cloud(answer.stamp_ns, frame, answer.touched, in_span=True))
        if changed:
            self._in_span.publish(Bool(data=not answer.is_full))
        if changed or answer.stamp_ns - self._said_ns >= _SAY_NS:
            self._said_ns = answer.stamp_ns
            self._say_health(answer)

    def _send_full(self, stamp_ns: int, *, again: bool) -> None:
        """Send the last frame of the full model, once, and again where a new fall-back begins."""
        full = self._full_wrench
        if full is None or stamp_ns - stamp_to_ns(full.header.stamp) > self._max_age_ns:
            self._health.count('REDUCED_NO_FRAME')
            return
        full_ns = stamp_to_ns(full.header.stamp)
        if not again and full_ns == self._sent_full_ns:
            return
        self._sent_full_ns = full_ns
        self._wrench.publish(full)
        if self._full is not None:
            self._touched.publish(_cloud(self._full_ns, self._frame, self._full, in_span=False))

    def _say_health(self, answer: HapticAnswer) -> None:
        force = float(np.linalg.norm(answer.force))
        values: dict[str, object] = {
            'state': answer.state.value,
            'patch': answer.patch,
            'outside': answer.outside,
            'apart_mm': 1e3 * self._session.apart,
            'newton': force,
            'answers': self._count,
            'answers_reduced': self._count_in_span,
        }
        text = _TEXT[answer.state]
        if answer.is_full:
            text += '; the last frame of the full model counts'
            has_frame = self._full_wrench is not None
            values['full_stamp_ns'] = stamp_to_ns(self._full_wrench.header.stamp) if self._full_wrench else 0
            text += '' if has_frame else ', but there is none: is anatomy_node deforming?'
        level = WARN if answer.is_full else OK
        self._health.set('haptics', level, CODES[answer.state], text, values)
        if force > self._alarm:
            self._health.set('force', WARN, 'FORCE_HIGH', f'{force:.1f} N on the tissue, limit {self._alarm:g} N')
        else:
            self._health.clear('force')

    def _on_full_wrench(self, message: WrenchStamped) -> None:
        parts = (message.wrench.force, message.wrench.torque)
        if message.header.frame_id != self._frame or not all(
            np.isfinite((part.x, part.y, part.z)).all() for part in parts
        ):
            self._health.warn('FRAME_MISMATCH', f'anatomy/reaction: not finite, or not in {self._frame}')
            return
        self._full_wrench = message

    def _on_nodes(self, message: PointCloud2) -> None:
        try:
            stamp_ns, nodes, positions, displacement = nodes_from(message)
            if message.header.frame_id != self._frame:
                raise InputError(f'anatomy/nodes: frame is {message.header.frame_id!r}', code='FRAME_MISMATCH')
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        self._session.compare(stamp_ns, nodes, positions)
        here = np.isin(nodes, self._session.region)
        if here.any():
            self._full_ns = stamp_ns
            self._full = Touched(nodes[here].astype(np.int64), positions[here], displacement[here])


def _cloud(stamp_ns: int, frame: str, touched: Touched, *, in_span: bool) -> PointCloud2:
    return touched_cloud(
        stamp_ns, frame, touched.nodes, touched.positions, touched.displacement, in_span=in_span
    )  # fmt: skip
