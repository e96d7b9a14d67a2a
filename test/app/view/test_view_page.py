"""The page without a browser: what is sent, what is kept, and that only differences are."""

import numpy as np
import pytest

from twin_nodes.app.view import geometry
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.page import IDLE_PERIOD_NS, ViserView
from twin_nodes.app.view.records import Moment, Surface
from twin_nodes.app.view.state import ViewState

CONFIG = ViewConfig(tools=('drill',), port=0)


@pytest.fixture
def view():
    view = ViserView(CONFIG)
    yield view
    view.stop()


def surface(index: int, name: str, radius: float) -> Surface:
    mesh = geometry.sphere(np.zeros(3), radius)
    return Surface(index, name, mesh.vertices, mesh.faces, (1.0, 0.8, 0.2), 1.0)


def moment(step: int) -> Moment:
    return Moment(10**18 + step * IDLE_PERIOD_NS, 10**9 + step * IDLE_PERIOD_NS)


def buffered(view: ViserView) -> int:
    return len(view._server._websock_server._broadcast_buffer.message_from_id)


def render(view: ViserView, state: ViewState, step: int, x: float = 0.0) -> None:
    now = moment(step)
    pose = np.eye(4)
    pose[0, 3] = x
    state.on_poses(
        {name: (pose, now.ros_ns) for name in ('drill', 'drill_tip', 'anatomy', 'patient')}, 'world', '', now
    )
    view.render(state.picture(now))


def test_what_is_kept_for_late_browsers_does_not_grow_with_time(view):
    state = ViewState(CONFIG)
    state.on_surfaces([surface(0, 'nerve', 0.01)])
    for step in range(20):
        render(view, state, step, 1e-3 * step)
    before = buffered(view)
    for step in range(20, 620):
        render(view, state, step, 1e-3 * step)
    assert buffered(view) <= before + 5


def test_a_structure_that_deforms_keeps_its_node_and_its_controls(view):
    state = ViewState(CONFIG)
    state.on_surfaces([surface(0, 'nerve', 0.01)])
    render(view, state, 0)
    controls, node = list(view._structures.controls), view._scene.anatomy._meshes[0]
    state.on_surfaces([surface(0, 'nerve', 0.02)])
    render(view, state, 1)
    assert view._scene.anatomy._meshes[0] is node and view._structures.controls == controls
    assert np.linalg.norm(node.handle.vertices, axis=1).max() == pytest.approx(0.02, rel=1e-6)
    state.on_surfaces([surface(0, 'nerve', 0.02), surface(1, 'vessel', 0.01)])
    render(view, state, 2)
    assert len(view._structures.controls) == 8


def test_a_picture_is_skipped_while_nobody_looks(view):
    state = ViewState(CONFIG)
    render(view, state, 1, 0.0)
    count = view._server._websock_server._broadcast_buffer.message_counter
    now = Moment(moment(1).ros_ns + 1000, moment(1).steady_ns + 1000)
    state.on_poses({'drill': (np.eye(4) * 1.0, now.ros_ns)}, 'world', '', now)
    view.render(state.picture(now))
    assert view._server._websock_server._broadcast_buffer.message_counter == count
