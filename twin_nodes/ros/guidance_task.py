"""`guidance/task`: the step that a pick-and-place task is in, from tip, jaws, and the places of objects and targets."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from sensor_msgs.msg import JointState

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.anatomy_changes import AnatomyChanges
from twin_nodes.core.guidance.task_state import TaskConfig, TaskEstimate, TaskRecogniser, TaskView, nearest_distance
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.conversions import check_header, ns_to_stamp, places_from
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import measurement, measurement_subscription

TASK = 'guidance/task'
PLACES = ('task/objects', 'task/targets')
_EVERY_NS = NANOSECONDS // 10


@dataclass(frozen=True)
class TaskGuideConfig:
    """Whether the step of a task is followed."""

    enabled: bool = setting('Tell the step of the task, and weigh route and cones by it.', False)
    recogniser: TaskConfig = group(TaskConfig)


class GuidanceTask:
    """Follows one tool through its task.

    Args:
        node: The node that it is part of.
        health: Its health.
        config: Settings.
        tool: The tool; its jaw is `<tool>/jaw/measured_js`.
        frame: Frame of the anatomy, in which objects and targets are.
        changes: Counts what comes from its stamp on.
    """

    def __init__(
        self, node: Node, health: Health, config: TaskGuideConfig, tool: str, frame: str, changes: AnatomyChanges
    ) -> None:
        self._health, self._config, self._frame, self._changes = health, config.recogniser, frame, changes
        self._recogniser = TaskRecogniser(config.recogniser)
        self._jaw = math.inf
        self._places = {topic: np.empty((0, 3)) for topic in PLACES}
        self._told_ns = 0
        replay = is_replay(node)
        self._publisher = node.create_publisher(DiagnosticArray, TASK, measurement(replay=replay))
        qos = measurement_subscription(replay=replay)
        node.create_subscription(JointState, f'{tool}/jaw/measured_js', self._on_jaw, qos)
        for topic in PLACES:
            node.create_subscription(PoseArray, topic, partial(self._on_places, topic), qos)

    def reset(self) -> None:
        """Begin with a reach, after a jump of the clock."""
        self._recogniser.reset()
        self._jaw, self._told_ns = math.inf, 0
        self._places = {topic: np.empty((0, 3)) for topic in PLACES}

    def _on_jaw(self, message: JointState) -> None:
        try:
            stamp_ns = check_header(message.header, frame=None, name='jaw')
            if len(message.position) != 1 or not math.isfinite(message.position[0]):
                raise InputError(f'jaw: position {list(message.position)} is not one angle', code='NOT_FINITE')
        except InputError as error:
            self._health.warn(error.code or 'PROTOCOL', str(error))
            return
        angle = float(message.position[0])

        def take() -> None:
            self._jaw = angle

        self._changes.add('jaw', stamp_ns, take)

    def _on_places(self, topic: str, message: PoseArray) -> None:
        try:
            stamp_ns, places = places_from(message, frame=self._frame, name=topic)
        except InputError as error:
            self._health.warn(error.code or 'PROTOCOL', str(error))
            return

        def take() -> None:
            self._places[topic] = places

        self._changes.add(topic, stamp_ns, take)

    def update(self, advice: Advice, path_distance: float) -> TaskEstimate | None:
        """Take in the measured tip and its distance to the chosen route [m]; publish the step at 10 Hz and when new.

        Returns:
            The step; None for a stamp that does not follow the last.
        """
        tip = advice.tip.start_T_end[:3, 3]
        objects, targets = (nearest_distance(tip, self._places[topic]) for topic in PLACES)
        closed = self._jaw < self._config.jaw_closed
        view = TaskView(objects, self._jaw, closed and objects < self._config.near_object, targets, path_distance)
        try:
            found = self._recogniser.update(advice.stamp_ns, view)
        except InputError as error:
            self._health.count(error.code or 'STAMP_BACKWARD')
            return None
        if found.changed or not 0 <= advice.stamp_ns - self._told_ns < _EVERY_NS:
            self._told_ns = advice.stamp_ns
            self._publisher.publish(self._message(advice.stamp_ns, found))
        return found

    def _message(self, stamp_ns: int, found: TaskEstimate) -> DiagnosticArray:
        status = DiagnosticStatus(name='guidance: task', level=OK, message=found.state.value)
        values = {'code': 'OK', 'state': found.state.value, 'confidence': f'{found.confidence:.3f}'}
        values |= {f'p_{state.value}': f'{share:.3f}' for state, share in found.probabilities.items()}
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), self._frame
        return message
