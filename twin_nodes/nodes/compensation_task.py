"""The follower's view of the task for `follower.assistance`: objects, targets, jaw, and who may allow a completion."""

import math
import time
from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.assistance import Step
from twin_nodes.core.telesurgery.command import Vector
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.task_scene import TaskScene
from twin_nodes.ros.conversions import places_from
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.qos import MEASUREMENT_SUBSCRIPTION

if TYPE_CHECKING:
    from twin_nodes.nodes.compensation_node import CompensationNodeConfig

_EVERY_NS = 20_000_000


class TaskFeed:
    """Tells the assistance what is held and where it belongs, while all of it is known and fresh.

    Args:
        node: The node.
        health: Its health.
        config: Its settings.
    """

    def __init__(self, node: Node, health: Health, config: 'CompensationNodeConfig') -> None:
        self._health, self._frame = health, config.base_frame
        self._age_ns = round(config.follower.assistance.scene_age * NANOSECONDS)
        self._scene = TaskScene(config.task)
        self._follower: Follower | None = None
        self._seen_ns = 0
        self._jaw, self._heard = math.inf, {'jaw': 0, 'task/objects': 0, 'task/targets': 0}
        self._places = {'task/objects': np.empty((0, 3)), 'task/targets': np.empty((0, 3))}
        self._said: tuple[Step, str] | None = None
        subscribe = node.create_subscription
        subscribe(JointState, f'{config.arm}/jaw/measured_js', self._on_jaw, MEASUREMENT_SUBSCRIPTION)
        subscribe(PoseArray, 'task/objects', self._on_objects, MEASUREMENT_SUBSCRIPTION)
        subscribe(PoseArray, 'task/targets', self._on_targets, MEASUREMENT_SUBSCRIPTION)
        self._service = node.create_service(SetBool, f'{config.arm}/compensation/allow_completion', self._on_allow)

    def look(self, follower: Follower, tip: Vector) -> None:
        """Bring the assistance of the follower up to date with the robot's tip [m]."""
        now_ns = time.monotonic_ns()
        self._follower = follower
        if now_ns - self._seen_ns >= _EVERY_NS:
            self._seen_ns = now_ns
            if now_ns - min(self._heard.values()) <= self._age_ns:  # else it grows old, and the assistance stops
                objects, targets = self._places['task/objects'], self._places['task/targets']
                scene = self._scene.look(now_ns, np.array(tip), self._jaw, objects, targets)
                follower.assistance.observe(now_ns, scene)
        self._say(follower)

    def _say(self, follower: Follower) -> None:
        assistance = follower.assistance
        if self._said == (assistance.step, assistance.reason):
            return
        self._said = (assistance.step, assistance.reason)
        level = WARN if assistance.running or assistance.step is Step.ABORTED else OK
        code = 'COMPLETION' if level == WARN else 'OK'
        text = assistance.step.value + (f': {assistance.reason}' if assistance.reason else '')
        self._health.set('completion', level, code, text, {'step': assistance.step.value, 'done': assistance.completed})

    def _on_allow(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Allow one completion, or take that back and stop."""
        if self._follower is None:
            response.message = 'the robot has not said where it stands'
        elif request.data:
            response.success = self._follower.assistance.arm()
            response.message = 'one completion is allowed'
        else:
            self._follower.assistance.disarm('a person at the robot stopped it')
            response.success, response.message = True, 'none is allowed'
        return response

    def _on_jaw(self, message: JointState) -> None:
        if len(message.position) != 1 or not math.isfinite(message.position[0]):
            self._health.warn('NOT_FINITE', f'jaw: position {list(message.position)} is not one angle')
            return
        self._jaw, self._heard['jaw'] = float(message.position[0]), time.monotonic_ns()

    def _on_objects(self, message: PoseArray) -> None:
        self._on_places('task/objects', message)

    def _on_targets(self, message: PoseArray) -> None:
        self._on_places('task/targets', message)

    def _on_places(self, topic: str, message: PoseArray) -> None:
        try:
            _, self._places[topic] = places_from(message, frame=self._frame, name=topic)
        except InputError as error:
            self._health.warn(error.code or 'PROTOCOL', str(error))
            return
        self._heard[topic] = time.monotonic_ns()
