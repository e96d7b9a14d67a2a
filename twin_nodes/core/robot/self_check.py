"""Is measured_cp where measured_js puts the tip? If not: what explains the offset?

The difference of the measured and the computed tip pose is regressed on what each single cause would bring about: an
offset of one joint (a column of the Jacobian), of the tip or its axes (constant in the tip), of the base (constant in
the base). Samples are gathered in blocks, so that errors with a memory, such as those of cables, count once per block
and not once per sample. Causes are compared by their Bayesian information (Schwarz 1978) over a sliding window; one is
named when it beats "no offset" clearly, is larger than a limit, and stayed the best over several blocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.geometry.se3 import Array, rotation_log, skew
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.stamps import NANOSECONDS

MAX_CAUSES = 3
UNEXPLAINED = 25.0  # mean square, in units of the noise, above which an offset has causes that are not named


@dataclass(frozen=True)
class SelfCheckConfig:
    """When an offset is named."""

    rate_hz: float = setting('Samples that are looked at.', 10.0, unit='Hz', minimum=0.1, maximum=1000.0)
    block: float = setting(
        'Length of a block: longer than the memory of the errors.', 2.0, unit='s', minimum=0.1, maximum=60.0
    )
    window: int = setting('Blocks that are looked at together.', 30, minimum=3, maximum=1000)
    min_blocks: int = setting('Blocks before anything is said.', 4, minimum=2, maximum=1000)
    confirm: int = setting('Blocks in a row with the same cause before it is named.', 3, minimum=1, maximum=100)
    length_limit: float = setting('Smaller offsets are left alone.', 0.001, unit='m', minimum=1e-6, maximum=0.1)
    angle_limit: float = setting('Smaller offsets are left alone.', 0.0175, unit='rad', minimum=1e-6, maximum=1.0)
    length_noise: float = setting('Noise of a position of the tip.', 0.0002, unit='m', minimum=1e-7, maximum=0.1)
    angle_noise: float = setting('Noise of a rotation of the tip.', 0.003, unit='rad', minimum=1e-7, maximum=1.0)
    evidence: float = setting('Gain of information that a cause needs.', 20.0, minimum=1.0, maximum=1e6)


@dataclass(frozen=True, eq=False)
class Cause:
    """One thing that explains an offset.

    Args:
        kind: 'joint', 'tip', 'tip_axes', 'tip_pose' or 'base'.
        joint: Number of the joint from 0; -1 for others.
        values: The offset: of the joint [rad or m] (1,); of the tip in the tip frame [m] (3,); of its axes as a
            rotation vector [rad] (3,); both (6,); of the base as translation and rotation (6,).
    """

    kind: str
    joint: int
    values: Array


@dataclass(frozen=True, eq=False)
class CheckState:
    """What the check says now.

    Args:
        blocks: Blocks looked at.
        enough: Whether there are enough of them.
        causes: What explains the offset, the greatest part first; () when there is none.
        rivals: Kinds of single causes that explain it as well: (kind, joint) each. More motion tells them apart.
        position_rms: Of the offset as it is [m].
        rotation_rms: Of the offset as it is [rad].
        unexplained: Whether a good part is left by the causes that are named, or all of it where none is.
    """

    blocks: int
    enough: bool
    causes: tuple[Cause, ...]
    rivals: tuple[tuple[str, int], ...]
    position_rms: float
    rotation_rms: float
    unexplained: bool


@dataclass(frozen=True, eq=False)
class _Sums:
    """Normal equations of one block or of several: XᵀX, Xᵀe, eᵀe by kind, and the number of samples."""

    normal: Array
    right: Array
    squares: Array
    count: int


class SelfCheck:
    """The sequential test of one arm.

    Args:
        chain: The chain whose tip the robot is said to report.
        config: Limits.
    """

    def __init__(self, chain: SerialChain, config: SelfCheckConfig) -> None:
        self._chain, self._config = chain, config
        count = len(chain)
        tip, axes, base = (range(count + at, count + at + size) for at, size in ((0, 3), (3, 3), (6, 6)))
        self._candidates: list[tuple[str, int, list[int]]] = [('joint', index, [index]) for index in range(count)]
        self._candidates += [
            ('tip', -1, [*tip]), ('tip_axes', -1, [*axes]), ('tip_pose', -1, [*tip, *axes]), ('base', -1, [*base]),
        ]  # fmt: skip
        weights = [1.0 / config.length_noise] * 3 + [1.0 / config.angle_noise] * 3
        self._weights = np.array(weights)
        self.reset()

    def reset(self) -> None:
        """Begin anew, after a jump of the clock."""
        self._samples: list[tuple[int, Array, Array]] = []
        self._blocks: deque[_Sums] = deque(maxlen=self._config.window)
        self._streaks: dict[tuple[str, int], int] = {}
        self.state = CheckState(0, False, (), (), 0.0, 0.0, False)

    def add(self, stamp_ns: int, positions: Array, base_T_tip: Array) -> bool:
        """Take the joint positions (m,) and the measured tip pose (4, 4) of one instant; True when `state` is new.

        A stamp that runs back by more than a second begins anew; one that came late is left out.
        """
        if self._samples and stamp_ns < self._samples[-1][0] - NANOSECONDS:
            self.reset()
        if self._samples and stamp_ns - self._samples[-1][0] < NANOSECONDS / self._config.rate_hz:
            return False
        done = bool(self._samples) and stamp_ns - self._samples[0][0] >= self._config.block * NANOSECONDS
        if done:
            _, q, poses = (np.array(part) for part in zip(*self._samples, strict=True))
            self.add_block(q, poses)
            self._samples = []
        self._samples.append((stamp_ns, np.array(positions, float), np.array(base_T_tip, float)))
        return done

    def add_block(self, positions: Array, base_T_tip: Array) -> CheckState:
        """Take a whole block: positions (k, m) and measured tip poses (k, 4, 4); returns the new state."""
        self._blocks.append(self._sums(positions, base_T_tip))
        self.state = self._judge()
        return self.state

    def _sums(self, positions: Array, measured: Array) -> _Sums:
        computed, jacobian = self._chain.forward(positions), self._chain.jacobian(positions)
        rotation = computed[:, :3, :3]
        error = np.concatenate(
            [
                measured[:, :3, 3] - computed[:, :3, 3],
                rotation_log(measured[:, :3, :3] @ np.swapaxes(rotation, 1, 2)),
            ],
            axis=1,
        )
        zero, one = np.zeros_like(rotation), np.broadcast_to(np.eye(3), rotation.shape)
        tip = np.concatenate([rotation, zero], axis=1)
        axes = np.concatenate([zero, rotation], axis=1)
        moved = np.concatenate([one, zero], axis=1)
        turned = np.concatenate([-skew(computed[:, :3, 3]), one], axis=1)
        effects = np.concatenate([jacobian, tip, axes, moved, turned], axis=2) * self._weights[:, None]
        error = error * self._weights
        squares = np.array([float(np.sum(error[:, :3] ** 2)), float(np.sum(error[:, 3:] ** 2))])
        return _Sums(
            np.einsum('kij,kil->jl', effects, effects), np.einsum('kij,ki->j', effects, error), squares, len(error)
        )

    def _judge(self) -> CheckState:
        blocks = len(self._blocks)
        total = _Sums(
            np.sum([block.normal for block in self._blocks], axis=0),
            np.sum([block.right for block in self._blocks], axis=0),
            np.sum([block.squares for block in self._blocks], axis=0),
            sum(block.count for block in self._blocks),
        )
        position = float(np.sqrt(total.squares[0] / total.count)) * self._config.length_noise
        rotation = float(np.sqrt(total.squares[1] / total.count)) * self._config.angle_noise
        enough = blocks >= self._config.min_blocks
        causes, rivals = self._explain(total, blocks) if enough else ((), ())
        streaks = {(cause.kind, cause.joint): 1 + self._streaks.get((cause.kind, cause.joint), 0) for cause in causes}
        self._streaks = streaks
        causes = tuple(cause for cause in causes if streaks[cause.kind, cause.joint] >= self._config.confirm)
        columns = [column for cause in causes for column in self._own(cause)]
        left = enough and self._left(total, columns) > UNEXPLAINED
        return CheckState(blocks, enough, causes, rivals if causes else (), position, rotation, left)

    def _own(self, cause: Cause) -> list[int]:
        return next(own for kind, joint, own in self._candidates if (kind, joint) == (cause.kind, cause.joint))

    def _explain(self, sums: _Sums, blocks: int) -> tuple[tuple[Cause, ...], tuple[tuple[str, int], ...]]:
        """Add causes as long as each gains enough; returns them, the greatest first, and the rivals of a single one."""
        columns: list[int] = []
        chosen: list[tuple[str, int, list[int]]] = []
        rivals: tuple[tuple[str, int], ...] = ()
        cost = self._cost(sums, [], blocks)
        while len(chosen) < MAX_CAUSES:
            trials = [
                (self._cost(sums, [*columns, *own], blocks), kind, joint, own)
                for kind, joint, own in self._candidates
                if not set(own) & set(columns)
            ]
            best = min(trials, key=lambda trial: trial[0])
            if cost - best[0] < self._config.evidence or not self._is_large(sums, columns, best[1], best[2]):
                break
            if not chosen:
                rivals = tuple((t[1], t[2]) for t in trials if t is not best and t[0] - best[0] < self._config.evidence)
            chosen.append((best[1], best[2], best[3]))
            columns += best[3]
            cost = best[0]
        if len(chosen) > 1:
            chosen = self._needed(sums, self._swapped(sums, chosen, blocks), blocks)
        solution = self._solve(sums, [column for _, _, own in chosen for column in own]) if chosen else np.empty(0)
        causes, at = [], 0
        for kind, joint, own in chosen:
            causes.append(Cause(kind, joint, solution[at : at + len(own)]))
            at += len(own)
        return tuple(causes), rivals if len(chosen) == 1 else ()

    def _swapped(
        self, sums: _Sums, chosen: list[tuple[str, int, list[int]]], blocks: int
    ) -> list[tuple[str, int, list[int]]]:
        """Put a cause in the place of another where both then explain more with less: the first was chosen alone."""
        best = list(chosen)
        for place in range(len(best)):
            others = [column for at, (_, _, own) in enumerate(best) if at != place for column in own]
            free = [candidate for candidate in self._candidates if not set(candidate[2]) & set(others)]
            best[place] = min(free, key=lambda candidate: self._cost(sums, [*others, *candidate[2]], blocks))
        return best

    def _needed(
        self, sums: _Sums, chosen: list[tuple[str, int, list[int]]], blocks: int
    ) -> list[tuple[str, int, list[int]]]:
        """Leave out what the others made idle: it is small now, or explains too little beside them."""
        kept = list(chosen)
        for one in chosen[::-1]:
            others = [column for other in kept if other is not one for column in other[2]]
            lost = self._cost(sums, others, blocks) - self._cost(sums, [*others, *one[2]], blocks)
            if len(kept) > 1 and (lost < self._config.evidence or not self._is_large(sums, others, one[0], one[1])):
                kept.remove(one)
        return kept

    def _is_large(self, sums: _Sums, columns: list[int], kind: str, joint: int) -> bool:
        own = next(own for k, j, own in self._candidates if (k, j) == (kind, joint))
        values = self._solve(sums, [*columns, *own])[len(columns) :]
        if kind == 'joint':
            prismatic = bool(self._chain.is_prismatic[joint])
            return bool(abs(values[0]) > (self._config.length_limit if prismatic else self._config.angle_limit))
        length = values[:3] if kind != 'tip_axes' else np.zeros(3)
        angle = values[-3:] if kind != 'tip' else np.zeros(3)
        return bool(
            np.linalg.norm(length) > self._config.length_limit or np.linalg.norm(angle) > self._config.angle_limit
        )

    def _solve(self, sums: _Sums, columns: list[int]) -> Array:
        scale = np.sqrt(np.maximum(np.diagonal(sums.normal)[columns], 1e-12))
        matrix = sums.normal[np.ix_(columns, columns)] / np.outer(scale, scale)
        matrix[np.diag_indices(len(columns))] += 1e-9
        return np.asarray(np.linalg.solve(matrix, sums.right[columns] / scale) / scale)

    def _left(self, sums: _Sums, columns: list[int]) -> float:
        """Return the mean square of what the causes leave, in units of the noise."""
        explained = float(sums.right[columns] @ self._solve(sums, columns)) if columns else 0.0
        return max(float(sums.squares.sum()) - explained, 0.0) / (6.0 * sums.count)

    def _cost(self, sums: _Sums, columns: list[int], blocks: int) -> float:
        """Schwarz's criterion; each block counts as one observation of six numbers, the noise as at least stated."""
        observations = 6.0 * blocks
        return observations * float(np.log(self._left(sums, columns) + 1.0)) + len(columns) * float(
            np.log(observations)
        )
