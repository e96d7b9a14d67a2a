"""A simulated arm as CRTK shows it: set point, lag, encoder noise, and the slack of a cable-driven wrist."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.chain import InverseConfig, SerialChain
from twin_nodes.core.robot.model import RobotModel

HOME_INSERTION = 0.1


class OperatingState(StrEnum):
    """The states of CRTK."""

    DISABLED = 'DISABLED'
    ENABLED = 'ENABLED'
    PAUSED = 'PAUSED'
    FAULT = 'FAULT'


COMMANDS = ('enable', 'disable', 'pause', 'resume', 'home', 'unhome')


@dataclass(frozen=True)
class SimulatedArmConfig:
    """How the simulated arm behaves, and what is wrong with it."""

    lag: float = setting('Time constant with which the joints follow the set point.', 0.02, unit='s', minimum=0.0,
                         maximum=1.0)  # fmt: skip
    max_angle_speed: float = setting('Fastest revolute joint.', 4.0, unit='rad/s', minimum=0.01, maximum=100.0)
    max_slide_speed: float = setting('Fastest prismatic joint.', 0.4, unit='m/s', minimum=0.001, maximum=10.0)
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


class SimulatedArm:
    """One arm.

    Attributes: `state`, `is_homed`; `setpoint` (m,) where the controller wants the joints now; `jaw` and
    `jaw_goal` [rad].

    Args:
        model: The robot.
        config: Its behaviour.
        rng: Draws the noise.

    Raises:
        ConfigError: Another number of joint offsets than joints, or a link that is not there.
    """

    def __init__(self, model: RobotModel, config: SimulatedArmConfig, rng: np.random.Generator) -> None:
        self.chain = SerialChain(model)
        try:
            self._reported = SerialChain(model, tip=config.reported_link or self.chain.tip)
        except InputError as error:
            raise ConfigError(f'reported_link: {error}') from None
        if config.joint_offsets and len(config.joint_offsets) != len(self.chain):
            raise ConfigError(f'joint_offsets has {len(config.joint_offsets)} entries, expected {len(self.chain)}')
        self._offsets = np.array(config.joint_offsets or [0.0] * len(self.chain))
        self._config, self._rng = config, rng
        self._speed = np.where(self.chain.is_prismatic, config.max_slide_speed, config.max_angle_speed)
        self._noise = np.where(self.chain.is_prismatic, config.length_noise, config.angle_noise)
        self._inverse = InverseConfig(position_tolerance=1e-6, rotation_tolerance=1e-5, restarts=0)
        self._moving = InverseConfig(position_tolerance=1e-6, rotation_tolerance=1e-5)
        home = np.clip(np.zeros(len(self.chain)), self.chain.lower, self.chain.upper)
        home[self.chain.is_prismatic] = np.clip(
            HOME_INSERTION, self.chain.lower[self.chain.is_prismatic], self.chain.upper[self.chain.is_prismatic]
        )
        self.setpoint, self._goal = home.copy(), home.copy()
        self._motor, self._joint = home.copy(), home.copy()
        self.velocity = np.zeros(len(self.chain))
        self.jaw, self.jaw_goal = 0.0, 0.0
        self.state, self.is_homed = OperatingState.ENABLED, True

    def command(self, word: str) -> None:
        """Take a state command of CRTK.

        Raises:
            InputError: A word that is none, or one that the state forbids.
        """
        if word not in COMMANDS:
            raise InputError(f'state command {word!r} is none of {", ".join(COMMANDS)}')
        if word in ('resume', 'pause') and self.state in (OperatingState.DISABLED, OperatingState.FAULT):
            raise InputError(f'{word!r} is not possible in state {self.state}')
        after = {'enable': OperatingState.ENABLED, 'resume': OperatingState.ENABLED, 'pause': OperatingState.PAUSED}
        self.state = after.get(word, OperatingState.DISABLED if word == 'disable' else self.state)
        self.is_homed = {'home': True, 'unhome': False}.get(word, self.is_homed)
        self._goal = self.setpoint.copy()

    @property
    def is_busy(self) -> bool:
        """Whether it is still on the way to its goal."""
        return bool(np.abs(self._goal - self.setpoint).max() > 1e-6)

    def servo_jp(self, positions: Array) -> None:
        """Take a goal in joint space.

        Raises:
            InputError: Not enabled or homed, NaN, another number of joints, or beyond the limits.
        """
        self._need_enabled()
        goal = np.asarray(positions, float)
        if goal.shape != (len(self.chain),) or not np.isfinite(goal).all():
            raise InputError(f'a goal of shape {goal.shape} with NaN or another number of joints', code='JOINTS_WRONG')
        if (goal < self.chain.lower - 1e-9).any() or (goal > self.chain.upper + 1e-9).any():
            raise InputError('the goal is beyond the joint limits', code='JOINT_LIMIT')
        self._goal = goal.copy()

    @property
    def goal(self) -> Array:
        """Where it is on the way to [rad or m], shape (m,)."""
        return self._goal.copy()

    def servo_cp(self, base_T_tip: Array, *, far: bool = False) -> None:
        """Take a goal of the tip.

        Args:
            base_T_tip: The goal [m], shape (4, 4).
            far: Whether it may be far from the present place, as that of a move and not of a stream.

        Raises:
            InputError: Not enabled or homed, NaN, or UNREACHABLE: the goal is dropped.
        """
        self._need_enabled()
        found = self.chain.inverse(base_T_tip, self._goal, self._moving if far else self._inverse)
        if not found.converged:
            near = '' if far else ' near the present ones'
            raise InputError(
                f'no joint positions{near} reach the pose: {found.position_error * 1e3:.1f} mm and '
                f'{np.degrees(found.rotation_error):.1f}° are left',
                code='UNREACHABLE',
            )
        self._goal = found.positions

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
        reach = self._speed * dt
        self.setpoint = self.setpoint + np.clip(self._goal - self.setpoint, -reach, reach)
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

    def _need_enabled(self) -> None:
        if self.state is not OperatingState.ENABLED or not self.is_homed:
            raise InputError(f'the arm is {self.state}{"" if self.is_homed else " and not homed"}: enable and home it')
