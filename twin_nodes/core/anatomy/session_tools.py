"""The tools of a live anatomy: where their tips are, whether their jaws are closed, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.session_config import GraspConfig
from twin_nodes.core.anatomy.session_grasp import Grasp, check_pull, take
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array


@dataclass
class _Tool:
    """A tool; `missed` says that its jaws closed, or stayed closed, without tissue."""

    stamp_ns: int = 0
    anatomy_T_tip: Array | None = None
    variance: float = 0.0
    closed: bool = False
    grasp: Grasp | None = None
    missed: bool = False


class Tools:
    """All tools, by name.

    Args:
        model: The body.
        fixed: Nodes that are held in place, which no tool can take.
        config: How a tool holds tissue.
    """

    def __init__(self, model: ElasticModel, fixed: NDArray[np.int64], config: GraspConfig) -> None:
        self._model, self._fixed, self._config = model, fixed, config
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
            tool.grasp, tool.anatomy_T_tip, tool.missed = None, None, tool.closed

    def _take(self, tool: _Tool, anatomy_T_tip: Array, positions: Array) -> None:
        tool.missed = True
        taken = np.concatenate([self.held, self._fixed])
        tool.grasp = take(positions, self._model.mesh.outer_nodes, anatomy_T_tip, taken, self._config)
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
