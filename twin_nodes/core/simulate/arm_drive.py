"""What commands an arm takes, and where its joints shall be: positions, velocities, forces, states of CRTK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.chain import InverseConfig, SerialChain
from twin_nodes.core.robot.statics import rates_for

HOME_INSERTION = 0.1


class OperatingState(StrEnum):
    """The states of CRTK."""

    DISABLED = 'DISABLED'
    ENABLED = 'ENABLED'
    PAUSED = 'PAUSED'
    FAULT = 'FAULT'


COMMANDS = ('enable', 'disable', 'pause', 'resume', 'home', 'unhome')


@dataclass(frozen=True)
class ArmDriveConfig:
    """How the joints of a simulated arm are driven."""

    max_angle_speed: float = setting('Fastest revolute joint.', 4.0, unit='rad/s', minimum=0.01, maximum=100.0)
    max_slide_speed: float = setting('Fastest prismatic joint.', 0.4, unit='m/s', minimum=0.001, maximum=10.0)
    angle_damping: float = setting(
        'Effort that a revolute joint needs to move: commanded forces move the arm as through honey.', 0.2,
        unit='N m s/rad', minimum=1e-4, maximum=1e4,
    )  # fmt: skip
    slide_damping: float = setting(
        'Effort that a prismatic joint needs to move.', 50.0, unit='N s/m', minimum=1e-3, maximum=1e6
    )
    rate_hold: float = setting(
        'How long a commanded velocity or force lasts when no other comes; the arm then holds its place.', 0.1,
        unit='s', minimum=0.001, maximum=10.0,
    )  # fmt: skip


class ArmDrive:
    """Takes commands and moves the set point of the joints.

    Attributes: `chain`; `state`, `is_homed`; `setpoint` (m,) where the joints shall be now [rad or m] and
    `setpoint_velocity`; `ratio`, the share of its speed that it uses for moves.

    Args:
        chain: The joints.
        config: Speeds and damping.
    """

    def __init__(self, chain: SerialChain, config: ArmDriveConfig) -> None:
        self.chain, self._rate_hold = chain, config.rate_hold
        self._speed = np.where(chain.is_prismatic, config.max_slide_speed, config.max_angle_speed)
        self._damping = np.where(chain.is_prismatic, config.slide_damping, config.angle_damping)
        self._inverse = InverseConfig(position_tolerance=1e-6, rotation_tolerance=1e-5, restarts=0)
        self._moving = InverseConfig(position_tolerance=1e-6, rotation_tolerance=1e-5)
        home = np.clip(np.zeros(len(chain)), chain.lower, chain.upper)
        home[chain.is_prismatic] = np.clip(
            HOME_INSERTION, chain.lower[chain.is_prismatic], chain.upper[chain.is_prismatic]
        )
        self.setpoint, self._goal = home.copy(), home.copy()
        self.setpoint_velocity = np.zeros(len(chain))
        self._rates: Callable[[], Array] | None = None  # while a velocity or force is commanded
        self._rates_left, self._pace, self.ratio = 0.0, 1.0, 1.0
        self._busy_steps = 0
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
        self.hold()

    def hold(self) -> None:
        """Stay where the set point is."""
        self._rates, self._goal = None, self.setpoint.copy()

    def set_ratio(self, ratio: float) -> None:
        """Use a share of the speed for moves.

        Raises:
            InputError: Not above 0 and at most 1.
        """
        if not 0.0 < ratio <= 1.0:
            raise InputError(f'ratio {ratio} of the speed must be above 0 and at most 1', code='COMMAND_SPEED')
        self.ratio = float(ratio)

    @property
    def is_busy(self) -> bool:
        """Whether it is still on the way to its goal; after a move at least once, as clients wait for that to end."""
        return self._busy_steps > 0 or bool(np.abs(self._goal - self.setpoint).max() > 1e-6)

    def servo_jp(self, positions: Array, *, far: bool = False) -> None:
        """Take a goal in joint space.

        Args:
            positions: The goal [rad or m], shape (m,).
            far: Whether it is that of a move, which goes at the pace of `ratio`.

        Raises:
            InputError: Not enabled or homed, NaN, another number of joints, or beyond the limits.
        """
        goal = self._taken(positions)
        if (goal < self.chain.lower - 1e-9).any() or (goal > self.chain.upper + 1e-9).any():
            raise InputError('the goal is beyond the joint limits', code='JOINT_LIMIT')
        self._head_for(goal.copy(), far)

    def servo_jv(self, rates: Array) -> None:
        """Take joint velocities [rad/s or m/s], shape (m,); they last for `rate_hold`.

        Raises:
            InputError: As `servo_jp`; COMMAND_SPEED beyond the fastest, JOINT_LIMIT out of the range of a joint.
        """
        wanted = self._taken(rates).copy()
        self._drive(lambda: self._possible(wanted))

    def servo_cv(self, twist: Array, *, along_tip: bool = False) -> None:
        """Take a velocity of the tip; it lasts for `rate_hold`.

        Args:
            twist: Along the axes of the base [m/s, rad/s], shape (6,).
            along_tip: Along those of the tip instead, as it turns.

        Raises:
            InputError: As `servo_jv`; UNREACHABLE where the joints cannot.
        """
        wanted = self._taken(twist, size=6).copy()

        def rates() -> Array:
            return self._possible(rates_for(self.chain.jacobian(self.setpoint), self._in_base(wanted, along_tip)))

        self._drive(rates)

    def servo_jf(self, efforts: Array) -> None:
        """Take joint efforts [N m or N], shape (m,); they last for `rate_hold`. The damping is all they work against.

        Raises:
            InputError: As `servo_jp`.
        """
        wanted = self._taken(efforts).copy()
        self._drive(lambda: np.clip(wanted / self._damping, -self._speed, self._speed))

    def servo_cf(self, wrench: Array, *, along_tip: bool = False) -> None:
        """Take a wrench at the tip; it lasts for `rate_hold`.

        Args:
            wrench: Along the axes of the base [N, N m], shape (6,).
            along_tip: Along those of the tip instead, as it turns.

        Raises:
            InputError: As `servo_jp`.
        """
        wanted = self._taken(wrench, size=6).copy()

        def rates() -> Array:
            efforts = self.chain.jacobian(self.setpoint).T @ self._in_base(wanted, along_tip)
            return np.asarray(np.clip(efforts / self._damping, -self._speed, self._speed))

        self._drive(rates)

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
        self._head_for(found.positions, far)

    def advance(self, dt: float) -> None:
        """Move the set point on by a time [s]."""
        began, self._busy_steps = self.setpoint, max(self._busy_steps - 1, 0)
        self._drift(dt)
        reach = self._speed * self._pace * dt
        self.setpoint = self.setpoint + np.clip(self._goal - self.setpoint, -reach, reach)
        self.setpoint_velocity = (self.setpoint - began) / dt

    def efforts_at(self, rates: Array) -> Array:
        """Return what the drives give to move the joints at these rates [N m or N], shape (m,)."""
        return np.asarray(self._damping * rates)

    def _head_for(self, goal: Array, far: bool) -> None:
        self._goal, self._rates, self._pace = goal, None, self.ratio if far else 1.0
        self._busy_steps = 2 if far else 0  # one is over before anybody is told

    def _drive(self, rates: Callable[[], Array]) -> None:
        rates()  # what cannot be done from here is refused before anything moves
        self._goal, self._rates, self._rates_left, self._pace = self.setpoint.copy(), rates, self._rate_hold, 1.0

    def _drift(self, dt: float) -> None:
        """Move the goal on at the commanded rates; the stops of the joints end it, and so does `rate_hold`."""
        if self._rates is None:
            return
        self._rates_left -= dt
        try:
            rates = self._rates()
        except InputError:  # the tip has come to where it cannot go on: it holds, and the next command is refused
            self.hold()
            return
        self._goal = np.clip(self.setpoint + rates * dt, self.chain.lower, self.chain.upper)
        if self._rates_left <= 1e-9:
            self._rates = None

    def _in_base(self, values: Array, along_tip: bool) -> Array:
        if not along_tip:
            return values
        turn = self.chain.forward(self.setpoint)[:3, :3]
        return np.concatenate([turn @ values[:3], turn @ values[3:]])

    def _possible(self, rates: Array) -> Array:
        """Return joint rates, checked against speeds and stops."""
        fast = np.abs(rates) > self._speed * (1.0 + 1e-9)
        if fast.any():
            joint = int(np.argmax(fast))
            raise InputError(
                f'joint {self.chain.names[joint]!r} would move at {abs(rates[joint]):.3g}, limit {self._speed[joint]} '
                f'{"m/s" if self.chain.is_prismatic[joint] else "rad/s"}',
                code='COMMAND_SPEED',
            )
        stopped = (rates < -1e-9) & (self.setpoint <= self.chain.lower + 1e-9)
        stopped |= (rates > 1e-9) & (self.setpoint >= self.chain.upper - 1e-9)
        if stopped.any():
            raise InputError(f'joint {self.chain.names[int(np.argmax(stopped))]!r} is at its limit', code='JOINT_LIMIT')
        return rates

    def _taken(self, values: Array, *, size: int = 0) -> Array:
        """Return the numbers of a command, checked."""
        self._need_enabled()
        taken, size = np.asarray(values, float), size or len(self.chain)
        if taken.shape != (size,) or not np.isfinite(taken).all():
            raise InputError(
                f'numbers of shape {taken.shape} with NaN or another number than {size}',
                code='JOINTS_WRONG',
            )
        return taken

    def _need_enabled(self) -> None:
        if self.state is not OperatingState.ENABLED or not self.is_homed:
            raise InputError(f'the arm is {self.state}{"" if self.is_homed else " and not homed"}: enable and home it')
