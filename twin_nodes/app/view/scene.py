"""The room in 3-D: nodes of the viser scene, changed only where the picture changed."""

from __future__ import annotations

import numpy as np
import viser

from twin_nodes.app.view import geometry, style
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.framing import anatomy_corners
from twin_nodes.app.view.picture import Picture, ToolPicture
from twin_nodes.app.view.scene_anatomy import AnatomyScene
from twin_nodes.app.view.scene_models import ModelScene
from twin_nodes.app.view.scene_nodes import Node, add_label, add_line, add_mesh
from twin_nodes.app.view.scene_overlays import OverlayScene, force_text
from twin_nodes.app.view.scene_regions import RegionScene
from twin_nodes.app.view.scene_sites import SitesScene
from twin_nodes.core.geometry.se3 import Array, inverse, quat_from_rotation, transform_points
from twin_nodes.core.guidance.zones import Zone

GRID_CELL = 0.01
GRID_SIZE = 0.6
GRID_BELOW = 0.02
_ORIGIN = np.array([0.0, 0.0, 0.0])


class ToolScene:
    """One tool: marker body, shaft, tip sphere and name."""

    def __init__(self, scene: viser.SceneApi, name: str, config: ViewConfig) -> None:
        body, tip = f'/tools/{name}/body', f'/tools/{name}/tip'
        self._body = Node(scene.add_frame(body, show_axes=False, visible=False))
        self._tip = Node(scene.add_frame(tip, show_axes=False, visible=False))
        shaft = geometry.tool_shaft(
            np.array(config.shaft_axis), config.shaft_length, config.shaft_radius, config.burr_radius
        )
        bodies = (
            (f'{body}/struts', geometry.body_struts(), style.TOOL_BODY),
            (f'{body}/spheres', geometry.body_spheres(), style.MARKER_SPHERE),
        )
        parts = (
            *(bodies if config.tracking else ()),
            (f'{tip}/shaft', shaft, style.TOOL_LIVE),
            (f'{tip}/burr', geometry.sphere(_ORIGIN, config.burr_radius), style.TOOL_TIP),
        )
        self._parts = [(Node(add_mesh(scene, path, mesh, colour)), colour) for path, mesh, colour in parts]
        neck = 0.9 * config.shaft_length * np.array(config.shaft_axis) / np.linalg.norm(config.shaft_axis)
        self._label = Node(add_label(scene, f'{tip}/label', name, neck))
        self._body_label = Node(add_label(scene, f'{body}/label', name, _ORIGIN))

    def show(self, tool: ToolPicture, note: str = '') -> None:
        """Bring the tool up to date; a lost one is grey where it was last seen, and named lost; note stands after."""
        self._body.place(tool.fixed_T_tool)
        self._tip.place(tool.fixed_T_tip)
        for node, colour in self._parts:
            node.set(color=colour if tool.live else style.TOOL_LOST)
        text = ' '.join(part for part in (tool.name, note) if part) if tool.live else f'✕ {tool.name} LOST'
        self._label.set(text=text)
        self._body_label.set(text=text, visible=tool.fixed_T_tip is None)


class RoomScene:
    """The whole scene.

    Args:
        server: The viser server.
        config: Names and sizes of the tools.
        up: Unit vector that points up on the page, shape (3,).
    """

    def __init__(self, server: viser.ViserServer, config: ViewConfig, up: Array) -> None:
        scene = server.scene
        scene.set_up_direction(config.up)  # type: ignore[arg-type]
        self._light(scene, up)
        scene.set_background_image(background())
        self._scene, self._up, self._grid_laid = scene, up, False
        self._shaft = np.array(config.shaft_axis) / np.linalg.norm(config.shaft_axis) * config.shaft_length
        self._tracker = Node(scene.add_frame('/tracker', show_axes=False, visible=False))
        if config.tracking:
            add_mesh(scene, '/tracker/case', geometry.tracker_case(), style.TRACKER_BODY)
            add_mesh(scene, '/tracker/lenses', geometry.tracker_lenses(), style.TRACKER_LENS)
            add_label(scene, '/tracker/label', 'tracker', _ORIGIN)
        self._patient = Node(scene.add_frame('/patient', show_axes=False, visible=False))
        self._patient_struts = Node(add_mesh(scene, '/patient/struts', geometry.body_struts(), style.PATIENT_BODY))
        add_mesh(scene, '/patient/spheres', geometry.body_spheres(), style.MARKER_SPHERE)
        self._patient_label = Node(add_label(scene, '/patient/label', '', np.array([0.0, 0.0, 0.012])))
        self._tools = {name: ToolScene(scene, name, config) for name in config.tools if not config.sites}
        self.sites = SitesScene(scene, config, up)
        self.anatomy = AnatomyScene(scene)
        self._models = ModelScene(scene)
        self._overlays = OverlayScene(scene, config)
        self.regions = RegionScene(scene)
        self._trail = Node(add_line(scene, '/trail', style.TRAIL, 0.0007))
        self._trail_version = -1
        self._closest = Node(add_line(scene, '/closest', style.ZONES[Zone.CLEAR].colour, 0.0007))
        self._closest_point = Node(
            add_mesh(scene, '/closest_point', geometry.sphere(_ORIGIN, 0.0012), style.ZONES[Zone.CLEAR].colour)
        )

    @staticmethod
    def _light(scene: viser.SceneApi, up: Array) -> None:
        """Light softly from above with two lamps across, so that colours keep their hue and shapes their relief."""
        side = geometry.rotation_to(up)[:, 0]
        scene.configure_environment_map(None)
        scene.configure_default_lights(enabled=False)
        scene.add_light_ambient('/lights/ambient', intensity=1.15)
        for name, direction, intensity in (
            ('key', up + side, 2.1),
            ('fill', up - side, 1.3),
            ('rim', -0.4 * up + np.cross(up, side), 0.5),
        ):
            scene.add_light_directional(
                f'/lights/{name}', intensity=intensity, position=10.0 * direction, cast_shadow=False
            )

    def show(self, picture: Picture) -> bool:
        """Bring the scene up to date; returns whether the anatomy is a new one."""
        self._tracker.place(picture.fixed_T_tracker)
        self._patient.place(picture.fixed_T_patient)
        self._patient_struts.set(color=style.PATIENT_BODY if picture.patient.live else style.TOOL_LOST)
        self._patient_label.set(text='patient reference' if picture.patient.live else '✕ patient reference LOST')
        for index, tool in enumerate(picture.tools):
            if tool.name in self._tools:
                self._tools[tool.name].show(tool, force_text(picture.overlays.fixture) if index == 0 else '')
        self.sites.show(picture.sites)
        self._models.show(picture.models)
        self._overlays.show(picture.overlays)
        self._show_trail(picture)
        self._show_closest(picture)
        renewed = self.anatomy.show(picture)
        self._lay_grid(picture, renewed)
        return renewed

    def _lay_grid(self, picture: Picture, renewed: bool) -> None:
        """Put a grid of centimetres under the anatomy, as a scale for the eye."""
        corners = anatomy_corners(picture)
        if corners is None or (self._grid_laid and not renewed):
            return
        centre = corners.mean(axis=0)
        lowest = float((corners @ self._up).min()) - GRID_BELOW
        self._scene.add_grid(
            '/grid',
            GRID_SIZE,
            GRID_SIZE,
            plane='xy',
            wxyz=np.roll(quat_from_rotation(geometry.rotation_to(self._up)), 1),
            position=centre + (lowest - centre @ self._up) * self._up,
            cell_size=GRID_CELL,
            section_size=5 * GRID_CELL,
            cell_color=style.GRID_CELL,
            section_color=style.GRID_SECTION,
            shadow_opacity=0.0,
        )
        self._grid_laid = True

    def _show_trail(self, picture: Picture) -> None:
        on_patient = picture.fixed_T_patient is not None and picture.trail_frame != picture.fixed_frame
        enough = len(picture.trail) >= 2
        self._trail.place((picture.fixed_T_patient if on_patient else np.eye(4)) if enough else None)
        if enough and picture.trail_version != self._trail_version:
            points = picture.trail.astype(np.float32)
            fade = np.linspace(0.25, 1.0, len(points))[:, None] * np.array(style.TRAIL)
            colours = fade.astype(np.uint8)
            self._trail.handle.points = np.stack([points[:-1], points[1:]], axis=1)
            self._trail.handle.colors = np.stack([colours[:-1], colours[1:]], axis=1)
            self._trail_version = picture.trail_version

    def _show_closest(self, picture: Picture) -> None:
        line = closest_line(picture, self._shaft)
        self._closest.set(visible=line is not None)
        self._closest_point.set(visible=line is not None)
        if line is None:
            return
        start, end, zone = line
        colour = style.ZONES[zone].colour
        self._closest.handle.points = np.array([[start, end]], np.float32)
        self._closest.handle.colors = np.full((1, 2, 3), colour, np.uint8)
        self._closest_point.set(color=colour)
        self._closest_point.handle.position = end


def closest_line(picture: Picture, shaft_tip: Array) -> tuple[Array, Array, Zone] | None:
    """Return start (tool), end (nearest structure) in the fixed frame and the zone, None when there is no distance.

    Args:
        picture: The picture.
        shaft_tip: Vector from the tip to the end of the shaft in the tip frame [m].
    """
    rows = [row for row in picture.distances if row.row is not None]
    tip = picture.tools[0].fixed_T_tip
    if not rows or tip is None or picture.fixed_T_anatomy is None:
        return None
    nearest = min(rows, key=lambda row: row.row.distance if row.row is not None else np.inf)
    if nearest.row is None:
        return None
    end = transform_points(picture.fixed_T_anatomy, nearest.row.closest_anatomy)
    start = tip[:3, 3]
    if nearest.row.at_shaft:
        along = float(transform_points(inverse(tip), end) @ shaft_tip / (shaft_tip @ shaft_tip))
        start = transform_points(tip, np.clip(along, 0.0, 1.0) * shaft_tip)
    return start, end, nearest.zone


def background(height: int = 256) -> np.ndarray:
    """Return the backdrop, dark and lighter at the top, shape (height, 8, 3)."""
    share = np.linspace(0.0, 1.0, height)[:, None]
    colours = (1.0 - share) * np.array(style.BACKGROUND_TOP) + share * np.array(style.BACKGROUND_BOTTOM)
    return np.repeat(colours[:, None, :], 8, axis=1).astype(np.uint8)
