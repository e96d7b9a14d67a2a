"""Joint states that come in parts, such as a lift and an arm with drivers of their own, brought to one instant."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

KEPT = 2000  # states of one part that wait for another: 2 s at 1 kHz
MAX_PARTS = 32
MAX_GAP = 0.1  # s; as long as a part may be silent and still be interpolated


@dataclass(frozen=True, eq=False)
class WholeState:
    """Positions of all joints at one instant; velocities where every part tells them, else empty."""

    stamp_ns: int
    names: tuple[str, ...]
    positions: Array
    velocities: Array


@dataclass
class _Part:
    """One part: what is told of some joints."""

    names: tuple[str, ...]
    states: deque[tuple[int, Array, Array]] = field(default_factory=lambda: deque(maxlen=KEPT))


class JointParts:
    """Puts together what each part tells, at the instants of the part with the most joints.

    The other parts are interpolated to that instant, an endless joint by its shorter way; a part that is silent for
    longer than `MAX_GAP` around it leaves the instant out.

    Args:
        wanted: Names of all joints.
        endless: Those of them that turn without limits.
        bare: Makes one form of the names in the messages and of `wanted`.
    """

    def __init__(self, wanted: Sequence[str], endless: Sequence[str], bare: Callable[[str], str]) -> None:
        self._wanted, self._endless, self._bare = frozenset(wanted), frozenset(endless), bare
        self._parts: dict[tuple[str, ...], _Part] = {}
        self._told_ns = 0

    def reset(self) -> None:
        """Forget all, after a jump of the clock."""
        self._parts.clear()
        self._told_ns = 0

    def counted(self, names: Sequence[str]) -> int:
        """Return how many of the joints a message names."""
        return len(self._wanted & {self._bare(name) for name in names})

    def add(
        self, stamp_ns: int, names: Sequence[str], positions: Sequence[float], velocities: Sequence[float] = ()
    ) -> list[WholeState] | None:
        """Take one part; return the whole states that it completes, None as long as joints are missing in all parts.

        Args:
            stamp_ns: Time of measurement.
            names: Names of the joints; some of `wanted`, and others.
            positions: [rad or m], as many as names.
            velocities: As many as names, or none.

        Raises:
            InputError: JOINTS_WRONG, STAMP_DUPLICATE or STAMP_BACKWARD; nothing of the message is used.
        """
        if len(positions) != len(names) or len(velocities) not in (0, len(names)):
            raise InputError(
                f'{len(names)} names, {len(positions)} positions and {len(velocities)} velocities', code='JOINTS_WRONG'
            )
        if len(self._parts) >= MAX_PARTS and tuple(names) not in self._parts:
            raise InputError(f'joints in more than {MAX_PARTS} different messages', code='JOINTS_WRONG')
        part = self._parts.setdefault(tuple(names), _Part(tuple(names)))
        newest_ns = part.states[-1][0] if part.states else 0
        if stamp_ns <= newest_ns:
            code = 'STAMP_DUPLICATE' if stamp_ns == newest_ns else 'STAMP_BACKWARD'
            raise InputError(f'a part of the joints stamped {newest_ns - stamp_ns} ns before the last one', code=code)
        part.states.append((stamp_ns, np.array(positions, float), np.array(velocities, float)))
        chosen = self._chosen()
        if chosen is None:
            return None
        whole = [state for stamp in self._due(chosen) if (state := self._whole(stamp, chosen)) is not None]
        for each in chosen:  # what lies before the last instant is needed no more
            while len(each.states) > 1 and each.states[1][0] <= self._told_ns:
                each.states.popleft()
        return whole

    def waits_for(self) -> str:
        """Return what keeps whole states from coming, for people; '' where nothing is known."""
        if not self._parts:
            return ''
        held = {self._bare(name) for part in self._parts.values() for name in part.names}
        if missing := sorted(self._wanted - held):
            return f'joint {missing[0]!r} is in none of the {len(self._parts)} parts that are told'
        oldest = min(self._parts.values(), key=lambda part: part.states[-1][0])
        newest_ns = max(part.states[-1][0] for part in self._parts.values())
        behind = (newest_ns - oldest.states[-1][0]) / NANOSECONDS
        return f'{", ".join(oldest.names)} are {behind:.1f} s behind the other joints'

    def _chosen(self) -> list[_Part] | None:
        """Return parts that together hold all joints, the one with the most of them first; None where none do."""
        parts = sorted(self._parts.values(), key=lambda part: (-self.counted(part.names), part.names))
        held: set[str] = set()
        chosen = []
        for part in parts:
            fresh = (self._wanted & {self._bare(name) for name in part.names}) - held
            if fresh:
                chosen.append(part)
                held |= fresh
        return chosen if held == self._wanted else None

    def _due(self, chosen: list[_Part]) -> list[int]:
        """Return the instants of the first part that all others have come to."""
        until_ns = min(part.states[-1][0] for part in chosen)
        stamps = [stamp for stamp, _, _ in chosen[0].states if self._told_ns < stamp <= until_ns]
        if stamps:
            self._told_ns = stamps[-1]
        return stamps

    def _whole(self, stamp_ns: int, chosen: list[_Part]) -> WholeState | None:
        names: list[str] = []
        positions: list[float] = []
        velocities: list[float] = []
        for part in chosen:
            state = self._at(part, stamp_ns)
            if state is None:
                return None
            fresh = [at for at, name in enumerate(part.names) if name not in names]
            names += [part.names[at] for at in fresh]
            positions += state[0][fresh].tolist()
            velocities += state[1][fresh].tolist() if len(state[1]) else []
        told = np.array(velocities if len(velocities) == len(names) else [])
        return WholeState(stamp_ns, tuple(names), np.array(positions), told)

    def _at(self, part: _Part, stamp_ns: int) -> tuple[Array, Array] | None:
        """Return positions and velocities of a part at an instant, None where it was silent."""
        earlier = next((state for state in reversed(part.states) if state[0] <= stamp_ns), None)
        later = next((state for state in part.states if state[0] >= stamp_ns), None)
        if earlier is None or later is None or later[0] - earlier[0] > MAX_GAP * NANOSECONDS:
            return None
        share = (stamp_ns - earlier[0]) / max(later[0] - earlier[0], 1)
        step = later[1] - earlier[1]
        endless = np.array([self._bare(name) in self._endless for name in part.names])
        step = np.where(endless, (step + np.pi) % (2.0 * np.pi) - np.pi, step)
        rates = earlier[2] + share * (later[2] - earlier[2]) if len(earlier[2]) == len(later[2]) else np.zeros(0)
        return earlier[1] + share * step, rates
