"""haptics_node: what a hand feels of the tissue in its jaws, at up to 1 kHz, from a reduced model of the organ."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from twin_nodes.core.anatomy.elastic.reduced_patch import body_hash
from twin_nodes.core.anatomy.haptics import HapticConfig, HapticSession
from twin_nodes.core.anatomy.session_body import make_model
from twin_nodes.core.anatomy.session_config import TissueConfig
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.pairing import PairingConfig, StampedCovariance
from twin_nodes.core.geometry.prompt_tip import PromptPose, PromptTip
from twin_nodes.core.geometry.ties import TieStream
from twin_nodes.core.geometry.tip_stream import NoTip, TipPose, TipStream
from twin_nodes.core.guidance.force_profile import ForceConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.case import read_case
from twin_nodes.io.reduced_models import patch_names, read_patch
from twin_nodes.ros.checked import checked_pose, checked_tie
from twin_nodes.ros.clock import live_clock
from twin_nodes.ros.conversions import check_header
from twin_nodes.ros.haptics_output import HapticsOutput
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import follow_progress, is_replay
from twin_nodes.ros.qos import latched, measurement_subscription
from twin_nodes.ros.run import run_node


@dataclass(frozen=True)
class HapticsNodeConfig:
    """Settings of haptics_node."""

    case: str = setting('Folder of a case for which `twin reduce` learned a model.')
    models: tuple[str, ...] = setting('Names of the models; all of the case when empty.', ())
    tool: str = setting('Tool that holds tissue.', 'grasper')
    patient: str = setting('Reference body on the patient.', 'patient')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    anatomy_frame: str = setting('Frame of the anatomy.', 'anatomy')
    grip: str = setting(
        'What says that jaws are closed: `<tool>/grasp` (std_msgs/Bool), or `<tool>/jaw/measured_js` '
        '(sensor_msgs/JointState).', 'switch', choices=('switch', 'jaw'),
    )  # fmt: skip
    jaw_closed: float = setting('Jaws at or below this angle are closed.', 0.1, unit='rad', minimum=-1.0, maximum=2.0)
    max_rate: float = setting(
        'Answers in a second at most; poses that come faster are passed over.', 1000.0, unit='1/s', minimum=1.0,
        maximum=5000.0,
    )  # fmt: skip
    cloud_rate: float = setting(
        'Of these, so many tell the tissue about the jaws too.', 60.0, unit='1/s', minimum=0.1, maximum=1000.0
    )
    max_age: float = setting(
        'A tool that is unseen for longer holds nothing, and a frame of the full model that is older stands in for '
        'nothing.', 0.5, unit='s', minimum=0.05, maximum=60.0,
    )  # fmt: skip
    patient_age: float = setting(
        'A pose of the patient that is older than that of the tool by more is not used. Not in replay.', 0.1,
        unit='s', minimum=0.001, maximum=10.0,
    )  # fmt: skip
    realtime: bool = setting('Run with SCHED_FIFO where the system allows it: other work does not delay it.', True)
    tissue: TissueConfig = group(TissueConfig)
    haptics: HapticConfig = group(HapticConfig)
    force: ForceConfig = group(ForceConfig)
    pairing: PairingConfig = group(PairingConfig)


def open_session(config: HapticsNodeConfig) -> HapticSession:
    """Return the session of the models of a case.

    Raises:
        ConfigError: no model, or one of another body.
    """
    try:
        case = read_case(config.case)
        names = config.models or patch_names(case.folder)
        if not names:
            raise InputError(
                f'{config.case} has no reduced model; learn one with `twin reduce`', code='REDUCED_REFUSED'
            )
        model, _, _ = make_model(case.tets, case.materials, case.regions, config.tissue)
        gravity = np.array(config.tissue.gravity, float) if config.tissue.gravity else np.zeros(3)
        body = body_hash(model, gravity)
        patches = {name: read_patch(Path(config.case), name, body).patch for name in names}
    except InputError as error:
        raise ConfigError(f'case: {error}', code=error.code) from error
    return HapticSession(patches, model.mesh.outer_nodes, config.haptics)


class HapticsNode(Node):
    """Publishes `haptics/<tool>/reaction` for each pose of a tool that holds tissue."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('haptics', **kwargs)
        self.config = config = declare_config(self, HapticsNodeConfig)
        self.health = Health(self)
        self.session = open_session(config)
        self._replay = is_replay(self)
        self._now_ns = live_clock(self)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._prompt = PromptTip(config.patient_age)
        self._ordered = TipStream(config.pairing, ordered=True)
        self._period_ns = round(0.9 * NANOSECONDS / config.max_rate)
        self._last_ns = self._heard_ns = 0
        self.output = HapticsOutput(
            self, self.health, self.session, tool=config.tool, frame=config.anatomy_frame,
            cloud_rate=config.cloud_rate, max_age=config.max_age, alarm_force=config.force.alarm_force,
        )  # fmt: skip
        self._subscribe()
        self._jump = on_jump_back(self, self._on_jump)
        self._timer = self.create_timer(0.5 * config.max_age, self._on_timer, clock=self._steady)

    def _subscribe(self) -> None:
        config, listen = self.config, self.create_subscription
        qos, state = measurement_subscription(replay=self._replay), latched(replay=self._replay)
        listen(PoseWithCovarianceStamped, 'registration', partial(self._on_tie, 'registration', config.patient), state)
        calibration = f'calibration/{config.tool}'
        listen(PoseWithCovarianceStamped, calibration, partial(self._on_tie, 'tip', config.tool), state)
        for name, topic in (('registration', 'registration'), ('tip', calibration)):
            follow_progress(self, topic, partial(self._on_progress, name))
        listen(PoseWithCovarianceStamped, f'{config.patient}/filtered_cp', self._on_patient, qos)
        listen(PoseWithCovarianceStamped, f'{config.tool}/filtered_cp', self._on_tool, qos)
        if config.grip == 'jaw':
            listen(JointState, f'{config.tool}/jaw/measured_js', self._on_jaw, qos)
        else:
            listen(Bool, f'{config.tool}/grasp', self._on_switch, 1)

    def _checked(self, message: PoseWithCovarianceStamped) -> StampedCovariance | None:
        return checked_pose(message, frame=self.config.tracker_frame, now_ns=self._now_ns(), health=self.health)

    def _ties(self, name: str) -> list[TieStream]:
        return [getattr(self._prompt, name), getattr(self._ordered, name)]

    def _on_tie(self, name: str, frame: str, message: PoseWithCovarianceStamped) -> None:
        tie = checked_tie(message, frame=frame, now_ns=self._now_ns(), health=self.health)
        if tie is not None:
            for ties in self._ties(name):
                ties.add(tie)
            if not self._replay:
                self.session.lose()  # the tip, or the organ, lies elsewhere now
            self._follow(self._ordered.drain())

    def _on_progress(self, name: str, done_ns: int, newest_ns: int) -> None:
        getattr(self._ordered, name).progress(done_ns, newest_ns)
        self._follow(self._ordered.drain())

    def _on_patient(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._checked(message)
        if pose is None:
            return
        self._prompt.add_patient(pose)
        if self._replay:
            self._follow(self._ordered.add_patient(pose))

    def _on_tool(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._checked(message)
        if pose is None:
            return
        self._follow(self._ordered.add_tool(pose) if self._replay else [self._prompt.at(pose)])

    def _follow(self, items: list[TipPose | NoTip] | list[PromptPose | NoTip]) -> None:
        for item in items:
            if isinstance(item, NoTip):
                self.health.count(item.code)
            elif item.stamp_ns <= self._last_ns:
                self.health.count('OUT_OF_ORDER')
            elif item.stamp_ns - self._last_ns >= self._period_ns:
                pose = item.anatomy_T_tip if isinstance(item, PromptPose) else item.tip.start_T_end
                self._last_ns, self._heard_ns = item.stamp_ns, int(self._steady.now().nanoseconds)
                self.output.say(self.session.update(item.stamp_ns, pose))

    def _on_switch(self, message: Bool) -> None:
        self.session.set_grip(closed=bool(message.data))

    def _on_jaw(self, message: JointState) -> None:
        name = f'{self.config.tool}/jaw/measured_js'
        if len(message.position) != 1 or not np.isfinite(message.position[0]):
            self.health.warn('JOINTS_WRONG', f'{name}: expected one finite position')
            return
        try:
            check_header(message.header, frame=None, name=name)
        except InputError as error:
            self.health.warn(error.code, str(error))
            return
        self.session.set_grip(closed=message.position[0] <= self.config.jaw_closed)

    def _on_timer(self) -> None:
        """Say nothing more of a tool that is not seen; the health is said at the same pace."""
        silent = int(self._steady.now().nanoseconds) - self._heard_ns
        if self._heard_ns and silent > self.config.max_age * NANOSECONDS and not self._replay:
            self._heard_ns = 0
            self.session.lose()
            self.health.set('tool', WARN, 'GRASP_LOST', f'{self.config.tool} is not seen any more')
        elif self._heard_ns:
            self.health.set('tool', OK, 'OK', 'seen')

    def _on_jump(self) -> None:
        self.health.count('CLOCK_JUMP')
        self._prompt.reset()
        self._ordered.reset()
        self.session.reset()
        self.output.reset()
        self._last_ns = self._heard_ns = 0


def main() -> None:
    """Run the node."""
    sys.exit(run_node(HapticsNode))


if __name__ == '__main__':
    main()
