"""The page: scene, panel, structure list and cameras on one local server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.controls import RegionControls, StructureControls
from twin_nodes.app.view.framing import FIELD_OF_VIEW, Framing, frame_scene, up_axis
from twin_nodes.app.view.panel import errors_html, live_html
from twin_nodes.app.view.picture import Picture
from twin_nodes.app.view.records import Event
from twin_nodes.app.view.scene import RoomScene
from twin_nodes.app.view.server import LocalServer
from twin_nodes.app.view.timeline import Extent, timeline_html
from twin_nodes.core.geometry.se3 import Array

PANEL_PERIOD_NS = 200_000_000
IDLE_PERIOD_NS = 500_000_000
PANEL_WIDTH = 400
PAGE_HEIGHT = 720  # the smallest that the page is made for
FOLLOW_STEP = 0.0005
NEAR = 0.005


@dataclass
class _Viewer:
    """One browser: its handle, whether it follows the tool, and its controls."""

    client: Any
    follow: Any
    framed: Framing | None = None


class ViserView:
    """Draws pictures on a page; one server, any number of browsers.

    Args:
        config: Where to serve, what the tools look like.
        covered_px: How much of the bottom of the scene a window covers.

    Raises:
        ConfigError: when the port is taken.
    """

    def __init__(self, config: ViewConfig, *, covered_px: int = 0) -> None:
        self._covered = covered_px / PAGE_HEIGHT
        self._server = LocalServer(config.host, config.port, 'twin_nodes · live view')
        self._up = up_axis(config.up)
        self._server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        self._server.gui.main_panel.dock_right()
        self._server.gui.main_panel.set_width(PANEL_WIDTH)
        self._scene = RoomScene(self._server, config, self._up)
        tabs = self._server.gui.add_tab_group()
        with tabs.add_tab('Live'):
            self._live = self._server.gui.add_html('')
        self._settings = tabs.add_tab('Structures')
        with tabs.add_tab('Errors'):
            self._errors = self._server.gui.add_html('')
        with tabs.add_tab('Time line'):
            self._events = self._server.gui.add_html('')
        self._structures = StructureControls(self._server.gui, self._settings, self._scene.anatomy)
        self._regions = RegionControls(self._server.gui, self._settings, self._scene.regions, self._scene.sites)
        self._viewers: dict[int, _Viewer] = {}
        self._framing: Framing | None = None
        self._drawn_ns = 0
        self._panel_ns = 0
        self._panel_key: object = None
        self._server.on_client_connect(self._on_connect)
        self._server.on_client_disconnect(lambda client: self._viewers.pop(client.client_id, None))

    @property
    def url(self) -> str:
        """Address to open in a browser."""
        return self._server.url

    @property
    def server(self) -> LocalServer:
        """The viser server, for controls of others."""
        return self._server

    def render(
        self,
        picture: Picture,
        *,
        now_ns: int | None = None,
        extent: Extent | None = None,
        events: tuple[Event, ...] | None = None,
    ) -> None:
        """Send what changed; twice a second is enough while no browser looks.

        Args:
            picture: What to show.
            now_ns: The monotonic clock, where the moment of the picture is not one of its ticks, as in a bag.
            extent: The span of the time line; the last minutes when None.
            events: What is on the time line; those of the picture when None.
        """
        now_ns = picture.moment.steady_ns if now_ns is None else now_ns
        if not self._viewers and now_ns - self._drawn_ns < IDLE_PERIOD_NS:
            return
        self._drawn_ns = now_ns
        with self._server.atomic():
            if self._scene.show(picture):
                self._structures.renew(picture.surfaces)
            self._structures.update(picture)
            self._regions.update(picture)
            self._show_panel(picture, now_ns, timeline_html(picture, extent, events))
        self._aim(picture)

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def _show_panel(self, picture: Picture, now_ns: int, timeline: str) -> None:
        key = (
            tuple(tool.live for tool in (*picture.tools, picture.patient)),
            tuple(row.zone for row in picture.distances),
            tuple((line.level, line.code) for line in picture.subsystems),
            len(picture.events) and picture.events[0],
        )
        if key == self._panel_key and now_ns - self._panel_ns < PANEL_PERIOD_NS:
            return
        self._panel_key, self._panel_ns = key, now_ns
        self._live.content = live_html(picture)
        self._errors.content = errors_html(picture)
        self._events.content = timeline

    def _on_connect(self, client: Any) -> None:
        with self._settings:
            follow = client.gui.add_checkbox('Follow the tool', False, order=-2)
            reset = client.gui.add_button('Show tool and patient', order=-1)
        viewer = _Viewer(client, follow)

        @reset.on_click
        def _(_event: Any) -> None:
            viewer.framed = None

        self._viewers[client.client_id] = viewer

    def _aim(self, picture: Picture) -> None:
        """Frame the scene for browsers that have not been framed, and turn those that follow the tool."""
        framing = frame_scene(picture, self._up, covered=self._covered)
        tool = picture.tools[0]
        for viewer in tuple(self._viewers.values()):
            if framing is not None and _better(framing, viewer.framed):
                self._set_camera(viewer, framing)
            elif viewer.follow.value and tool.live and tool.fixed_T_tip is not None:
                follow(viewer.client.camera, tool.fixed_T_tip[:3, 3])
        if framing is not None and _better(framing, self._framing):
            self._framing = framing
            camera = self._server.initial_camera
            camera.position, camera.look_at = framing.position, framing.look_at
            camera.near, camera.fov = NEAR, FIELD_OF_VIEW

    def _set_camera(self, viewer: _Viewer, framing: Framing) -> None:
        camera = viewer.client.camera
        camera.near, camera.fov = NEAR, FIELD_OF_VIEW
        camera.position = framing.position
        camera.look_at = framing.look_at
        viewer.framed = framing


def _better(framing: Framing, before: Framing | None) -> bool:
    return before is None or (framing.complete and not before.complete)


def follow(camera: Any, tip: Array) -> None:
    """Move the camera with the tip, keeping the direction from which this browser looks."""
    step = tip - camera.look_at
    if np.linalg.norm(step) > FOLLOW_STEP:
        camera.position = camera.position + step
