"""Joint states as a robot sends them, checked whole: names, numbers, limits and stamps."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from twin_nodes.core.config import nearest, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.joint_parts import JointParts
from twin_nodes.core.stamps import NANOSECONDS

if TYPE_CHECKING:  # the compiled kinematics take 0.2 s to load, the settings need none of them
    from twin_nodes.core.robot.chain import SerialChain

ARM_FRAME = re.compile(r'([A-Za-z]+\d+)_\w+')


@dataclass(frozen=True)
class JointsConfig:
    """What a joint state may look like."""

    names: tuple[str, ...] = setting(
        'Names of the joints in the messages, in the order of the model; empty: those of the model, with or without '
        "the arm or 'outer_' in front.",
        (),
    )
    max_age: float = setting('Older messages are not used.', 0.2, unit='s', minimum=0.001, maximum=10.0)
    max_ahead: float = setting(
        'Stamps further ahead of the clock are refused.', 0.05, unit='s', minimum=0.0, maximum=1.0
    )
    angle_margin: float = setting(
        'How far a revolute joint may be beyond its limit.', 0.02, unit='rad', minimum=0.0, maximum=1.0
    )
    length_margin: float = setting(
        'How far a prismatic joint may be beyond its limit.', 0.002, unit='m', minimum=0.0, maximum=0.1
    )

    def __post_init__(self) -> None:
        """Check the names."""
        if len(set(self.names)) != len(self.names):
            raise ConfigError(f'names={list(self.names)} names a joint twice')


@dataclass(frozen=True, eq=False)
class JointSample:
    """A checked joint state in the order of the chain.

    Args:
        stamp_ns: Time of measurement.
        positions: [rad or m], shape (m,).
        velocities: [rad/s or m/s], shape (m,), None when not sent.
        efforts: [N m or N], shape (m,), None when not sent.
    """

    stamp_ns: int
    positions: Array
    velocities: Array | None = None
    efforts: Array | None = None


class JointReader:
    """Checks the joint states of one arm.

    Args:
        chain: Its chain.
        config: Names and limits.
        arm: Name of the arm.

    Raises:
        ConfigError: Another number of names than joints.
    """

    def __init__(self, chain: SerialChain, config: JointsConfig, *, arm: str = '') -> None:
        if config.names and len(config.names) != len(chain):
            raise ConfigError(f'names has {len(config.names)} entries, the chain has {len(chain)} joints')
        self._names = config.names or tuple(self._bare(name, arm) for name in chain.names)
        self._literal = bool(config.names)
        self._chain, self._config, self._arm = chain, config, arm
        self._newest_ns = 0
        self._order: tuple[tuple[str, ...], list[int]] | None = None
        margin = np.where(chain.is_prismatic, config.length_margin, config.angle_margin)
        self._low, self._high = chain.lower - margin, chain.upper + margin

    @staticmethod
    def _bare(name: str, arm: str) -> str:
        low = name.lower()
        return low.removeprefix(f'{arm.lower()}_').removeprefix('outer_') if arm else low.removeprefix('outer_')

    def __len__(self) -> int:
        return len(self._names)

    def parts(self) -> JointParts:
        """Return what puts states together whose joints come in parts."""
        endless = [
            name
            for name, low, high, slides in zip(
                self._names, self._chain.lower, self._chain.upper, self._chain.is_prismatic, strict=True
            )
            if not slides and not np.isfinite((low, high)).any()
        ]
        bare = (lambda name: name) if self._literal else partial(self._bare, arm=self._arm)
        return JointParts(self._names, endless, bare)

    def reset(self) -> None:
        """Forget the newest stamp, after a jump of the clock."""
        self._newest_ns = 0

    def read(
        self,
        stamp_ns: int,
        names: Sequence[str],
        positions: Sequence[float],
        velocities: Sequence[float] = (),
        efforts: Sequence[float] = (),
        *,
        frame: str = '',
        now_ns: int | None = None,
    ) -> JointSample:
        """Check one message whole and return it in the order of the chain.

        Args:
            stamp_ns: Time of measurement; 0 marks invalid data (CRTK).
            names: Names of the joints, in any order; joints that are not of the chain are left out.
            positions: [rad or m], as many as names.
            velocities: As many as names, or none.
            efforts: As many as names, or none.
            frame: frame_id of the message.
            now_ns: The clock; None in a replay, where neither age nor future can be told.

        Raises:
            InputError: JOINTS_WRONG, NOT_FINITE, JOINT_LIMIT, WRONG_ARM, STAMP_ZERO, STAMP_STALE, STAMP_FUTURE,
                STAMP_DUPLICATE or STAMP_BACKWARD; nothing of the message is used.
        """
        self._check_stamp(stamp_ns, now_ns)
        self.check_frame(frame)
        order = self._ordered(tuple(names))
        lists = (('positions', positions), ('velocities', velocities), ('efforts', efforts))
        for what, values in lists:
            if len(values) != len(names) and (len(values) or what == 'positions'):
                raise InputError(f'{len(names)} names and {len(values)} {what}', code='JOINTS_WRONG')
        arrays = [np.array(values, float)[order] if len(values) else None for _, values in lists]
        for (what, _), array in zip(lists, arrays, strict=True):
            if array is not None and not np.isfinite(array).all():
                bad = self._chain.names[int(np.argmin(np.isfinite(array)))]
                raise InputError(f'{what} of joint {bad!r} are NaN or Inf', code='NOT_FINITE')
        sampled = arrays[0]
        assert sampled is not None
        self._check_limits(sampled)
        self._newest_ns = stamp_ns
        return JointSample(stamp_ns, sampled, arrays[1], arrays[2])

    def read_values(
        self, stamp_ns: int, names: Sequence[str], values: Sequence[float], *, what: str, frame: str, now_ns: int | None
    ) -> Array:
        """Check a message of velocities, efforts or steps and return these in the order of the chain, shape (m,).

        Args:
            stamp_ns: Its stamp.
            names: Names of the joints, in any order.
            values: As many as names.
            what: What the values are, for the error.
            frame: frame_id of the message.
            now_ns: The clock; None in a replay.

        Raises:
            InputError: As `read`, but for limits.
        """
        self._check_stamp(stamp_ns, now_ns)
        self.check_frame(frame)
        order = self._ordered(tuple(names))
        if len(values) != len(names):
            raise InputError(f'{len(names)} names and {len(values)} {what}', code='JOINTS_WRONG')
        taken = np.array(values, float)[order]
        if not np.isfinite(taken).all():
            bad = self._chain.names[int(np.argmin(np.isfinite(taken)))]
            raise InputError(f'{what} of joint {bad!r} are NaN or Inf', code='NOT_FINITE')
        self._newest_ns = stamp_ns
        return taken

    def check_frame(self, frame: str) -> None:
        """Refuse a frame that is named after another arm, such as PSM2_base for PSM1.

        Raises:
            InputError: WRONG_ARM.
        """
        named = ARM_FRAME.fullmatch(frame)
        if named is None or not self._arm or named.group(1) == self._arm:
            return
        mine = re.fullmatch(r'([A-Za-z]+)\d+', self._arm)
        if mine is not None and named.group(1).startswith(mine.group(1)):
            raise InputError(f'frame {frame!r} belongs to {named.group(1)}, this is {self._arm}', code='WRONG_ARM')

    def check_clock(self, stamp_ns: int, now_ns: int | None) -> None:
        """Hold a stamp against the clock.

        Raises:
            InputError: STAMP_ZERO, STAMP_STALE or STAMP_FUTURE.
        """
        if stamp_ns <= 0:
            raise InputError('stamp 0: CRTK marks the state of the robot as invalid', code='STAMP_ZERO')
        if now_ns is not None and now_ns - stamp_ns > self._config.max_age * NANOSECONDS:
            age = (now_ns - stamp_ns) / NANOSECONDS
            raise InputError(f'stamp is {age:.3f} s old, limit {self._config.max_age} s', code='STAMP_STALE')
        if now_ns is not None and stamp_ns - now_ns > self._config.max_ahead * NANOSECONDS:
            ahead = (stamp_ns - now_ns) / NANOSECONDS
            raise InputError(
                f'stamp lies {ahead:.3f} s ahead of the clock, limit {self._config.max_ahead} s', code='STAMP_FUTURE'
            )

    def _check_stamp(self, stamp_ns: int, now_ns: int | None) -> None:
        self.check_clock(stamp_ns, now_ns)
        if stamp_ns == self._newest_ns:
            raise InputError('the same stamp twice', code='STAMP_DUPLICATE')
        if stamp_ns < self._newest_ns:
            back = (self._newest_ns - stamp_ns) / NANOSECONDS
            raise InputError(f'stamp is {back:.3f} s before the one before it', code='STAMP_BACKWARD')

    def _ordered(self, names: tuple[str, ...]) -> list[int]:
        """Return where each joint of the chain stands in the message; the last answer is kept."""
        if self._order is not None and self._order[0] == names:
            return self._order[1]
        if not names:
            raise InputError(f'no joint names, expected {", ".join(self._names)}', code='JOINTS_WRONG')
        given = list(names) if self._literal else [self._bare(name, self._arm) for name in names]
        doubled = sorted({name for name in given if given.count(name) > 1})
        if doubled:
            raise InputError(f'joint {doubled[0]!r} is there twice', code='JOINTS_WRONG')
        missing = [name for name in self._names if name not in given]
        if missing:
            raise InputError(
                f'joint {missing[0]!r} is missing, {len(missing)} of {len(self._names)} in all; the message has '
                f'{", ".join(names)}{nearest(missing[0], given)}',
                code='JOINTS_WRONG',
            )
        order = [given.index(name) for name in self._names]
        self._order = (names, order)
        return order

    def _check_limits(self, positions: Array) -> None:
        beyond = (positions < self._low) | (positions > self._high)
        if not beyond.any():
            return
        index = int(np.argmax(beyond))
        value, low, high = float(positions[index]), self._chain.lower[index], self._chain.upper[index]
        prismatic = bool(self._chain.is_prismatic[index])
        scaled, other = (value / 1e3, 'millimetres') if prismatic else (math.radians(value), 'degrees')
        hint = f': {other}?' if low <= scaled <= high and abs(value) > 2.0 * max(abs(low), abs(high)) else ''
        unit = 'm' if prismatic else 'rad'
        raise InputError(
            f'joint {self._chain.names[index]!r} is at {value:.4g} {unit}, limits {low:.4g} to {high:.4g} {unit}{hint}',
            code='JOINT_LIMIT',
        )
