"""`guidance/force/…`: the force that a measured profile has for the tip in its tissue, beside the one that is felt."""

from collections import deque
from dataclasses import dataclass
from functools import partial

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from rclpy.publisher import Publisher

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.anatomy_changes import AnatomyChanges
from twin_nodes.core.guidance.clearance import Field
from twin_nodes.core.guidance.force_monitor import TOO_HIGH, ForceMonitor, ForceReading, TipDepth
from twin_nodes.core.guidance.force_profile import ForceConfig, ForceProfile
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.conversions import check_header, ns_to_stamp
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import measurement, measurement_subscription

EXPECTED, RESIDUAL = 'guidance/force/expected', 'guidance/force/residual'
_WAITING = 256  # forces that wait for the pose after them
_REPORT_NS = NANOSECONDS // 2


@dataclass(frozen=True)
class ForceGuideConfig:
    """A measured force profile of one structure."""

    profile: str = setting('File of the measured profile (`twin calibrate force`); empty for none.', '')
    structure: str = setting('Guarded structure whose depth the profile is of; needed with a profile.', '')
    topic: str = setting('Measured force (WrenchStamped); empty for `<tool>/measured_cf`.', '')
    on_tissue: bool = setting('The topic tells the force of the tool on the tissue, not that of the tissue.', False)
    limits: ForceConfig = group(ForceConfig)

    def __post_init__(self) -> None:
        """Check that a profile has its structure."""
        if bool(self.profile) != bool(self.structure):
            raise ConfigError(
                f'force: profile={self.profile!r} and structure={self.structure!r} go together: give both'
            )


class GuidanceForce:
    """Holds the measured force of one tool against the profile.

    Args:
        node: The node that it is part of.
        health: Its health.
        config: Settings.
        profile: The measured table.
        tool: The tool.
        frame: Frame of the anatomy.
        radius: Of the tip [m].
        changes: Counts what comes from its stamp on.
        events: Where it is told that the force has left the profile, and that it is back.
    """

    def __init__(
        self, node: Node, health: Health, config: ForceGuideConfig, profile: ForceProfile, tool: str, frame: str,
        radius: float, changes: AnatomyChanges, events: Publisher,
    ) -> None:  # fmt: skip
        self._health, self._config, self._frame, self._radius = health, config, frame, radius
        self._tip_frame, self._changes, self._events = f'{tool}_tip', changes, events
        self._monitor = ForceMonitor(config.limits, profile)
        self._field: Field | None = None
        replay = is_replay(node)
        self._expected = node.create_publisher(WrenchStamped, EXPECTED, measurement(replay=replay))
        self._residual = node.create_publisher(WrenchStamped, RESIDUAL, measurement(replay=replay))
        self.topic = config.topic or f'{tool}/measured_cf'
        qos = measurement_subscription(replay=replay)
        node.create_subscription(WrenchStamped, self.topic, self._on_force, qos)
        self.reset()

    def reset(self) -> None:
        """Forget the stroke, after a jump of the clock."""
        self._monitor.reset()
        self._waiting: deque[tuple[int, Array, bool]] = deque(maxlen=_WAITING)
        self._told_ns = 0

    def watch(self, fields: dict[str, Field]) -> None:
        """Take the structures as they were: depths count from the surface that the strokes began at."""
        field = fields.get(self._config.structure)
        if field is None:
            text = f'{self._config.structure!r}, of which the force profile is, is not among the guarded structures'
            self._health.set('force', ERROR, 'ANATOMY_REFUSED', text)
        self._field = field.at_rest() if isinstance(field, MovingSurface) else field

    def _on_force(self, message: WrenchStamped) -> None:
        try:
            stamp_ns = check_header(message.header, frame=None, name=self.topic)
            frame = message.header.frame_id
            if frame not in (self._frame, self._tip_frame):
                raise InputError(
                    f'{self.topic} is in {frame!r}, not in {self._frame!r} or {self._tip_frame!r}',
                    code='FRAME_MISMATCH',
                )
            wrench = message.wrench.force
            force = np.array([wrench.x, wrench.y, wrench.z])
            if not np.isfinite(force).all():
                raise InputError(f'{self.topic}: force {force.tolist()} has NaN or Inf', code='NOT_FINITE')
        except InputError as error:
            self._health.warn(error.code or 'PROTOCOL', str(error))
            return
        sign = -1.0 if self._config.on_tissue else 1.0
        taken = stamp_ns, sign * force, frame == self._tip_frame
        self._changes.add(self.topic, stamp_ns, partial(self._waiting.append, taken))

    def update(self, advice: Advice) -> None:
        """Publish what is expected at the measured pose, and compare the forces that were measured up to it."""
        if self._field is None:
            return
        pose = advice.tip.start_T_end
        found = self._field.query(pose[None, :3, 3])
        normal = found.gradients[0]
        place = TipDepth(
            advice.stamp_ns, self._radius - float(found.distances[0]), -float(normal @ advice.velocity[:3]), normal,
            pose[:3, :3],
        )  # fmt: skip
        try:
            self._publish(self._expected, advice.stamp_ns, self._monitor.expect(place))
        except InputError:
            self.reset()  # the streams began again, as those of a bag in a loop
            return
        while self._waiting and self._waiting[0][0] <= advice.stamp_ns:
            self._compare(*self._waiting.popleft())

    def _compare(self, stamp_ns: int, force: Array, in_tip: bool) -> None:
        try:
            reading = self._monitor.compare(stamp_ns, force, in_tip=in_tip)
        except InputError as error:
            self._health.count(error.code or 'NO_TRANSFORM')
            return
        self._publish(self._residual, stamp_ns, (reading.measured - reading.expected) * reading.place.normal)
        for code in reading.changed:
            self._events.publish(self._event(reading, code))
        if reading.changed or not 0 <= stamp_ns - self._told_ns < _REPORT_NS:
            self._told_ns = stamp_ns
            self._report(reading)

    def _report(self, reading: ForceReading) -> None:
        code = TOO_HIGH if TOO_HIGH in reading.codes else next(iter(reading.codes), 'OK')
        level = {'OK': OK, TOO_HIGH: ERROR}.get(code, WARN)
        text = _text(reading) if reading.is_known else f'{_text(reading)}; deeper than the table'
        self._health.set('force', level, code, text, _values(reading))

    def _event(self, reading: ForceReading, code: str) -> DiagnosticArray:
        began = code in reading.codes
        level = OK if not began else ERROR if code == TOO_HIGH else WARN
        status = DiagnosticStatus(name='guidance: force', level=level, message=_text(reading))
        values = {'code': code if began else 'OK', 'of': code} | _values(reading)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp, message.header.frame_id = ns_to_stamp(reading.place.stamp_ns), self._frame
        return message

    def _publish(self, publisher: Publisher, stamp_ns: int, force: Array) -> None:
        message = WrenchStamped()
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), self._frame
        message.wrench.force.x, message.wrench.force.y, message.wrench.force.z = force.tolist()
        publisher.publish(message)


def _text(reading: ForceReading) -> str:
    return (
        f'{reading.measured:.2f} N at {1e3 * reading.place.depth:.1f} mm, {reading.expected:.2f} N expected '
        f'(± {reading.allowed:.2f}); {reading.phase.value}'
    )


def _values(reading: ForceReading) -> dict[str, object]:
    return {
        'phase': reading.phase.value,
        'measured_n': f'{reading.measured:.3f}',
        'expected_n': f'{reading.expected:.3f}',
        'allowed_n': f'{reading.allowed:.3f}',
        'depth_mm': f'{1e3 * reading.place.depth:.3f}',
        'speed_mm_s': f'{1e3 * reading.place.speed:.3f}',
    }
