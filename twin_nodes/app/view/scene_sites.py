"""Both sites side by side in 3-D: the surgeon's with the twin's robot and the one last seen, the patient's as it is."""

from __future__ import annotations

import numpy as np
import viser

from twin_nodes.app.view import geometry, style
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.panel import duration, millimetres
from twin_nodes.app.view.picture import SitePicture, SiteTool
from twin_nodes.app.view.scene_anatomy import AnatomyScene
from twin_nodes.app.view.scene_nodes import Node, add_label, add_mesh
from twin_nodes.app.view.scene_regions import RegionScene
from twin_nodes.core.geometry.se3 import Array, make_transform

TITLE_ABOVE = 0.09
LEAST_LENGTH, LEAST_RADIUS = 0.06, 0.0015  # of the tools drawn, so that both are seen in two rooms at once
_ORIGIN = np.zeros(3)


class SitesScene:
    """All sites.

    Args:
        scene: The viser scene.
        config: Names and sizes.
        up: Unit vector that points up on the page, shape (3,).
    """

    def __init__(self, scene: viser.SceneApi, config: ViewConfig, up: Array) -> None:
        self._sites = {name: SiteScene(scene, name, config, up) for name in config.sites}

    def show(self, sites: tuple[SitePicture, ...]) -> None:
        """Bring all sites up to date."""
        for site in sites:
            self._sites[site.name].show(site)

    def show_regions(self, sites: tuple[SitePicture, ...], now_ns: int, *, visible: bool) -> None:
        """Bring what is forbidden at each up to date."""
        for site in sites:
            regions = self._sites[site.name].regions
            regions.show(site.regions, site.surfaces, site.fixed_T_anatomy, now_ns, visible=visible)


class SiteScene:
    """One site: a title, its anatomy, and for each arm the robot and, where it is a twin, the robot as seen."""

    def __init__(self, scene: viser.SceneApi, name: str, config: ViewConfig, up: Array) -> None:
        root = f'/sites/{name}'
        self._up = up
        self._anatomy = AnatomyScene(scene, f'{root}/anatomy')
        self.regions = RegionScene(scene, root)
        self._title = Node(add_label(scene, f'{root}/title', name, _ORIGIN))
        length, radius = max(config.shaft_length, LEAST_LENGTH), max(config.shaft_radius, LEAST_RADIUS)
        shaft = geometry.tool_shaft(np.array(config.shaft_axis), length, radius, config.burr_radius)
        self._tools: dict[str, dict[str, Node]] = {}
        for arm in config.tools:
            path = f'{root}/{arm}'
            self._tools[arm] = {
                'solid': Node(add_mesh(scene, f'{path}/tool', shaft, style.TOOL_LIVE)),
                'tip': Node(
                    add_mesh(scene, f'{path}/tip', geometry.sphere(_ORIGIN, config.burr_radius), style.TOOL_TIP)
                ),
                'seen': Node(add_mesh(scene, f'{path}/seen', shaft, style.SEEN, opacity=0.45)),
                'label': Node(add_label(scene, f'{path}/label', arm, _ORIGIN)),
                'seen_label': Node(add_label(scene, f'{path}/seen_label', '', _ORIGIN, below=True)),
            }

    def show(self, site: SitePicture) -> None:
        """Bring the site up to date."""
        self._anatomy.shape(site.surfaces, site.surfaces_version)
        self._anatomy.place(site.fixed_T_anatomy)
        places = [tool.fixed_T_tip[:3, 3] for tool in site.tools if tool.fixed_T_tip is not None]
        shown = make_transform(np.eye(3), places[0] + TITLE_ABOVE * self._up) if places else None
        self._title.place(shown)
        self._title.set(text=f'{site.name}: {site.link}' if site.link else site.name)
        for tool in site.tools:
            self._show_tool(tool)

    def _show_tool(self, tool: SiteTool) -> None:
        nodes = self._tools[tool.name]
        for name in ('solid', 'tip', 'label'):
            nodes[name].place(tool.fixed_T_tip)
        for name in ('seen', 'seen_label'):
            nodes[name].place(tool.fixed_T_seen)
        nodes['solid'].set(color=style.TOOL_LIVE if tool.live else style.TOOL_LOST)
        nodes['seen'].set(color=style.SEEN if tool.seen_live else style.TOOL_LOST)
        word = 'twin' if tool.is_twin else 'robot'
        nodes['label'].set(text=f'{tool.name} {word}' if tool.live else f'✕ {tool.name} {word} LOST')
        nodes['seen_label'].set(text=seen_text(tool))


def seen_text(tool: SiteTool) -> str:
    """Write how old the robot that is seen is, and how far it is behind the twin's."""
    if tool.delay_s is None:
        return 'not seen yet'
    gap = f', {millimetres(tool.gap)} mm behind' if tool.gap is not None else ''
    sign = '◌' if tool.seen_live else '✕'
    return f'{sign} seen {duration(tool.delay_s)} ago{gap}'
