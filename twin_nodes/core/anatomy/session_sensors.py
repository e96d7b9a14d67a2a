"""Tracked implants and sensors in the tissue: where they lie in the mesh, and where they are seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.anatomy.elastic.loads import Springs, make_springs
from twin_nodes.core.anatomy.targets import MaterialPoints, attach
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class _Sensed:
    place: Array
    covariance: Array


class Sensors:
    """What is known of them, by name; those that are not seen say nothing.

    Args:
        mesh: The body at rest.
        places: Where each lies in it at rest [m], shape (3,).
        tie: Stiffness by which tissue follows a sensor in it [N/m].

    Raises:
        InputError: ANATOMY_REFUSED for one outside the body.
    """

    def __init__(self, mesh: TetMesh, places: Mapping[str, Array], tie: float) -> None:
        self._points = {name: attach(mesh, [place], name=f'sensor {name}') for name, place in places.items()}
        self._tie = tie
        self._sensed: dict[str, _Sensed] = {}

    @property
    def seen(self) -> list[str]:
        """Names of those that are seen, sorted."""
        return sorted(self._sensed)

    @property
    def points(self) -> list[MaterialPoints]:
        """Where those that are seen lie in the mesh, in the order of `seen`."""
        return [self._points[name] for name in self.seen]

    @property
    def places(self) -> list[Array]:
        """Where they are seen [m], each (3,)."""
        return [self._sensed[name].place for name in self.seen]

    @property
    def covariances(self) -> list[Array]:
        """Of where they are seen [m²], each (3, 3)."""
        return [self._sensed[name].covariance for name in self.seen]

    def see(self, name: str, place: Array, covariance: Array) -> None:
        """Take where one is: [m] (3,) and [m²] (3, 3)."""
        self._sensed[name] = _Sensed(place, covariance)

    def lose(self, name: str) -> None:
        """Hear that one is not seen any more."""
        self._sensed.pop(name, None)

    def clear(self) -> None:
        """Forget where they were seen."""
        self._sensed.clear()

    def pulling(self) -> Springs:
        """Return the springs by which tissue follows them."""
        return self._springs(self._tie)

    def observed(self) -> Springs:
        """Return them as observations: springs with inverse covariances [1/m²]."""
        return self._springs([np.linalg.inv(covariance) for covariance in self.covariances])

    def _springs(self, stiffness: ArrayLike) -> Springs:
        points = self.points
        if not points:
            return Springs()
        return make_springs(
            np.concatenate([point.nodes for point in points]),
            self.places,
            stiffness,
            weights=np.concatenate([point.weights for point in points]),
        )
