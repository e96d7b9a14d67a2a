"""The demo of the robot: two simulated arms move pegs, the twin mirrors them, and truth judges every figure."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from std_msgs.msg import Float64, Header

from twin_nodes.app.demo_end import conclude
from twin_nodes.app.demo_session import DemoSession, new_folder, view_port
from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.observer import Observer
from twin_nodes.app.scenes import PEG_BASES, ROBOT, files_of
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.simulate.peg_transfer import Operator
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.urdf import rotation_from_rpy
from twin_nodes.ros.conversions import StampedPose, pose_from, stamp_to_ns
from twin_nodes.ros.qos import LATCHED, REPLAY_SUBSCRIPTION

ARMS = ('PSM1', 'PSM2')
RINGS = 6
END_S = 1.5  # after the last ring


class RobotObserver:
    """Listens, beside the observer of all demos, to the arms: what the twin says, and where the tips really are."""

    def __init__(self, node: Observer) -> None:
        self.twin: dict[str, list[StampedPose]] = defaultdict(list)
        self.delays: list[float] = []
        self.truth: dict[str, dict[int, Array]] = defaultdict(dict)
        self.deviations: list[float] = []
        self.start_ns: int | None = None
        self._node = node
        for arm in ARMS:
            node.create_subscription(
                PoseWithCovarianceStamped, f'{arm}/filtered_cp', self._on_twin(arm), REPLAY_SUBSCRIPTION
            )
            node.create_subscription(PoseStamped, f'{arm}/truth/measured_cp', self._on_truth(arm), REPLAY_SUBSCRIPTION)
            node.create_subscription(
                Float64, f'{arm}/rcm_deviation', lambda message: self.deviations.append(message.data),
                REPLAY_SUBSCRIPTION,
            )  # fmt: skip
        node.create_subscription(Header, 'task/start', self._on_start, LATCHED)

    def _on_twin(self, arm: str) -> Any:
        def on_pose(message: PoseWithCovarianceStamped) -> None:
            record = pose_from(message, frame=None)
            self.delays.append((self._node.get_clock().now().nanoseconds - record.stamp_ns) / NANOSECONDS)
            self.twin[arm].append(record)

        return on_pose

    def _on_truth(self, arm: str) -> Any:
        def on_pose(message: PoseStamped) -> None:
            record = pose_from(message, frame=None)
            self.truth[arm][record.stamp_ns] = record.pose

        return on_pose

    def _on_start(self, message: Header) -> None:
        self.start_ns = stamp_to_ns(message.stamp)

    def done(self, duration: float) -> bool:
        """Whether the script has been over for a while."""
        return self.start_ns is not None and self._elapsed() > duration + END_S

    def _elapsed(self) -> float:
        assert self.start_ns is not None
        return float(self._node.get_clock().now().nanoseconds - self.start_ns) / NANOSECONDS

    def until_s(self) -> float:
        """Return how long the script has run by the newest pose of the twin [s], 0 before it began."""
        newest = max((poses[-1].stamp_ns for poses in self.twin.values() if poses), default=0)
        return 0.0 if self.start_ns is None else max((newest - self.start_ns) / NANOSECONDS, 0.0)


def run_robot(
    *, headless: bool, seconds: float | None, json: bool, port: int, bag: bool, seed: int, out: Path | None
) -> int:
    """Run the peg transfer through the real nodes and print what was measured; returns 0 when every promise held."""
    port = 0 if headless else view_port(port)
    folder = new_folder(out, 'demo')
    arguments = {
        'view': str(not headless).lower(),
        'view_port': str(port or 8080),
        'seed': str(seed),
        'listeners': str(1 + int(bag)),  # robot_node, recorder
    }
    session = DemoSession(
        folder, 'robot.launch.xml', arguments, files_of(ROBOT), tools=(), tool=ARMS[0], bag=bag,
        view_url='' if headless else f'http://127.0.0.1:{port}', quiet=json,
    )  # fmt: skip
    duration = Operator(RINGS).duration
    with session:
        seen = RobotObserver(session.observer)
        # a live view stays until Ctrl-C; without one, or without a terminal, the end of the task is the end
        session.spin_until(lambda: (headless or seconds is not None) and seen.done(duration), seconds=seconds)
        failures = session.failures()
    return conclude(folder, failures, lambda: score_robot(seen, session.seen.latest), as_json=json)


def score_robot(seen: RobotObserver, latest: Any) -> list[Figure]:
    """Hold what was heard against the truth of the simulated arms.

    Args:
        seen: What was heard.
        latest: The newest diagnostic of each check.
    """
    heard = sum(len(poses) for poses in seen.twin.values())
    figures = [judge('poses_received', float(heard), '', at_least=1.0)]
    if not heard:
        return figures
    errors, sigmas = _errors(seen)
    if len(errors):
        figures += [
            judge('tip_error_p95_mm', float(np.percentile(errors, 95)) * 1e3, 'mm', at_most=1.0),
            judge('tip_error_max_mm', float(errors.max()) * 1e3, 'mm'),
            judge('tip_error_to_stated_sigma', float(np.sqrt(np.mean((errors / sigmas) ** 2))), '', at_most=2.0),
        ]
    delays = np.array(seen.delays)
    figures += [
        judge('joints_to_twin_p50_ms', float(np.median(delays)) * 1e3, 'ms', at_most=20.0),
        judge('joints_to_twin_p99_ms', float(np.percentile(delays, 99)) * 1e3, 'ms'),
        judge('twin_rate_hz', min(_rate(poses) for poses in seen.twin.values()), 'Hz', at_least=80.0),
    ]
    if seen.deviations:
        figures.append(judge('rcm_deviation_mm', max(seen.deviations) * 1e3, 'mm', at_most=0.1))
    until = seen.until_s()
    if until > 15.0:
        well = [latest.get(f'robot: self-check {arm}') for arm in ARMS]
        figures.append(judge('self_check_ok', float(all(s and s.code == 'OK' for s in well)), '', at_least=1.0))
    figures += _task(latest.get('simulated_robot: task'), until)
    return figures


def _errors(seen: RobotObserver) -> tuple[Array, Array]:
    """Return the distance of the twin's tip from the true one [m] and the stated σ, one for each common stamp."""
    errors, sigmas = [], []
    for index, arm in enumerate(ARMS):
        x, y, z, roll, pitch, yaw = PEG_BASES[6 * index : 6 * index + 6]
        base = make_transform(rotation_from_rpy(roll, pitch, yaw), [x, y, z])
        for pose in seen.twin[arm]:
            true = seen.truth[arm].get(pose.stamp_ns)
            if true is not None and pose.covariance is not None:
                errors.append(np.linalg.norm(pose.pose[:3, 3] - (base @ true)[:3, 3]))
                sigmas.append(np.sqrt(np.trace(pose.covariance[:3, :3])))
    return np.array(errors), np.array(sigmas)


def _rate(poses: list[StampedPose]) -> float:
    span = (poses[-1].stamp_ns - poses[0].stamp_ns) / NANOSECONDS if len(poses) > 1 else 0.0
    return (len(poses) - 1) / span if span > 0.0 else 0.0


def _task(said: Any, until: float) -> list[Figure]:
    """Hold the rings moved against those that the script has had the time for."""
    due = sum(end + 0.5 < until for end in Operator(RINGS).ends)
    if said is None or not due:
        return []
    moved, dropped = float(said.values['rings_transferred']), float(said.values['rings_dropped'])
    return [
        judge('rings_transferred', moved, '', at_least=float(due)),
        judge('rings_dropped', dropped, '', at_most=0.0),
    ]
