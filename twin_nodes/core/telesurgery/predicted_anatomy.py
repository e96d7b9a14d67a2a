"""The anatomy of the leader's twin: where it is now though seen late, and how the predicted tool dents it.

What comes back over the link is old. Its pose is carried on with its own velocity, for a bounded time, and a new one
corrects what is shown without a jump. A contact of the predicted tip pushes the surface in at once; once a surface
comes back that was measured during the contact, that part of the dent is in it already and is not put on again.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.config import setting
from twin_nodes.core.geometry import se3
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

_KEEP_NS = 10 * NANOSECONDS
_LOOK = 0.2  # the velocity of the anatomy is that of the last moments [s]


@dataclass(frozen=True)
class PredictedAnatomyConfig:
    """How the anatomy is carried on."""

    max_ahead: float = setting('It is carried on for this long; then it stands.', 1.0, unit='s', minimum=0.0,
                               maximum=10.0)  # fmt: skip
    max_speed: float = setting('Anatomy that seems faster is not carried on.', 0.1, unit='m/s', minimum=0.001,
                               maximum=10.0)  # fmt: skip
    correction: float = setting('Time constant with which what comes back corrects what is shown.', 0.2, unit='s',
                                minimum=0.001, maximum=10.0)  # fmt: skip
    tip_radius: float = setting('Radius of the ball at the tip.', 0.001, unit='m', minimum=0.0, maximum=0.05)
    dent_radius: float = setting('How far around the contact the surface is pushed along.', 0.006, unit='m',
                                 minimum=1e-4, maximum=0.2)  # fmt: skip
    max_dent: float = setting('Deepest dent that is shown.', 0.01, unit='m', minimum=1e-4, maximum=0.1)
    release: float = setting('Time constant with which a dent is gone when the tool is.', 0.15, unit='s', minimum=0.001,
                             maximum=10.0)  # fmt: skip


class PredictedPose:
    """The pose of now from poses that come late.

    Args:
        config: Bounds.
    """

    def __init__(self, config: PredictedAnatomyConfig) -> None:
        self._config = config
        self._seen: deque[tuple[int, Array]] = deque()
        self._offset = np.zeros(6)
        self._since_ns = 0

    def see(self, stamp_ns: int, pose: Array, now_ns: int) -> None:
        """Take in a pose, shape (4, 4), measured at a time on our clock [ns]; older ones than before are left out."""
        if self._seen and stamp_ns <= self._seen[-1][0]:
            return
        shown = self.at(now_ns)
        self._seen.append((stamp_ns, pose))
        while stamp_ns - self._seen[0][0] > 2.0 * _LOOK * NANOSECONDS:
            self._seen.popleft()
        if shown is not None:
            self._offset, self._since_ns = se3.log(se3.inverse(self._carried(now_ns)) @ shown), now_ns

    def at(self, now_ns: int) -> Array | None:
        """Return the pose (4, 4) to show now, None before the first."""
        if not self._seen:
            return None
        left = math.exp(-max(now_ns - self._since_ns, 0) / NANOSECONDS / self._config.correction)
        return self._carried(now_ns) @ se3.exp(left * self._offset)

    def _carried(self, now_ns: int) -> Array:
        stamp_ns, pose = self._seen[-1]
        ahead = min(max((now_ns - stamp_ns) / NANOSECONDS, 0.0), self._config.max_ahead)
        start_ns, start = next(
            (item for item in self._seen if stamp_ns - item[0] <= _LOOK * NANOSECONDS), self._seen[-1]
        )
        seconds = (stamp_ns - start_ns) / NANOSECONDS
        if seconds < 0.25 * _LOOK:
            return pose
        twist = se3.log(se3.inverse(start) @ pose) / seconds
        if float(np.linalg.norm(pose[:3, 3] - start[:3, 3])) > self._config.max_speed * seconds:
            return pose
        return pose @ se3.exp(ahead * twist)


@dataclass(frozen=True)
class Contact:
    """A tool that pushes a surface in.

    Args:
        stamp_ns: When [ns].
        centre: Where the tool touches, anatomy frame [m], shape (3,).
        push: How far and whither the surface is pushed there [m], shape (3,).
    """

    stamp_ns: int
    centre: Array
    push: Array


class PredictedContact:
    """The dent of the predicted tip in one structure.

    Args:
        config: Its shape.
    """

    def __init__(self, config: PredictedAnatomyConfig) -> None:
        self._config = config
        self._history: deque[Contact] = deque()
        self._measured_ns: int | None = None

    @property
    def now(self) -> Contact | None:
        """The dent as it is."""
        return self._history[-1] if self._history else None

    def touch(self, now_ns: int, tip_anatomy: Array, grid: DistanceGrid) -> None:
        """Let the predicted tip act, or let the dent of before go.

        Args:
            now_ns: Time [ns].
            tip_anatomy: Centre of the ball at the tip [m], shape (3,).
            grid: Distances to the structure as it last came back.
        """
        before = self.now
        samples = grid.query(tip_anatomy[None])
        gap = float(samples.distances[0]) - self._config.tip_radius
        length = float(np.linalg.norm(samples.gradients[0]))
        if gap < 0.0 and length > 1e-6:
            out = samples.gradients[0] / length
            depth = min(-gap, self._config.max_dent)
            centre = tip_anatomy - float(samples.distances[0]) * out
            self._history.append(Contact(now_ns, centre, -depth * out))
        elif before is not None and float(np.linalg.norm(before.push)) > 1e-6:
            left = math.exp(-(now_ns - before.stamp_ns) / NANOSECONDS / self._config.release)
            self._history.append(Contact(now_ns, before.centre, left * before.push))
        elif before is not None:
            self._history.append(Contact(now_ns, before.centre, np.zeros(3)))
        while self._history and now_ns - self._history[0].stamp_ns > _KEEP_NS:
            self._history.popleft()

    def measured(self, stamp_ns: int) -> None:
        """Note that the surface has come back as it was at a time on our clock [ns]."""
        self._measured_ns = stamp_ns

    def displacement(self, points_anatomy: Array) -> Array:
        """Return how far points of the surface as it came back are pushed on [m], shape (n, 3)."""
        moved = np.zeros_like(points_anatomy)
        since = self._measured_ns
        known = next((one for one in reversed(self._history) if since is not None and one.stamp_ns <= since), None)
        for contact, sign in ((self.now, 1.0), (known, -1.0)):
            if contact is not None and contact.push.any():
                far = np.sum((points_anatomy - contact.centre) ** 2, axis=1)
                share = np.exp(-0.5 * far / self._config.dent_radius**2)
                moved += sign * share[:, None] * contact.push
        return moved


def deepest(contacts: Mapping[str, PredictedContact]) -> tuple[str, float]:
    """Return the structure with the deepest dent and its depth [m]; ('', 0) when nothing is touched."""
    depths = {
        name: float(np.linalg.norm(contact.now.push)) for name, contact in contacts.items() if contact.now is not None
    }
    name = max(depths, key=lambda key: depths[key], default='')
    return (name, depths[name]) if name and depths[name] > 1e-6 else ('', 0.0)
