"""A simulated arm as CRTK shows it: set point, lag, encoder noise, and the slack of a cable-driven wrist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.model import RobotModel
from twin_nodes.core.simulate.arm_drive import ArmDrive, ArmDriveConfig


@dataclass(frozen=True)
class SimulatedArmConfig(ArmDriveConfig):
    """How the simulated arm behaves, and what is wrong with it."""

    lag: float = setting('Time constant with which the joints follow the set point.', 0.02, unit='s', minimum=0.0,
                         maximum=1.0)  # fmt: skip
    angle_noise: float = setting('Noise of the encoders.', 0.0002, unit='rad', minimum=0.0, maximum=0.1)
    length_noise: float = setting('Noise of the encoders.', 0.00002, unit='m', minimum=0.0, maximum=0.01)
    wrist_slack: float = setting(
        'Play of the cables to the last two joints: how far the motor turns before the joint follows.', 0.02,
        unit='rad', minimum=0.0, maximum=0.5,
    )  # fmt: skip
    reported_link: str = setting('Link whose pose is sent as measured_cp; empty for the tip.', '')
    joint_offsets: tuple[float, ...] = setting(
        'Fault: what measured_js reads too little, for each joint; empty for none.', (), unit='rad or m', minimum=-1.0,
        maximum=1.0,
    )  # fmt: skip


class SimulatedArm(ArmDrive):
    """One arm.

    Attributes: those of its drive; `velocity` of the motors; `jaw` and `jaw_goal` [rad].

    Args:
        model: The robot.
        config: Its behaviour.
        rng: Draws the noise.

    Raises:
        ConfigError: Another number of joint offsets than joints, or a link that is not there.
    """

    def __init__(self, model: RobotModel, config: SimulatedArmConfig, rng: np.random.Generator) -> None:
        super().__init__(SerialChain(model), config)
        try:
            self._reported = SerialChain(model, tip=config.reported_link or self.chain.tip)
        except InputError as error:
            raise ConfigError(f'reported_link: {error}') from None
        if config.joint_offsets and len(config.joint_offsets) != len(self.chain):
            raise ConfigError(f'joint_offsets has {len(config.joint_offsets)} entries, expected {len(self.chain)}')
        self._offsets = np.array(config.joint_offsets or [0.0] * len(self.chain))
        self._config, self._rng = config, rng
        self._noise = np.where(self.chain.is_prismatic, config.length_noise, config.angle_noise)
        self._motor, self._joint = self.setpoint.copy(), self.setpoint.copy()
        self.velocity = np.zeros(len(self.chain))
        self.jaw, self.jaw_goal = 0.0, 0.0

    def servo_jaw(self, angle: float) -> None:
        """Take a goal of the jaw [rad].

        Raises:
            InputError: Not enabled, or NaN.
        """
        self._need_enabled()
        if not np.isfinite(angle):
            raise InputError('the angle of the jaw is NaN or Inf', code='NOT_FINITE')
        self.jaw_goal = float(np.clip(angle, np.radians(-20.0), np.radians(80.0)))

    def step(self, dt: float) -> None:
        """Let time pass [s]."""
        before = self._motor.copy()
        self.advance(dt)
        share = 1.0 if self._config.lag <= 0.0 else 1.0 - np.exp(-dt / self._config.lag)
        self._motor = self._motor + share * (self.setpoint - self._motor)
        self.jaw += share * (self.jaw_goal - self.jaw)
        self.velocity = (self._motor - before) / dt
        half = np.zeros(len(self.chain))
        half[-2:] = 0.5 * self._config.wrist_slack
        self._joint = np.clip(self._joint, self._motor - half, self._motor + half)  # the play operator

    def measured_js(self) -> Array:
        """Return what the encoders say, at the motors: the slack is not seen, the fault is."""
        return np.asarray(self._motor - self._offsets + self._rng.normal(0.0, 1.0, len(self.chain)) * self._noise)

    def measured_cp(self, measured: Array) -> Array:
        """Return base_T_tip as the robot itself computes it from its encoders, shape (4, 4)."""
        return self._reported.forward(np.asarray(measured) + self._offsets)

    def true_tip(self) -> Array:
        """Return where the tip really is, base_T_tip (4, 4)."""
        return self.chain.forward(self._joint)
