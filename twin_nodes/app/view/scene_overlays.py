"""Targets with their error, routes, the force of the fixture and the predicted tool, in 3-D."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import viser

from twin_nodes.app.view import geometry, style
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.framing import up_axis
from twin_nodes.app.view.overlays import ellipsoid
from twin_nodes.app.view.picture import FixturePicture, GhostPicture, Overlays, TargetPicture
from twin_nodes.app.view.records import Route
from twin_nodes.app.view.scene_nodes import Node, add_label, add_line, add_mesh
from twin_nodes.core.geometry.se3 import Array, make_transform, transform_points

REACH_95 = 2.7955  # root of the 95 % quantile of χ² with three degrees of freedom
CORE = 0.0006
LEAST_AXIS = 1e-5
METRES_PER_NEWTON = 0.01
LEAST_FORCE = 0.02
_ORIGIN = np.zeros(3)


class OverlayScene:
    """What is drawn over room and anatomy; nodes come and go with what they show.

    Args:
        scene: The viser scene.
        config: Sizes of the tools, and which way is up.
    """

    def __init__(self, scene: viser.SceneApi, config: ViewConfig) -> None:
        self._scene, self._config, self._up = scene, config, up_axis(config.up)
        self._nodes: dict[str, dict[str, Node]] = {}
        self._routes: tuple[Route, ...] = ()

    def show(self, overlays: Overlays) -> None:
        """Bring all of it up to date."""
        self._keep('/targets', [f'{index}' for index in range(len(overlays.targets))])
        for index, target in enumerate(overlays.targets):
            self._show_target(f'{index}', target)
        self._show_routes(overlays.routes)
        self._keep('/ghosts', [ghost.name for ghost in overlays.ghosts])
        for ghost in overlays.ghosts:
            self._show_ghost(ghost)
        self._show_fixture(overlays.fixture)

    def _keep(self, group: str, names: Iterable[str]) -> None:
        """Remove the nodes of a group whose names are gone."""
        kept = {f'{group}/{name}' for name in names}
        for path in [path for path in self._nodes if path.startswith(f'{group}/') and path not in kept]:
            for node in self._nodes.pop(path).values():
                node.handle.remove()

    def _show_target(self, name: str, target: TargetPicture) -> None:
        path = f'/targets/{name}'
        nodes = self._nodes.get(path)
        if nodes is None:
            ball = geometry.sphere(_ORIGIN, 1.0)
            nodes = self._nodes[path] = {
                'ellipsoid': Node(add_mesh(self._scene, f'{path}/error', ball, style.TARGET, opacity=0.3)),
                'core': Node(add_mesh(self._scene, f'{path}/core', geometry.sphere(_ORIGIN, CORE), style.TARGET)),
                'label': Node(add_label(self._scene, f'{path}/label', '', _ORIGIN, below=True)),
            }
        rotation, axes = ellipsoid(target.covariance, REACH_95)
        nodes['ellipsoid'].place(make_transform(rotation, target.place))
        nodes['ellipsoid'].set(scale=tuple(np.maximum(axes, LEAST_AXIS).round(6).tolist()))
        nodes['core'].place(make_transform(np.eye(3), target.place))
        nodes['label'].place(make_transform(np.eye(3), target.place - axes.max() * self._up))
        nodes['label'].set(text=f'{style.TARGET_SIGN} {target.name} ± {1e3 * target.sigma:.1f} mm')

    def _show_routes(self, routes: tuple[tuple[Route, Array], ...]) -> None:
        if tuple(route for route, _ in routes) != self._routes:
            self._keep('/routes', [])
            self._routes = tuple(route for route, _ in routes)
        for index, (route, fixed_T_frame) in enumerate(routes):
            path = f'/routes/{index}'
            nodes = self._nodes.get(path)
            if nodes is None:
                nodes = self._nodes[path] = self._draw_route(path, index, route)
            for node in nodes.values():
                node.place(fixed_T_frame)

    def _draw_route(self, path: str, index: int, route: Route) -> dict[str, Node]:
        colour = style.ROUTE_CHOSEN if route.chosen else style.ROUTE_OTHER
        line = add_line(self._scene, f'{path}/line', colour, 0.0012 if route.chosen else 0.0005)
        points = route.points.astype(np.float32)
        line.points = np.stack([points[:-1], points[1:]], axis=1)
        line.colors = np.broadcast_to(np.array(colour, np.uint8), (len(points) - 1, 2, 3)).copy()
        nodes = {'line': Node(line)}
        if route.chosen:
            frame = Node(self._scene.add_frame(f'{path}/frame', show_axes=False))
            add_label(self._scene, f'{path}/frame/label', f'➤ route {index + 1}, chosen', route.points[0])
            nodes['frame'] = frame
        return nodes

    def _show_ghost(self, ghost: GhostPicture) -> None:
        path, config = f'/ghosts/{ghost.name}', self._config
        nodes = self._nodes.get(path)
        if nodes is None:
            shaft = geometry.tool_shaft(
                np.array(config.shaft_axis), config.shaft_length, 1.1 * config.shaft_radius, config.burr_radius
            )
            mesh: Any = self._scene.add_mesh_simple(
                f'{path}/shaft', shaft.vertices, shaft.faces, color=style.GHOST, wireframe=True, opacity=0.45
            )
            tip = geometry.sphere(_ORIGIN, 1.15 * config.burr_radius)
            nodes = self._nodes[path] = {
                'shaft': Node(mesh),
                'tip': Node(add_mesh(self._scene, f'{path}/tip', tip, style.GHOST, opacity=0.5)),
                'label': Node(add_label(self._scene, f'{path}/label', '', _ORIGIN, below=True)),
            }
        for name in ('shaft', 'tip'):
            nodes[name].place(ghost.fixed_T_tip)
        axis = np.array(config.shaft_axis) / np.linalg.norm(config.shaft_axis)
        end = transform_points(ghost.fixed_T_tip, 0.85 * config.shaft_length * axis)
        nodes['label'].place(make_transform(np.eye(3), end))
        nodes['label'].set(text=f'◌ {ghost.name} in {1e3 * ghost.ahead_s:.0f} ms')

    def _show_fixture(self, fixture: FixturePicture | None) -> None:
        size = float(np.linalg.norm(fixture.force)) if fixture is not None else 0.0
        if fixture is None or size < LEAST_FORCE:
            self._keep('/fixture', [])
            return
        end = fixture.point + METRES_PER_NEWTON * fixture.force
        self._keep('/fixture', ['force'])
        nodes = self._nodes.get('/fixture/force')
        if nodes is None:
            arrow: Any = self._scene.add_arrows(
                '/fixture/force', np.array([[fixture.point, end]]), style.FIXTURE,
                shaft_radius=0.0005, head_radius=0.0012, head_length=0.003,
            )  # fmt: skip
            nodes = self._nodes['/fixture/force'] = {'arrow': Node(arrow)}
        nodes['arrow'].handle.points = np.array([[fixture.point, end]], np.float32)


def force_text(fixture: FixturePicture | None) -> str:
    """Write the force of the fixture, '' where there is none to feel."""
    size = 0.0 if fixture is None else float(np.linalg.norm(fixture.force))
    return f'· fixture {size:.1f} N' if size >= LEAST_FORCE else ''
