"""The mirror of one arm: from a joint state to the pose of every link, with the error, the check and the centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.chain import LinkTree, SerialChain
from twin_nodes.core.robot.joint_reading import JointReader, JointSample, JointsConfig
from twin_nodes.core.robot.joint_states import JointStates
from twin_nodes.core.robot.model import RobotModel
from twin_nodes.core.robot.rcm import RcmConfig, RcmWatch
from twin_nodes.core.robot.self_check import SelfCheck, SelfCheckConfig
from twin_nodes.core.robot.self_check_story import OffsetNames

SHAFTS = ('roll', 'tool_roll')


@dataclass(frozen=True)
class MirrorConfig:
    """How an arm is mirrored."""

    angle_sigma: float = setting(
        'Standard deviation of a revolute joint: encoder, cable and wear.', 0.002, unit='rad', minimum=0.0, maximum=0.5
    )
    length_sigma: float = setting(
        'Standard deviation of a prismatic joint.', 0.0001, unit='m', minimum=0.0, maximum=0.05
    )
    shaft_link: str = setting(
        "Link whose z axis is the shaft that passes the remote centre; 'auto' for roll or tool_roll, empty for none.",
        'auto',
    )
    joints: JointsConfig = group(JointsConfig)
    check: SelfCheckConfig = group(SelfCheckConfig)
    rcm: RcmConfig = group(RcmConfig)


@dataclass(frozen=True, eq=False)
class Mirrored:
    """One instant of an arm.

    Args:
        stamp_ns: Time of measurement.
        positions: Of the chain [rad or m], shape (m,).
        base_T_tip: Pose of the tip [m], shape (4, 4).
        covariance: Of that pose, in the convention of `core.geometry.covariance`, shape (6, 6).
        edges: parent, child and parent_T_child of each moving link that is known.
        rcm_deviation: Distance of the shaft from the remote centre [m]; None while it is learned, or without one.
    """

    stamp_ns: int
    positions: Array
    base_T_tip: Array
    covariance: Array
    edges: tuple[tuple[str, str, Array], ...]
    rcm_deviation: float | None


class ArmMirror:
    """Mirrors one arm.

    Attributes: `joints` that takes measured_js and its `reader`, `setpoint_reader` of setpoint_js, `check`, `rcm` (None
    without a shaft), `chain`, `names` for what the check found.

    Args:
        model: The robot.
        config: Limits and errors.
        arm: Name of the arm.
        tip: Link that is its tip; '' for that of the model.

    Raises:
        ConfigError: A shaft that does not lie on the way to the tip.
    """

    def __init__(self, model: RobotModel, config: MirrorConfig, *, arm: str, tip: str = '') -> None:
        self.chain = SerialChain(model, tip=tip)
        self.tree = LinkTree(model)
        self.reader = JointReader(self.chain, config.joints, arm=arm)
        self.setpoint_reader = JointReader(self.chain, config.joints, arm=arm)
        self.joints = JointStates(self.reader)
        self.check = SelfCheck(self.chain, config.check)
        self.names = OffsetNames(model, self.chain)
        shaft = config.shaft_link
        if shaft == 'auto':
            shaft = next((link for link in SHAFTS if link in model.links), '')
        self._shaft = SerialChain(model, tip=shaft) if shaft else None
        self.rcm = RcmWatch(config.rcm) if shaft else None
        if self._shaft is not None and not set(self._shaft.names) <= set(self.chain.names):
            raise ConfigError(f'shaft_link={shaft!r} does not lie on the way to the tip {self.chain.tip!r}')
        self.others = tuple(name for name in self.tree.names if name not in self.chain.names)
        self._other: dict[str, float] = {}
        self._column = {name: index for index, name in enumerate(self.chain.names)}
        leaders = [joint.mimics or joint.name for joint in model.joints]
        self._leaders = [
            '' if joint.kind == 'fixed' else name for joint, name in zip(model.joints, leaders, strict=True)
        ]
        sigma = np.where(self.chain.is_prismatic, config.length_sigma, config.angle_sigma)
        self._variances = np.maximum(sigma, 1e-9) ** 2

    def fixed_edges(self) -> tuple[tuple[str, str, Array], ...]:
        """Return parent, child and parent_T_child of the links that do not move."""
        poses = self.tree.poses(np.zeros(len(self.tree.names)))
        return tuple(
            (parent, child, pose)
            for (parent, child), pose, leader in zip(self.tree.edges, poses, self._leaders, strict=True)
            if not leader
        )

    def reset(self) -> None:
        """Forget what was learned, after a jump of the clock or when a person asks."""
        self.joints.reset()
        self.setpoint_reader.reset()
        self.check.reset()
        if self.rcm is not None:
            self.rcm.reset()
        self._other.clear()

    def set_others(self, positions: Mapping[str, float]) -> None:
        """State the positions of joints beside the chain, such as the jaw; until then their links are not shown."""
        for name in self.others:
            if name in positions and np.isfinite(positions[name]):
                self._other[name] = float(positions[name])

    def reader_sample(self) -> JointSample:
        """Return a sample in the middle of the limits, to try the mirror with."""
        return JointSample(1, self.chain.middle)

    def update(self, sample: JointSample) -> Mirrored:
        """Mirror one checked joint state."""
        pose = self.chain.forward(sample.positions)
        jacobian = self.chain.jacobian(sample.positions)
        covariance = (jacobian * self._variances) @ jacobian.T + 1e-14 * np.eye(6)
        return Mirrored(
            sample.stamp_ns, sample.positions, pose, 0.5 * (covariance + covariance.T), self._edges(sample.positions),
            self._deviation(sample.positions),
        )  # fmt: skip

    def _edges(self, positions: Array) -> tuple[tuple[str, str, Array], ...]:
        whole = np.array(
            [
                positions[self._column[name]] if name in self._column else self._other.get(name, 0.0)
                for name in self.tree.names
            ]
        )
        known = {*self._column, *self._other}
        poses = self.tree.poses(whole)
        return tuple(
            (parent, child, pose)
            for (parent, child), pose, leader in zip(self.tree.edges, poses, self._leaders, strict=True)
            if leader in known
        )

    def _deviation(self, positions: Array) -> float | None:
        if self._shaft is None or self.rcm is None:
            return None
        own = np.array([positions[self._column[name]] for name in self._shaft.names])
        pose = self._shaft.forward(own)
        return self.rcm.add(pose[:3, 3], pose[:3, 2])
