"""The tools of a live anatomy: where their tips are, whether their jaws are closed, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.learning_sights import Held
from twin_nodes.core.anatomy.session_config import ContactConfig, GraspConfig
from twin_nodes.core.anatomy.session_contact import Capsule, capsule_of
from twin_nodes.core.anatomy.session_grasp import Grasp, check_pull, take
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

_MOST_STEPS = 8


@dataclass
class _Tool:
    """A tool; `missed` says that its jaws closed, or stayed closed, without tissue."""

    stamp_ns: int = 0
    anatomy_T_tip: Array | None = None
    variance: float = 0.0
    closed: bool = False
    grasp: Grasp | None = None
    missed: bool = False
    pushed: Array | None = None  # where the tip was at the last frame


class Tools:
    """All tools, by name.

    Args:
        model: The body.
        fixed: Nodes that are held in place, which no tool can take.
        config: How a tool holds tissue.
        contact: How it pushes tissue.
        pushers: Names of the tools that push.
    """

    def __init__(
        self,
        model: ElasticModel,
        fixed: NDArray[np.int64],
        config: GraspConfig,
        contact: ContactConfig,
        pushers: frozenset[str] = frozenset(),
    ) -> None:
        self._model, self._fixed, self._config = model, fixed, config
        self._contact, self._pushers = contact, pushers
        self._outer = model.mesh.outer_nodes
        self._tools: dict[str, _Tool] = {}

    @property
    def held(self) -> NDArray[np.int64]:
        """Nodes that tools hold, shape (h,)."""
        return self.places()[0]

    def places(self) -> tuple[NDArray[np.int64], Array]:
        """Return the nodes that are held (h,), and where they are [m], shape (h, 3)."""
        nodes, places = [np.zeros(0, np.int64)], [np.zeros((0, 3))]
        for tool in self._tools.values():
            if tool.grasp is not None and tool.anatomy_T_tip is not None:
                nodes.append(tool.grasp.nodes)
                places.append(tool.grasp.places(tool.anatomy_T_tip))
        return np.concatenate(nodes), np.concatenate(places)

    def patches(self) -> list[tuple[NDArray[np.int64], float]]:
        """Return the nodes of each patch that is held, and the variance of a coordinate of it [m²]."""
        alike = self._config.sigma**2
        tools = self._tools.values()
        return [(tool.grasp.nodes, tool.variance + alike) for tool in tools if tool.grasp is not None]

    def held_by(self) -> list[Held]:
        """Return what each tool holds, and where."""
        return [
            Held(name, tool.grasp.nodes, tool.grasp.places(tool.anatomy_T_tip))
            for name, tool in self._tools.items()
            if tool.grasp is not None and tool.anatomy_T_tip is not None
        ]

    def rotation(self, name: str) -> Array | None:
        """Return anatomy_R_tip of a tool (3, 3), or None where its pose is not known."""
        tool = self._tools.get(name)
        return None if tool is None or tool.anatomy_T_tip is None else tool.anatomy_T_tip[:3, :3]

    def grasps(self) -> list[tuple[str, int, Array]]:
        """Return tools that hold tissue, the number of nodes of each, as in `places`, and where its tip is [m] (3,)."""
        tools = self._tools.items()
        return [
            (name, len(tool.grasp.nodes), tool.anatomy_T_tip[:3, 3])
            for name, tool in tools
            if tool.grasp is not None and tool.anatomy_T_tip is not None
        ]

    @property
    def may_push(self) -> bool:
        """Whether there is a tool that may push."""
        return any(
            tool.anatomy_T_tip is not None and tool.grasp is None
            for name, tool in self._tools.items()
            if name in self._pushers
        )

    def advance(self) -> list[list[Capsule]]:
        """Return the tools that push, on their way from where they were at the last frame to where they are.

        Steps are no longer than half a radius, so that no tool jumps through the surface; at most `_MOST_STEPS`.
        """
        pushing = {
            name: tool
            for name, tool in sorted(self._tools.items())
            if name in self._pushers and tool.anatomy_T_tip is not None and tool.grasp is None
        }
        ways = {name: self._way(tool) for name, tool in pushing.items()}
        longest = max((float(np.linalg.norm(way[:3, 3])) for way in ways.values()), default=0.0)
        count = int(min(max(np.ceil(2.0 * longest / self._contact.radius), 1), _MOST_STEPS))
        steps: list[list[Capsule]] = []
        for step in range(1, count + 1):
            back = 1.0 - step / count
            steps.append(
                [
                    capsule_of(name, np.asarray(tool.anatomy_T_tip) - back * ways[name], self._contact)
                    for name, tool in pushing.items()
                ]
            )
        for tool in pushing.values():
            tool.pushed = tool.anatomy_T_tip
        return steps

    def _way(self, tool: _Tool) -> Array:
        """Return the shift since the last frame as a matrix that is subtracted from the pose, shape (4, 4)."""
        way = np.zeros((4, 4))
        if tool.pushed is not None and tool.anatomy_T_tip is not None:
            shift = tool.anatomy_T_tip[:3, 3] - tool.pushed[:3, 3]
            if np.linalg.norm(shift) <= self._contact.max_step:
                way[:3, 3] = shift
        return way

    def add_tip(self, name: str, stamp_ns: int, anatomy_T_tip: Array, variance: float, positions: Array) -> None:
        """Take the pose of a tip; arguments as `AnatomySession.add_tip`, and where all nodes are [m], shape (n, 3).

        Raises:
            InputError: OUT_OF_ORDER; GRASP_MISSED or GRASP_LOST, once for each closing.
        """
        tool = self._tools.setdefault(name, _Tool())
        if stamp_ns <= tool.stamp_ns:
            raise InputError(f'{name}: stamp {stamp_ns} is not after {tool.stamp_ns}', code='OUT_OF_ORDER')
        last = tool.anatomy_T_tip
        tool.stamp_ns, tool.anatomy_T_tip, tool.variance = stamp_ns, anatomy_T_tip, variance
        if tool.grasp is not None and last is not None:
            self._check(name, tool, anatomy_T_tip, float(np.linalg.norm(anatomy_T_tip[:3, 3] - last[:3, 3])))
        elif tool.closed and not tool.missed:
            self._take(tool, anatomy_T_tip, positions)

    def set_grip(self, name: str, positions: Array, *, closed: bool) -> None:
        """Hear that jaws close or open.

        Raises:
            InputError: GRASP_MISSED where there is no tissue between them.
        """
        tool = self._tools.setdefault(name, _Tool())
        was, tool.closed = tool.closed, closed
        if not closed:
            tool.grasp, tool.missed = None, False
        elif not was and tool.anatomy_T_tip is not None:
            self._take(tool, tool.anatomy_T_tip, positions)

    def lose(self, name: str) -> None:
        """Hear that a tool is not seen any more."""
        tool = self._tools.get(name)
        if tool is not None:
            tool.grasp, tool.anatomy_T_tip, tool.pushed, tool.missed = None, None, None, tool.closed

    def leave(self, outer: NDArray[np.int32]) -> None:
        """Hear which nodes (b,) are outside now that tissue is gone; of what is gone nothing is held."""
        self._outer = outer
        for tool in self._tools.values():
            if tool.grasp is None:
                continue
            kept = np.isin(tool.grasp.nodes, outer)
            if not kept.any():
                tool.grasp, tool.missed = None, True
            elif not kept.all():
                tool.grasp = Grasp(tool.grasp.nodes[kept], tool.grasp.places_tip[kept], tool.grasp.began[kept])

    def _take(self, tool: _Tool, anatomy_T_tip: Array, positions: Array) -> None:
        tool.missed = True
        taken = np.concatenate([self.held, self._fixed])
        tool.grasp = take(positions, self._outer, anatomy_T_tip, taken, self._config)
        tool.missed = False

    def _check(self, name: str, tool: _Tool, anatomy_T_tip: Array, step: float) -> None:
        assert tool.grasp is not None
        config = self._config
        try:
            if step > config.max_step:
                raise InputError(
                    f'{name}: the tip jumped {1e3 * step:.0f} mm, limit max_step {1e3 * config.max_step:.0f} mm; its '
                    'grasp is given up',
                    code='GRASP_LOST',
                )
            check_pull(tool.grasp, self._model.rest, tool.grasp.places(anatomy_T_tip), config)
        except InputError:
            tool.grasp, tool.missed = None, True
            raise
