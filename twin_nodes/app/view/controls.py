"""What a person sets on the page for all browsers: which structures are seen, and where they are cut.

The page reads the controls whenever it draws, in one thread: a click changes a value here and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twin_nodes.app.view.clip import AXES, TIP_STEP, ClipPlane
from twin_nodes.app.view.picture import Picture
from twin_nodes.app.view.records import Surface
from twin_nodes.app.view.scene_anatomy import AnatomyScene, default_opacity
from twin_nodes.app.view.scene_regions import RegionScene
from twin_nodes.app.view.scene_sites import SitesScene
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points

OFF = 'off'


@dataclass(frozen=True)
class _Row:
    """The controls of one structure."""

    index: int
    shown: Any
    opacity: Any


class StructureControls:
    """The list of structures with visibility and opacity, and the plane that cuts them all.

    Args:
        gui: The viser GUI.
        tab: Where the controls are.
        anatomy: What they style.
    """

    def __init__(self, gui: Any, tab: Any, anatomy: AnatomyScene) -> None:
        self._gui, self._tab, self._anatomy = gui, tab, anatomy
        self._rows: list[_Row] = []
        self._cut: _Cut | None = None

    @property
    def controls(self) -> list[Any]:
        """All controls, in order."""
        cut = self._cut.controls if self._cut is not None else []
        return cut + [control for row in self._rows for control in (row.shown, row.opacity)]

    def renew(self, surfaces: tuple[Surface, ...]) -> None:
        """List these structures instead of those before."""
        for control in self.controls:
            control.remove()
        with self._tab:
            self._cut = _Cut(self._gui, surfaces) if surfaces else None
            self._rows = [self._row(surface, surfaces) for surface in surfaces]

    def update(self, picture: Picture) -> None:
        """Bring the anatomy to what the controls say."""
        for row in self._rows:
            self._anatomy.style(row.index, visible=row.shown.value, opacity=row.opacity.value)
        if self._cut is not None:
            self._anatomy.clip(self._cut.plane(_tip(picture)))

    def _row(self, surface: Surface, surfaces: tuple[Surface, ...]) -> _Row:
        start = default_opacity(surface, surfaces)
        shown = self._gui.add_checkbox(surface.name, True)
        slider = self._gui.add_slider('opacity', min=0.05, max=1.0, step=0.05, initial_value=start)
        return _Row(surface.index, shown, slider)


class RegionControls:
    """The switch of the forbidden regions; it comes with the first of them.

    Args:
        gui: The viser GUI.
        tab: Where it is.
        regions: What it switches.
        sites: The sites, which have regions of their own.
    """

    def __init__(self, gui: Any, tab: Any, regions: RegionScene, sites: SitesScene) -> None:
        self._gui, self._tab, self._regions, self._sites = gui, tab, regions, sites
        self._shown: Any = None

    def update(self, picture: Picture) -> None:
        """Bring the regions to what the switch says."""
        if self._shown is None and _forbids(picture):
            hint = 'Planes, cones and depth stops, and the structures with the margin within which they push back'
            with self._tab:
                self._shown = self._gui.add_checkbox('Forbidden regions', True, hint=hint, order=-0.5)
        visible, now_ns = self._shown is not None and self._shown.value, picture.moment.steady_ns
        found, where = picture.overlays.regions, picture.fixed_T_anatomy
        self._regions.show(found, picture.surfaces, where, now_ns, visible=visible)
        self._sites.show_regions(picture.sites, now_ns, visible=visible)


def _forbids(picture: Picture) -> bool:
    told = (picture.overlays.regions, *(site.regions for site in picture.sites))
    return any(found is not None and (found.regions.shapes or found.regions.margins) for found in told)


class _Cut:
    """The plane that cuts, along an axis of the body, by hand or through the tip."""

    def __init__(self, gui: Any, surfaces: tuple[Surface, ...]) -> None:
        self._bounds = {
            axis: (
                1e3 * min(float(surface.vertices_anatomy[:, axis].min()) for surface in surfaces),
                1e3 * max(float(surface.vertices_anatomy[:, axis].max()) for surface in surfaces),
            )
            for axis in AXES.values()
        }
        low, high = self._bounds[0]
        self._axis = gui.add_dropdown('Cut', (OFF, *AXES), hint='Cuts all structures along a plane of the body')
        self._at = gui.add_slider('at [mm]', min=low, max=high + 1.0, step=0.1, initial_value=low)
        self._flip = gui.add_checkbox('keep the other side', False)
        self._through_tip = gui.add_checkbox('through the tip', False)
        self._last_axis, self._offset = OFF, 0.0

    @property
    def controls(self) -> list[Any]:
        return [self._axis, self._at, self._flip, self._through_tip]

    def plane(self, tip_anatomy: Array | None) -> ClipPlane | None:
        """Return the plane that is asked for, None for no cut; without a tip it stays where it was."""
        name = self._axis.value
        if name != self._last_axis:
            self._last_axis = name
            self._begin(name)
        if name == OFF:
            return None
        axis = AXES[name]
        if not self._through_tip.value:
            self._offset = 1e-3 * float(self._at.value)
        elif tip_anatomy is not None and abs(tip_anatomy[axis] - self._offset) > TIP_STEP:
            self._offset = float(tip_anatomy[axis])
        return ClipPlane(axis, self._offset, -1 if self._flip.value else 1)

    def _begin(self, name: str) -> None:
        """Start in the middle of the body on a new axis."""
        if name != OFF:
            low, high = self._bounds[AXES[name]]
            self._at.min, self._at.max = round(low, 1), round(high + 0.1, 1)
            self._at.value = round(0.5 * (low + high), 1)


def _tip(picture: Picture) -> Array | None:
    """The tip of the guided tool in the anatomy [m], shape (3,), None where it is not known."""
    tip = picture.tools[0].fixed_T_tip
    if tip is None or picture.fixed_T_anatomy is None:
        return None
    return transform_points(inverse(picture.fixed_T_anatomy), tip[:3, 3])
